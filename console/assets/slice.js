// The slice page: look at a slice, and annotate it.

import { Answers } from "./answers.js";
import { json, path, query } from "./api.js";
import { Cache } from "./cache.js";
import { Desk } from "./desk.js";
import { arrowsMove, byId, choose, returnFocus } from "./dom.js";
import { listen as listenToKeys, showSheet } from "./keys.js";
import { otherSize, showAnswer, showBadge, showMeasure, showRevisions, showSaving, showSlice, trouble, unsavedAnswer } from "./panel.js";
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
let levelChosen = null;
let cursor = null;
let opening = 0;
let isComing = false;
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
  "accept-next": acceptAndGoOn,
  reject: () => { desk.clear(); return desk.autosave.save("rejected"); },
  save: () => desk.autosave.save(),
  "try-again": tryAgain,
  previous: () => step("previous"),
  next: () => step("next"),
  "copy-previous": () => copyFrom("previous"),
  "copy-next": () => copyFrom("next"),
  "take-theirs": takeTheirs,
  "keep-mine": () => desk.autosave.save(null, true),
};

/** What only those may do who may annotate. */
const EDITING = new Set(["undo", "redo", "clear", "fill", "trim", "proposal", "accept", "accept-next", "reject", "save", "copy-previous", "copy-next", "keep-mine"]);
/** What leaves a shape that isn't done as it is. */
const BESIDE_SHAPES = new Set(["help", "save", "try-again", "keep-mine"]);

function act(name, ...values) {
  // Who has asked for the next slice means that one.
  if (EDITING.has(name) && (!mayAnnotate || isComing)) return;
  if (!desk.slice && name !== "help" && name !== "try-again") return;
  if (!BESIDE_SHAPES.has(name)) cancelTool();
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

const answers = new Answers({
  show(slice) { if (desk.slice === slice) showAnswer(slice.details.triage ?? null); },
  tell: unsavedAnswer,
});

/** Says whether there is a clear array; null takes it back. */
export function answer(value) {
  const { slice } = desk;
  if (!mayAnnotate || !slice || isComing) return;
  answers.say(slice, slice.details, value);
}

/** What the button of a message over the picture does. */
function tryAgain() {
  if (byId("trouble").dataset.again !== "true") return trouble(null);
  return desk.autosave?.unsaved ? desk.autosave.save() : open(wanted);
}

async function acceptAndGoOn() {
  const { slice, autosave } = desk;
  if ((await autosave.save("accepted")) && desk.slice === slice) await step("next");
}

async function takeTheirs() {
  const { slice } = desk;
  cache.forget(keyOf(slice));
  const theirs = await cache.get(keyOf(slice));
  // The desk goes on with the slice that it has: what is kept has to be asked for anew.
  cache.forget(keyOf(slice));
  if (desk.slice !== slice) return;
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

/** Goes to the previous or the next slice. */
async function step(side) {
  const neighbour = beside(desk.slice, side);
  if (neighbour) await open(neighbour);
}

/** Whether the slice may be left: what isn't saved is saved first, and where that fails the message stays in sight. */
async function left() {
  const { slice, autosave } = desk;
  while (autosave?.unsaved) {
    cache.forget(keyOf(slice));
    // What was drawn while the rest was on its way goes, too.
    if (!(await autosave.save()) && autosave.status.state !== "changed") return false;
  }
  return true;
}

/** The slice that was asked for last. */
let wanted = here();

/** Goes to a slice, once it is there and all here is saved. */
async function open(address) {
  const mine = ++opening;
  wanted = address;
  coming(true);
  try {
    const slice = await cache.get(keyOf(address));
    if (mine !== opening) return;
    const mayLeave = await left();
    if (mine !== opening) return;
    if (mayLeave) show(slice);
    followAddress();
  } catch (error) {
    if (mine === opening) trouble(error.message, { again: true });
  } finally {
    if (mine === opening) coming(false);
  }
}

/** Until the slice that was asked for is there, nothing is done to the one in sight. */
function coming(value) {
  isComing = value;
  byId("stage").setAttribute("aria-busy", String(value));
}

/** The page's address names the slice in sight, also where the browser's way back led elsewhere and it could not be left. */
function followAddress() {
  if (!desk.slice || keyOf(here()) === keyOf(desk.slice)) return;
  history.pushState(null, "", `/slices/${path(desk.slice.patient, desk.slice.slice)}${query({ run })}`);
}

function show(slice) {
  cancelTool();
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
  if (run) Object.assign(byId("wall"), { hidden: false, href: `/runs/${path(run, "wall")}${query({ at: slice.slice })}` });
  for (const side of ["next", "previous"]) {
    const neighbour = beside(slice, side);
    document.querySelector(`button[data-do=${side}]`).disabled = !neighbour;
    if (neighbour) cache.get(keyOf(neighbour)).catch(() => {});
  }
}

function setLevelRange(slice) {
  const slider = byId("level");
  Object.assign(slider, { min: Math.floor(slice.minimum), max: Math.ceil(slice.maximum) });
  // The level that somebody chose means the same on slices whose values grow with brightness only.
  setLevel((slice.inverted ? null : levelChosen) ?? firstLevel(slice.bright));
}

export function setLevel(level) {
  const slider = byId("level");
  slider.value = level;
  desk.level = Number(slider.value);
  stage.options.level = desk.level;
  const { inverted, minimum, maximum } = desk.slice ?? {};
  // As a value of the slice, which is what stands beside the cursor.
  byId("level-value").textContent = inverted ? minimum + maximum - desk.level : desk.level;
  stage.changed("preview");
}

export function chooseLevel(level) {
  setLevel(level);
  levelChosen = desk.level;
}

/** After every step: the size of the mask, when there is time. */
function changed() {
  clearTimeout(measuring);
  measuring = setTimeout(() => showMeasure(desk), 100);
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
  mode: () => (controls.moving || isComing || tool === "move" ? "move" : tool === "contrast" ? "contrast" : "tool"),
  down(at, { black }) {
    colourAfter = desk.colour;
    if (black) desk.colour = 0;
    allTools[tool].down?.(at);
  },
  drag: (at) => allTools[tool].drag?.(at),
  up() { allTools[tool].up?.(); endStroke(); },
  takeBack() { (allTools[tool].takeBack ?? allTools[tool].cancel)?.(); endStroke(); },
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
  // A click on what is chosen takes it back; the second of a double click doesn't.
  if (button?.dataset.answer && event.detail <= 1) answer(button.getAttribute("aria-checked") === "true" ? null : button.dataset.answer);
  // After a click with the mouse, Space and Enter mean the picture again.
  if (button && event.detail > 0 && !document.querySelector("dialog[open]")) stage.canvas.focus();
});
document.querySelectorAll("[role=radiogroup]").forEach(arrowsMove);
byId("size").addEventListener("input", ({ target }) => setSize(Number(target.value)));
byId("level").addEventListener("input", ({ target }) => { controls.check("preview", true); chooseLevel(Number(target.value)); });
returnFocus(stage.canvas);
addEventListener("beforeunload", (event) => {
  if (desk.autosave?.unsaved) desk.autosave.save();
  if (desk.autosave?.unsaved || answers.isInTrouble) event.preventDefault();
});
addEventListener("popstate", () => open(here()));
addEventListener("online", () => desk.autosave?.hurry());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) return lookForOthers();
  if (desk.autosave?.unsaved) desk.autosave.save();
});

/** Whoever comes back to the page sees at once if somebody else has saved the slice meanwhile. */
async function lookForOthers() {
  const { slice, autosave } = desk;
  if (!autosave) return;
  if (autosave.unsaved) return autosave.hurry();
  const { revision } = autosave;
  const newest = (await json(`${path("slices", slice.patient, slice.slice)}/revisions`).catch(() => [])).at(-1);
  const isSame = desk.slice === slice && !autosave.unsaved && autosave.revision === revision;
  if (!newest || !isSame || newest.revision === revision) return;
  cache.forget(keyOf(slice));
  autosave.meet(newest);
}

if (!mayAnnotate) {
  const forEditors = "[data-edits], [data-answer], [data-do=undo], [data-do=redo], [data-do=clear]";
  document.querySelectorAll(forEditors).forEach((button) => (button.disabled = true));
  document.querySelectorAll("[data-tool]").forEach((button) => (button.disabled = Boolean(allTools[button.dataset.tool].edits)));
}
useTool(mayAnnotate ? "pen" : "move");
setColour(1);
setSize(5);
open(here());
