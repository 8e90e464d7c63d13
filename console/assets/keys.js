// What the keys do, and the sheet that shows them.

import { element } from "./dom.js";

/** The name of a key press as bindings spell it: "b", "Control+z", "Shift+1", "?". */
export function nameOf(event) {
  // On many keyboards brackets are made with AltGr, which some systems report as Control and Alt.
  if (event.getModifierState?.("AltGraph")) return event.key;
  const digit = /^Digit(\d)$/.exec(event.code)?.[1];
  const key = digit ?? (event.key.length === 1 ? event.key.toLowerCase() : event.key);
  const isSign = event.key.length === 1 && !digit && event.key.toLowerCase() === event.key.toUpperCase();
  const control = event.ctrlKey || event.metaKey ? "Control+" : "";
  // A sign such as "?" already says which keys made it.
  const shift = event.shiftKey && !isSign ? "Shift+" : "";
  return control + shift + key;
}

const typesText = (target) =>
  target.matches?.("textarea, select, [contenteditable], input:not([type=range], [type=checkbox], [type=radio])");

const PRESSED_BY = { Enter: "button, a, summary", " ": "button, a, summary, [type=checkbox], [type=radio]" };
const RANGE_KEYS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"];

/** Whether the element that has the focus needs this key itself. */
export function belongsTo(target, key) {
  if (typesText(target)) return true;
  if (PRESSED_BY[key]) return Boolean(target.matches?.(PRESSED_BY[key]));
  return RANGE_KEYS.includes(key) && Boolean(target.matches?.("input, [role=radio]"));
}

/**
 * Listens for keys. `bindings` are {keys, text, group, run, repeats}; the first of `keys` is shown on the sheet, or `as`; nothing
 * where there is no text. A key that is held down counts once, unless it `repeats`: nobody means to accept thirty slices a second.
 * `first(name, event)` may take a key before them.
 */
export function listen(bindings, first = () => false) {
  const byName = new Map(bindings.flatMap((binding) => binding.keys.map((key) => [key, binding])));
  document.addEventListener("keydown", (event) => {
    const name = nameOf(event);
    const isAlt = event.altKey && !event.getModifierState?.("AltGraph");
    if (document.querySelector("dialog[open]") || isAlt || belongsTo(event.target, event.key)) return;
    const taken = first(name, event);
    const binding = byName.get(name);
    if (!taken && !binding) return;
    event.preventDefault();
    if (!taken && (!event.repeat || binding.repeats)) binding.run(event);
  });
}

/** Fills a dialog with the sheet of keys and opens it. */
export function showSheet(dialog, bindings, extra = []) {
  const groups = grouped([...bindings, ...extra]);
  const sections = [...groups].map(([name, list]) =>
    element("section", {}, element("h3", {}, name), element("dl", {}, ...list.filter(({ text }) => text).flatMap(line))));
  dialog.replaceChildren(
    element("div", { className: "head" }, element("h2", { id: "keys-heading" }, "Keys"),
      element("form", { method: "dialog" }, element("button", {}, "Close ", element("kbd", {}, "Esc")))),
    element("div", { className: "sheet" }, ...sections),
  );
  dialog.showModal();
}

function grouped(list) {
  const groups = new Map();
  for (const one of list) groups.set(one.group, [...(groups.get(one.group) ?? []), one]);
  return groups;
}

const SHOWN = { Control: "Ctrl", Shift: "⇧", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", " ": "Space" };
const shown = (key) => key.split(/(?<=.)\+/).map((part) => SHOWN[part] ?? (part.length === 1 ? part.toUpperCase() : part)).join(" ");

const line = ({ keys, text, as = shown(keys[0]) }) => [element("dt", {}, element("kbd", {}, as)), element("dd", {}, text)];
