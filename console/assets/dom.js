// The page's elements.

export const byId = (id) => document.getElementById(id);

/** An element with properties (`data` and `aria` as objects) and children: elements or text, never HTML. */
export function element(tag, { data = {}, aria = {}, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  Object.assign(made.dataset, data);
  for (const [name, value] of Object.entries(aria)) made.setAttribute(`aria-${name}`, value);
  made.append(...children);
  return made;
}

/** Marks one of a group of buttons as chosen; the group is one stop for the Tab key. */
export function choose(buttons, chosen) {
  const list = [...buttons];
  for (const button of list) {
    button.setAttribute("aria-checked", String(button === chosen));
    button.tabIndex = button === chosen || (!chosen && button === list[0]) ? 0 : -1;
  }
}

/** Lets the arrow keys move within a radio group, as its role promises. */
export function arrowsMove(group) {
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const buttons = [...group.querySelectorAll("[role=radio]:not(:disabled)")];
    const at = buttons.indexOf(document.activeElement);
    if (!step || at < 0) return;
    event.preventDefault();
    const next = buttons[(at + step + buttons.length) % buttons.length];
    next.focus();
    next.click();
  });
}

/** After a choice with the mouse or a pen the keys mean `home` again; who moves with keys stays where they are. */
export function returnFocus(home) {
  let isPointer = false;
  addEventListener("pointerdown", () => (isPointer = true), true);
  addEventListener("keydown", () => (isPointer = false), true);
  document.addEventListener("change", ({ target }) => {
    if (isPointer && target.matches("select, [type=range], [type=checkbox]")) home.focus({ preventScroll: true });
  });
}

/** A time of the server, in seconds since 1970, as people here read it. */
export const timeText = (seconds) =>
  new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
