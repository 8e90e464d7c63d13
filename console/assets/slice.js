// The slice page: look at a slice, and annotate it.

import { json, path, query, send } from "./api.js";
import { Cache } from "./cache.js";
import { Desk } from "./desk.js";
import { arrowsMove, byId, choose } from "./dom.js";
import { listen as listenToKeys, showSheet } from "./keys.js";
import { otherSize, showAnswer, showBadge, showMeasure, showRevisions, showSaving, showSlice, trouble } from "./panel.js";
import { listen as listenToPointer } from "./pointer.js";
import { firstLevel, keyOf, load } from "./slice-data.js";
import { bindings, EXTRA } from "./slice-keys.js";
import { Stage } from "./stage.js";
import { tools } from "./tools.js";
import { ViewControls } from "./view-controls.js";

const mayAnnotate = byId("tools").dataset.role !== "viewer";
const run = new URLSearchParams(location.search).get("run");
export const stage = new Stage(byId("canvas"));
export const desk = new Desk(stage, { changed, saving });
const cache = new Cache(9, (key) => load({ ...addressOf(key), run }));
const allTools = tools(desk);
const controls = new ViewControls(stage, desk);
let tool = null;
let levelChosen = false;
let cursor = null;
let opening = 0;
let measuring = 0;

const addressOf = (key) => {
  const [patient, slice] = key.split("/").map(decodeURIComponent);
  return { patient, slice };
};

/** The slice before or after a slice in its patient, or null. */
function beside({ patient, details }, side) {
  const slice = details.neighbours?.[side] ?? null;
  return slice && { patient, slice };
}

/** The slice that the page's address names. */
const here = () => addressOf(location.pathname.replace(/^\/slices\//, ""));

/** What buttons (`data-do`) and keys do. */
export const actions = {
  undo: () => desk.undo(),
  redo: () => desk.redo(),
  clear: () => desk.clear(),
  fill: () => desk.fill(),
  trim: () => desk.trim(),
  help: () => showSheet(byId("keys"), keys, EXTRA),
  proposal: () => (desk.slice.proposal ? desk.takeProposal() : trouble("The model has no proposal for this slice.")),
  accept: () => desk.autosave.save("accepted"),
  "accept-next": async () => (await desk.autosave.save("accepted")) && step("next"),
  reject: () => { desk.clear(); return desk.autosave.save("rejected"); },
  save: () => desk.autosave.save(),
  "try-again": () => (desk.autosave?.unsaved ? desk.autosave.save() : open(desk.slice ?? here())),
  previous: () => step("previous"),
  next: () => step("next"),
  "copy-previous": () => copyFrom("previous"),
  "copy-next": () => copyFrom("next"),
  "take-theirs": takeTheirs,
  "keep-mine": () => desk.autosave.save("draft", true),
};

/** What only those may do who may annotate. */
const EDITING = new Set(["undo", "redo", "clear", "fill", "trim", "proposal", "accept", "accept-next", "reject", "save", "copy-previous", "copy-next"]);

function act(name, ...values) {
  if (EDITING.has(name) && !mayAnnotate) return;
  if (!desk.slice && name !== "help" && name !== "try-again") return;
  cancelTool();
  Promise.resolve().then(() => actions[name](...values)).catch((error) => trouble(error.message));
}

function cancelTool() {
  allTools[tool]?.cancel?.();
}

export function useTool(name) {
  if (allTools[name].edits && !mayAnnotate) return;
  cancelTool();
  tool = name;
  const buttons = document.querySelectorAll("[data-tool]");
  choose(buttons, [...buttons].find((button) => button.dataset.tool === name));
  stage.canvas.style.cursor = { move: "grab", contrast: "ns-resize" }[name] ?? (allTools[name].hasSize ? "none" : "crosshair");
  stage.changed();
}

export function setColour(colour) {
  desk.colour = colour;
  const buttons = document.querySelectorAll("[data-colour]");
  choose(buttons, [...buttons].find((button) => Number(button.dataset.colour) === colour));
  stage.changed();
}

export function setSize(size) {
  desk.size = Math.min(Math.max(size, 1), 50);
  byId("size").value = desk.size;
  byId("size-value").textContent = `${desk.size} px`;
  stage.changed();
}

export async function answer(value) {
  const { slice } = desk;
  if (!mayAnnotate) return;
  const chosen = slice.details.triage === value ? null : value;
  await send("PUT", path("slices", slice.patient, slice.slice, "triage"), { answer: chosen });
  slice.details.triage = chosen;
  if (desk.slice === slice) showAnswer(chosen);
}

async function takeTheirs() {
  cache.forget(keyOf(desk.slice));
  const theirs = await cache.get(keyOf(desk.slice));
  desk.copy("theirs", theirs.mask);
  desk.autosave.adopt(theirs.newest?.revision ?? null);
  Object.assign(desk.slice, { newest: theirs.newest, revisions: theirs.revisions });
  showBadge(desk.slice, false);
  showRevisions(desk.slice);
}

async function copyFrom(side) {
  const neighbour = beside(desk.slice, side);
  if (!neighbour) return trouble(`There is no ${side} slice.`);
  const { slice } = desk;
  const { mask } = await cache.get(keyOf(neighbour));
  if (desk.slice !== slice) return;
  if (!desk.fits(mask)) return trouble(otherSize(side, mask, desk.mask));
  desk.copy(`copy of the ${side} slice`, mask);
}

/** Goes to the previous or the next slice, once all here is saved. */
async function step(side) {
  const neighbour = beside(desk.slice, side);
  if (!neighbour || !(await left())) return;
  history.pushState(null, "", `/slices/${path(neighbour.patient, neighbour.slice)}${query({ run })}`);
  await open(neighbour);
}

/** Whether the slice may be left: what isn't saved is saved first, and where that fails the message stays in sight. */
async function left() {
  if (!desk.autosave?.unsaved) return true;
  const { slice } = desk;
  const saved = await desk.autosave.save();
  cache.forget(keyOf(slice));
  return saved;
}

async function open(address) {
  const mine = ++opening;
  let slice;
  try {
    slice = await cache.get(keyOf(address));
  } catch (error) {
    return mine === opening && trouble(error.message);
  }
  if (mine !== opening) return;
  trouble(null);
  desk.open(slice);
  controls.open(slice);
  setLevelRange(slice);
  showSlice(slice);
  showSaving({ state: "saved" });
  byId("save-state").textContent = "";
  changed();
  showBadge(slice, false);
  byId("stage").dataset.shown = keyOf(slice);
  for (const side of ["next", "previous"]) {
    const neighbour = beside(slice, side);
    document.querySelector(`button[data-do=${side}]`).disabled = !neighbour;
    if (neighbour) cache.get(keyOf(neighbour)).catch(() => {});
  }
}

function setLevelRange(slice) {
  const slider = byId("level");
  Object.assign(slider, { min: Math.floor(slice.minimum), max: Math.ceil(slice.maximum) });
  setLevel(levelChosen ? desk.level : firstLevel(slice.values));
}

export function setLevel(level) {
  const slider = byId("level");
  slider.value = level;
  desk.level = Number(slider.value);
  stage.options.level = desk.level;
  byId("level-value").textContent = slider.value;
  stage.changed("preview");
}

export function chooseLevel(level) {
  levelChosen = true;
  setLevel(level);
}

/** After every step: the size of the mask, when there is time. */
function changed() {
  cancelIdleCallback?.(measuring);
  measuring = requestIdleCallback(() => showMeasure(desk), { timeout: 300 });
  for (const [name, steps] of [["undo", desk.history.steps.done], ["redo", desk.history.steps.undone]]) {
    document.querySelector(`button[data-do=${name}]`).disabled = steps === 0;
  }
}

function saving(status) {
  showSaving(status);
  showBadge(desk.slice, status.state !== "saved");
  if (status.state === "saved") showRevisions(desk.slice);
}

stage.drawTool = (context) => {
  const current = allTools[tool];
  current?.draw?.(context);
  if (!cursor || !current?.hasSize) return;
  const { zoom, aspect } = stage.view;
  const [x, y] = stage.view.toScreen(cursor);
  const radius = (desk.size * zoom) / 2;
  for (const [colour, width] of [["#000", 3], [desk.colour ? "#fff" : "#ff6b6b", 1.3]]) {
    context.beginPath();
    context.ellipse(x, y, radius, radius * aspect, 0, 0, 2 * Math.PI);
    Object.assign(context, { strokeStyle: colour, lineWidth: width });
    context.stroke();
  }
};

/** The colour to go back to after a stroke with the pen's other end. */
let colourAfter = null;
function endStroke() {
  if (colourAfter !== null) desk.colour = colourAfter;
  colourAfter = null;
}

listenToPointer(stage, {
  mode: () => (controls.moving || tool === "move" ? "move" : tool === "contrast" ? "contrast" : "tool"),
  down(at, { black }) {
    colourAfter = desk.colour;
    if (black) desk.colour = 0;
    allTools[tool].down?.(at);
  },
  drag: (at) => allTools[tool].drag?.(at),
  up() { allTools[tool].up?.(); endStroke(); },
  cancel() { cancelTool(); endStroke(); },
  hover(at) {
    cursor = at;
    desk.watch?.touch(performance.now());
    if (at) allTools[tool].hover?.(at);
    controls.showValue(at);
    stage.changed();
  },
  contrast: (dx, dy) => controls.dragContrast(dx, dy),
});

const keys = bindings({ act, useTool, setColour, setSize, chooseLevel, answer, controls, desk, stage });
listenToKeys(keys, (name) => allTools[tool]?.key?.(name) ?? false);

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.do) act(button.dataset.do);
  if (button?.dataset.tool) useTool(button.dataset.tool);
  if (button?.dataset.colour) setColour(Number(button.dataset.colour));
  if (button?.dataset.answer) answer(button.dataset.answer).catch((error) => trouble(error.message));
  // After a click with the mouse, Space and Enter mean the picture again.
  if (button && event.detail > 0 && !document.querySelector("dialog[open]")) stage.canvas.focus();
});
document.querySelectorAll("[role=radiogroup]").forEach(arrowsMove);
byId("size").addEventListener("input", ({ target }) => setSize(Number(target.value)));
byId("level").addEventListener("input", ({ target }) => { controls.check("preview", true); chooseLevel(Number(target.value)); });
addEventListener("beforeunload", (event) => { if (desk.autosave?.unsaved) { desk.autosave.save(); event.preventDefault(); } });
addEventListener("popstate", async () => { if (await left()) open(here()); });
document.addEventListener("visibilitychange", async () => {
  if (document.hidden) return desk.autosave?.unsaved && desk.autosave.save();
  const { slice, autosave } = desk;
  if (!slice || !autosave) return;
  const newest = (await json(`${path("slices", slice.patient, slice.slice)}/revisions`).catch(() => [])).at(-1);
  if (newest && desk.slice === slice && newest.revision !== autosave.revision && !autosave.unsaved) autosave.meet(newest);
});

if (!mayAnnotate) {
  const forEditors = "[data-edits], [data-answer], [data-do=undo], [data-do=redo], [data-do=clear]";
  document.querySelectorAll(forEditors).forEach((button) => (button.disabled = true));
  document.querySelectorAll("[data-tool]").forEach((button) => (button.disabled = Boolean(allTools[button.dataset.tool].edits)));
}
useTool(mayAnnotate ? "pen" : "move");
setColour(1);
setSize(5);
open(here());
