// What the panel beside the picture shows.

import { path } from "./api.js";
import { byId, choose, element, timeText } from "./dom.js";
import { count } from "./region.js";

const BADGES = {
  accepted: ["good", "Accepted"],
  rejected: ["info", "No array here"],
  draft: ["warn", "Draft"],
  proposal: ["info", "Proposal, untouched"],
  blank: ["", "Nothing drawn yet"],
};

/** What the slice's mask is now: the last decision, or where it comes from. */
export function showBadge(slice, touched) {
  const state = touched ? "draft" : (slice.newest?.state ?? slice.origin);
  const [colour, text] = BADGES[state] ?? ["", state];
  byId("badge").className = `badge ${colour}`;
  byId("badge").textContent = text;
}

const clock = (at) => at.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** The autosave's state in words; what needs a decision appears over the picture. */
export function showSaving(status) {
  const { state, theirs, error, warning, delay, at } = status;
  const words = {
    saved: at ? `Saved ${clock(at)}` : "Saved",
    changed: "Not saved yet",
    saving: "Saving…",
    retry: `Not saved, trying again in ${delay / 1000} s`,
    conflict: "Not saved: conflict",
    refused: "Not saved",
  };
  const shown = byId("save-state");
  shown.dataset.state = state;
  shown.textContent = words[state];
  byId("conflict").hidden = state !== "conflict";
  if (theirs) byId("conflict-text").textContent = `${theirs.by ?? "Someone"} saved it on ${timeText(theirs.at)}. Nothing of yours is lost or has overwritten theirs.`;
  // While it is tried again, what went wrong stays in sight.
  if (state !== "saving") trouble(error ? `Your mask is not saved. ${error.message}` : warning ? `Your mask is saved, but ${warning}. Accept it again to try again.` : null, { again: Boolean(error) });
}

/** A message over the picture; null takes it away. `again`: whether there is something to try again, else it is only read. */
export function trouble(text, { again = false } = {}) {
  byId("trouble").hidden = !text;
  byId("trouble").dataset.again = String(again);
  document.querySelector("[data-do=try-again]").textContent = again ? "Try again" : "Close";
  if (text) byId("trouble-text").textContent = text;
}

/** Says how the answers are doing. */
export function unsavedAnswer({ error, isGivenUp }) {
  byId("answer-state").textContent = !error ? "" : `Not saved${isGivenUp ? "" : ", trying again"}: ${error.message}`;
}

/** Why the mask of a neighbour can't be copied. */
export const otherSize = (side, theirs, mine) =>
  `The ${side} slice has ${theirs.rows} x ${theirs.columns} pixels, this one ${mine.rows} x ${mine.columns}: its mask can't be copied.`;

export function showSlice(slice) {
  const { details } = slice;
  const name = details.name ?? slice.slice;
  document.title = `${name} · ${slice.patient}`;
  byId("heading").textContent = `Slice ${name} of patient ${slice.patient}`;
  byId("name").textContent = name;
  byId("name").title = name;
  byId("patient").textContent = slice.patient;
  byId("hud-slice").textContent = `${slice.rows} rows, ${slice.columns} columns${slice.spacing ? ` · ${pixelSize(slice.spacing)} mm` : ""}`;
  showAttributes(details.attributes);
  showAnswer(details.triage ?? null);
  showRevisions(slice);
}

/** The sides of a pixel: one number where they are equal, else height x width. */
function pixelSize(spacing) {
  const [height, width] = spacing.map((side) => Number(side.toFixed(4)));
  return height === width ? width : `${height} x ${width}`;
}

/** The mask's size, once it has stopped changing for a moment. */
export function showMeasure({ mask, spacing }) {
  const pixels = count(mask);
  const area = spacing ? ` · ${(pixels * spacing[0] * spacing[1]).toFixed(2)} mm²` : "";
  byId("measure").textContent = `${pixels.toLocaleString()} pixels${area}`;
}

export function showAnswer(answer) {
  const buttons = document.querySelectorAll("[data-answer]");
  choose(buttons, [...buttons].find((button) => button.dataset.answer === answer) ?? null);
}

function showAttributes(attributes) {
  byId("attributes").replaceChildren(...attributes.map(({ name, tag, value }) =>
    element("tr", { title: tag }, element("th", { scope: "row" }, ...breakable(name, /(?=[A-Z])/)), element("td", {}, ...breakable(value, /(?<=\\)/)))));
}

/** A text that may break between its parts. */
const breakable = (text, between) => text.split(between).flatMap((part) => [part, element("wbr")]);

export function showRevisions(slice) {
  const items = slice.revisions.toReversed().map(({ revision, at, by, state, seconds, proposal }) => {
    const [colour, word] = BADGES[state] ?? ["", state];
    const more = [by ?? "you", seconds ? `${seconds} s` : null, proposal ? "from a proposal" : null].filter(Boolean).join(" · ");
    return element("li", {}, element("span", { className: `badge ${colour}` }, word), ` ${timeText(at)}`, element("br"),
      element("span", { className: "muted" }, more), " ", download(slice, revision, "mask.png", "PNG"), " ", download(slice, revision, "labelme.json", "labelme"));
  });
  byId("revisions").replaceChildren(...(items.length ? items : [element("li", { className: "muted" }, "None yet.")]));
}

/** A link to a revision's mask as a file, named as its slice is named elsewhere. */
function download({ patient, slice, details }, revision, file, text) {
  const href = `/api/v1/${path("slices", patient, slice, "revisions", revision, file)}`;
  return element("a", { href, download: `${patient}_${details.name ?? slice}.${file.split(".").at(-1)}` }, text);
}
