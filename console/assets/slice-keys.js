// The keys of the slice page.

/** All bindings; `page` has act, useTool, setColour, setSize, chooseLevel, answer, controls, desk, stage. */
export function bindings(page) {
  const { act, useTool, setColour, setSize, chooseLevel, answer, controls, desk, stage } = page;
  const key = (group, keys, text, run) => ({ group, keys: [keys].flat(), text, run });
  const held = (...parts) => ({ ...key(...parts), repeats: true });
  const level = (step) => () => { controls.check("preview", true); chooseLevel(desk.level + step * levelStep(desk)); };
  return [
    held("Slices", ["d", "PageDown"], "next slice", () => act("next")),
    held("Slices", ["a", "PageUp"], "previous slice", () => act("previous")),
    key("Slices", "Shift+1", "clear array", () => answer("clear")),
    key("Slices", "Shift+2", "no array", () => answer("no")),
    key("Slices", "Shift+3", "unsure", () => answer("unsure")),
    key("Slices", "Shift+0", "take the answer back", () => answer(null)),
    key("Mask", "Enter", "accept", () => act("accept")),
    key("Mask", "Shift+Enter", "accept, then next slice", () => act("accept-next")),
    key("Mask", "n", "reject: there is no array here", () => act("reject")),
    key("Mask", "f", "start again from the proposal", () => act("proposal")),
    key("Mask", "Shift+A", "copy the previous slice's mask", () => act("copy-previous")),
    key("Mask", "Shift+D", "copy the next slice's mask", () => act("copy-next")),
    key("Mask", "Delete", "clear", () => act("clear")),
    held("Mask", "Control+z", "undo", () => act("undo")),
    held("Mask", ["Control+Shift+z", "Control+y"], "redo", () => act("redo")),
    key("Mask", "Control+s", "save now", () => act("save")),
    key("Tools", "b", "white pen", () => { setColour(1); useTool("pen"); }),
    key("Tools", "e", "black pen", () => { setColour(0); useTool("pen"); }),
    key("Tools", "t", "threshold pen", () => useTool("threshold")),
    key("Tools", "g", "region growing", () => useTool("region")),
    key("Tools", "p", "polygon", () => useTool("polygon")),
    key("Tools", "c", "circle", () => useTool("circle")),
    key("Tools", "r", "rectangle", () => useTool("rectangle")),
    key("Tools", "l", "centreline", () => useTool("centreline")),
    key("Tools", "k", "erase a part", () => useTool("component")),
    key("Tools", "m", "measure", () => useTool("ruler")),
    key("Tools", "v", "move", () => useTool("move")),
    key("Tools", "w", "contrast", () => useTool("contrast")),
    key("Pen", "x", "swap white and black", () => setColour(1 - desk.colour)),
    { ...held("Pen", "[", "smaller, larger", () => setSize(desk.size - 1)), as: "[ ]" },
    { ...held("Pen", "{", "much smaller, much larger", () => setSize(desk.size - 10)), as: "{ }" },
    held("Pen", "]", null, () => setSize(desk.size + 1)),
    held("Pen", "}", null, () => setSize(desk.size + 10)),
    key("Level", "s", "show what is above", () => controls.check("preview")),
    { ...held("Level", ",", "lower, higher", level(-1)), as: ", ." },
    { ...held("Level", "<", "much lower, much higher", level(-10)), as: "< >" },
    held("Level", ".", null, level(1)),
    held("Level", ">", null, level(10)),
    key("Level", "j", "add all above", () => act("fill")),
    key("Level", "u", "trim below", () => act("trim")),
    ...[1, 2, 3, 4, 5].map((n) => ({ ...key("View", String(n), n === 1 && "windows", () => controls.usePreset(n - 1)), as: "1 … 5" })),
    key("View", "i", "invert", () => controls.check("invert")),
    key("View", "h", "hide the mask", () => controls.check("show-mask")),
    key("View", "o", "outline only", () => controls.check("outline")),
    key("View", "y", "the proposal's outline", () => controls.check("show-proposal")),
    { ...held("View", ["+", "="], "zoom", () => controls.zoom(1.25)), as: "+ -" },
    held("View", "-", null, () => controls.zoom(0.8)),
    key("View", "0", "whole picture", () => stage.fit()),
    key("View", " ", "hold and drag: move", () => (controls.moving = true)),
    key("Help", "?", "this sheet", () => act("help")),
  ].map((binding) => ({ ...binding, keys: binding.keys.map(lowered) }));
}

/** A letter is named in lower case also with Shift. */
const lowered = (key) => key.replace(/\+([A-Z])$/, (_, letter) => `+${letter.toLowerCase()}`);

/** A step of the level: a 500th of the range of values. */
const levelStep = ({ slice }) => Math.max(Math.round((slice.maximum - slice.minimum) / 500), 1);

/** What the sheet says besides. */
export const EXTRA = [
  { group: "Mouse and touch pen", keys: ["wheel"], text: "zoom at the cursor; two fingers do, too" },
  { group: "Mouse and touch pen", keys: ["right"], text: "drag the contrast" },
  { group: "Mouse and touch pen", keys: ["middle"], text: "move the picture" },
  { group: "Mouse and touch pen", keys: ["Alt"], text: "black pen while held; a pen's other end, too" },
  { group: "Shapes of many points", keys: ["Enter"], text: "end; a click on the first or last point, too" },
  { group: "Shapes of many points", keys: ["Backspace"], text: "take the last point back" },
  { group: "Shapes of many points", keys: ["Escape"], text: "cancel" },
];
