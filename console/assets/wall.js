// The wall: all slices of a run, the likeliest arrays first, answered with one key each.

import { Answers } from "./answers.js";
import { json, path, query } from "./api.js";
import { saveSheet } from "./contact-sheet.js";
import { byId, element, returnFocus } from "./dom.js";
import { inSight, layout, moved, placeOf } from "./grid.js";
import { belongsTo, listen, showSheet } from "./keys.js";

const wall = byId("tiles");
const run = decodeURIComponent(location.pathname.split("/")[2]);
const mayAnswer = wall.dataset.role !== "viewer";
const tall = wall.appendChild(element("div", { className: "tall", role: "presentation" }));
const ANSWERS = ["clear", "no", "unsure"];
const PER_REQUEST = 500;
const PICTURE_AGAIN_MS = 4_000;

let slices = [];
let total = 0;
let places = layout(0, 1, 1);
let current = 0;
let asked = 0;
const tiles = new Map();
/** The slice to begin at: where somebody comes back to. */
let start = new URLSearchParams(location.search).get("at");

const urlOf = ({ patient, slice }) => `/slices/${path(patient, slice)}${query({ run })}`;
const filter = () => ({ patient: byId("patient").value, triage: byId("answer").value });
const image = ({ patient, slice }) => `/api/v1/slices/${path(patient, slice)}/thumbnail.png`;

/** Fetches the slices that the filter lets through, shown as they come. */
async function load() {
  const mine = ++asked;
  [slices, total, current] = [[], 0, 0];
  takeAway(tiles.keys());
  wall.scrollTop = 0;
  const wanted = filter();
  history.replaceState(null, "", `${location.pathname}${query({ ...wanted, at: start })}`);
  try {
    let after = null;
    do {
      const next = await json(`${path("runs", run, "slices")}${query({ ...wanted, after, limit: PER_REQUEST })}`);
      if (mine !== asked) return;
      slices.push(...next.slices);
      const last = next.slices.at(-1);
      after = next.slices.length < PER_REQUEST ? null : `${last.patient}/${last.slice}`;
      total = after ? next.total : slices.length;
      arrange();
      beginAtStart();
    } while (after);
    start = null;
  } catch (error) {
    if (mine === asked) byId("count").textContent = error.message;
  }
}

/** Selects the slice that somebody comes back to, once it is there and nobody has moved yet. */
function beginAtStart() {
  const index = start && current === 0 ? slices.findIndex(({ slice }) => slice === start) : -1;
  if (index < 0) return;
  start = null;
  goTo(index);
}

function arrange() {
  places = layout(slices.length, wall.clientWidth, Number(byId("size").value));
  tall.style.height = `${places.height}px`;
  takeAway(tiles.keys());
  show();
  showCount();
}

function takeAway(indices) {
  for (const index of [...indices]) {
    // What nobody sees any more need not be fetched: after a long scroll that would be hundreds.
    tiles.get(index).querySelector("img").removeAttribute("src");
    tiles.get(index).remove();
    tiles.delete(index);
  }
}

/** Makes the tiles in sight and takes the others away. */
function show() {
  const [first, end] = inSight(places, slices.length, wall.scrollTop, wall.clientHeight);
  takeAway([...tiles.keys()].filter((index) => index < first || index >= end));
  for (let index = first; index < end; index++) {
    if (!tiles.has(index)) tiles.set(index, tall.appendChild(made(index)));
  }
  select(current);
}

function made(index) {
  const slice = slices[index];
  const { left, top } = placeOf(places, index);
  const picture = element("img", { src: image(slice), alt: "", decoding: "async", loading: "lazy", draggable: false });
  // A server that is away for a moment leaves no holes.
  picture.addEventListener("error", () => setTimeout(() => { if (picture.isConnected) picture.src = image(slice); }, PICTURE_AGAIN_MS));
  const score = slice.array_score === null || slice.array_score === undefined ? "" : Number(slice.array_score).toFixed(2);
  const caption = element("span", { className: "caption" }, element("span", {}, `${slice.name} · ${slice.patient}`), element("span", {}, score));
  const tile = element("div", { className: "tile", id: `tile-${index}`, role: "option", data: { index } },
    element("span", { className: "frame" }, picture, element("span", { className: "answer" }), caption));
  Object.assign(tile.style, { left: `${left}px`, top: `${top}px`, width: `${places.tile.width}px`, height: `${places.tile.height}px` });
  tile.setAttribute("aria-posinset", index + 1);
  tile.setAttribute("aria-setsize", slices.length);
  return mark(tile, slice);
}

/** Shows a slice's answer on its tile. */
function mark(tile, { patient, slice, name, triage }) {
  tile.dataset.answer = triage ?? "";
  tile.querySelector(".answer").textContent = triage ?? "";
  tile.setAttribute("aria-label", `${name ?? slice} of patient ${patient}, ${triage ?? "not answered"}`);
  return tile;
}

function select(index) {
  tiles.get(current)?.setAttribute("aria-selected", "false");
  current = Math.min(Math.max(index, 0), Math.max(slices.length - 1, 0));
  const tile = tiles.get(current);
  tile?.setAttribute("aria-selected", "true");
  if (tile) wall.setAttribute("aria-activedescendant", tile.id);
  else wall.removeAttribute("aria-activedescendant");
}

/** Selects a tile and brings it into sight. */
function goTo(index) {
  const { top } = placeOf(places, index);
  const bottom = top + places.tile.height;
  if (top < wall.scrollTop) wall.scrollTop = top;
  if (bottom > wall.scrollTop + wall.clientHeight) wall.scrollTop = bottom - wall.clientHeight;
  show();
  select(index);
}

/** Of an answer that was taken back; in sight until the next one. */
let refused = "";
const answers = new Answers({
  show(slice) {
    const index = slices.indexOf(slice);
    if (tiles.has(index)) mark(tiles.get(index), slice);
    showCount();
  },
  tell({ open, error, isGivenUp }) {
    const many = open === 1 ? "1 answer is" : `${open} answers are`;
    if (isGivenUp) refused = `An answer was not saved and is taken back: ${error.message}`;
    const waiting = open && !isGivenUp ? `${many} not saved yet. ${error.message} Leave this page open: it goes on trying.` : "";
    byId("unsaved").textContent = [refused, waiting].filter(Boolean).join(" ");
    byId("unsaved").hidden = !refused && !waiting;
  },
});

/** Answers for the selected slice and goes on to the next; what the server refuses is taken back. */
function answer(value) {
  const [slice, index] = [slices[current], current];
  if (!slice || !mayAnswer) return;
  refused = "";
  answers.say(slice, slice, value);
  if (value && index + 1 < slices.length) goTo(index + 1);
}

/** Opens the selected slice; who comes back finds it selected again. */
function openSelected() {
  const slice = slices[current];
  if (!slice) return;
  history.replaceState(null, "", `${location.pathname}${query({ ...filter(), at: slice.slice })}`);
  location.assign(urlOf(slice));
}

function showCount() {
  const counts = Object.fromEntries(ANSWERS.map((name) => [name, slices.filter(({ triage }) => triage === name).length]));
  const open = slices.length - counts.clear - counts.no - counts.unsure;
  const loading = slices.length < total ? ` of ${total.toLocaleString()}` : "";
  byId("count").textContent = slices.length === 0 && total === 0
    ? "No slice here. Choose another patient or answer."
    : `${slices.length.toLocaleString()}${loading} ${slices.length === 1 ? "slice" : "slices"}: ${counts.clear} clear, ${counts.unsure} unsure, ${counts.no} no, ${open.toLocaleString()} left`;
  byId("save-sheet").disabled = slices.length === 0;
}

async function contactSheet() {
  const button = byId("save-sheet");
  if (button.disabled) return;
  button.disabled = true;
  const patient = byId("patient").value;
  try {
    await saveSheet({ title: patient || "all patients", slices, image });
  } catch (error) {
    byId("count").textContent = `The contact sheet could not be made: ${error.message}`;
  }
  button.disabled = false;
}

const key = (group, keys, text, run) => ({ group, keys: [keys].flat(), text, run });
const keys = [
  key("Answer and go on", ["1", "c"], "clear array", () => answer("clear")),
  key("Answer and go on", ["2", "n"], "no", () => answer("no")),
  key("Answer and go on", ["3", "u"], "unsure", () => answer("unsure")),
  key("Answer and go on", ["0", "Backspace"], "take the answer back", () => answer(null)),
  key("Move", ["Enter", "o"], "open the slice", openSelected),
  key("Page", "s", "save the contact sheet", contactSheet),
  key("Page", "?", "this sheet", () => showSheet(byId("keys"), keys, ARROWS)),
];
const ARROWS = [{ group: "Move", keys: ["ArrowRight"], text: "to the next slice; all arrows, Home, End and page keys work" }];
document.body.append(element("dialog", { id: "keys", aria: { labelledby: "keys-heading" } }));

listen(keys);
document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || belongsTo(event.target, event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
  const goal = slices.length ? moved(places, slices.length, current, event.key, Math.max(Math.floor(wall.clientHeight / places.tile.height), 1)) : null;
  if (goal === null) return;
  event.preventDefault();
  goTo(goal);
});
wall.addEventListener("scroll", () => requestAnimationFrame(show), { passive: true });
wall.addEventListener("click", (event) => {
  const tile = event.target.closest(".tile");
  if (!tile) return;
  select(Number(tile.dataset.index));
  wall.focus();
});
wall.addEventListener("dblclick", (event) => event.target.closest(".tile") && openSelected());
new ResizeObserver(() => slices.length && arrange()).observe(wall);
byId("size").addEventListener("input", () => { const at = current; arrange(); goTo(at); });
for (const id of ["patient", "answer"]) byId(id).addEventListener("change", () => { start = null; load(); });
returnFocus(wall);
addEventListener("beforeunload", (event) => { if (answers.isInTrouble) event.preventDefault(); });
byId("save-sheet").addEventListener("click", contactSheet);
for (const button of document.querySelectorAll("[data-say]")) {
  button.addEventListener("click", ({ detail }) => {
    answer(button.dataset.say || null);
    // After the mouse, Enter and the arrows mean the wall again.
    if (detail > 0) wall.focus();
  });
}
byId("open-slice")?.addEventListener("click", openSelected);
byId("show-keys").addEventListener("click", () => showSheet(byId("keys"), keys, ARROWS));
const asks = new URLSearchParams(location.search);
byId("answer").value = asks.get("triage") ?? "";
byId("patient").value = asks.get("patient") ?? "";
wall.focus();
load();
