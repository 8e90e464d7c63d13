import assert from "node:assert/strict";
import test from "node:test";
import { path, query } from "../../assets/api.js";
import { corners, series } from "../../assets/chart.js";
import { sheetSize } from "../../assets/contact-sheet.js";
import { summary } from "../../assets/import.js";
import { inSight, layout, moved, placeOf } from "../../assets/grid.js";
import { belongsTo, listen, nameOf } from "../../assets/keys.js";
import { ago, duration, fixed } from "../../assets/words.js";

test("of a wall of any length only the tiles in sight are made", () => {
  for (const count of [0, 1, 7, 2_000, 66_000]) {
    const places = layout(count, 1366, 190);
    assert.equal(places.columns, 7);
    for (const top of [0, 5_000, places.height]) {
      const [first, end] = inSight(places, count, top, 640);
      assert.ok(end - first <= 7 * 9, `${end - first} tiles`);
      assert.ok(first >= 0 && end <= count);
    }
  }
});

test("every place of the wall is covered by a tile that is made for it", () => {
  const places = layout(2_000, 1366, 190);
  for (let top = 0; top < places.height - 640; top += 333) {
    const [first, end] = inSight(places, 2_000, top, 640, 0);
    assert.ok(placeOf(places, first).top <= top);
    assert.ok(placeOf(places, end - 1).top + places.tile.height >= Math.min(top + 640, places.height));
  }
});

test("arrows lead to the neighbours and never off the wall", () => {
  const places = layout(20, 700, 100);
  assert.deepEqual(["ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp", "Home", "End", "PageDown", "x"]
    .map((key) => moved(places, 20, 8, key, 3)), [9, 7, 15, 1, 0, 19, 19, null]);
  assert.equal(moved(places, 20, 19, "ArrowDown", 3), 19);
});

test("a contact sheet holds all its pictures and is about square", () => {
  for (const count of [1, 5, 38, 120]) {
    const { columns, rows } = sheetSize(count);
    assert.ok(columns * rows >= count && columns * (rows - 1) < count);
    assert.ok(Math.abs(columns * 240 - rows * 200) <= 480, `${columns} x ${rows}`);
  }
});

test("keys are named by letter, digit and sign whatever the layout", () => {
  const name = (key, code, held = {}) => nameOf({ key, code, ctrlKey: false, metaKey: false, shiftKey: false, ...held });
  assert.equal(name("B", "KeyB"), "b");
  assert.equal(name("Z", "KeyZ", { ctrlKey: true, shiftKey: true }), "Control+Shift+z");
  assert.equal(name("!", "Digit1", { shiftKey: true }), "Shift+1");
  assert.equal(name("?", "Slash", { shiftKey: true }), "?");
  assert.equal(name("Enter", "Enter", { shiftKey: true }), "Shift+Enter");
});

test("a bracket that is made with AltGr is that bracket", () => {
  const held = { ctrlKey: true, altKey: true, metaKey: false, shiftKey: false, getModifierState: (name) => name === "AltGraph" };
  assert.equal(nameOf({ key: "[", code: "Digit8", ...held }), "[");
});

test("a key that is held down counts once, unless it may repeat", () => {
  const page = Object.assign(new EventTarget(), { querySelector: () => null });
  globalThis.document = page;
  const done = [];
  listen([{ keys: ["1"], run: () => done.push("answer") }, { keys: ["d"], run: () => done.push("next"), repeats: true }]);
  const press = (key, code, more = {}) => page.dispatchEvent(Object.assign(new Event("keydown", { cancelable: true }),
    { key, code, ctrlKey: false, metaKey: false, shiftKey: false, altKey: false, repeat: false, ...more }));
  for (const repeat of [false, true, true]) { press("1", "Digit1", { repeat }); press("d", "KeyD", { repeat }); }
  press("d", "KeyD", { altKey: true });
  press("d", "KeyD", { ctrlKey: true });
  assert.deepEqual(done, ["answer", "next", "next", "next"]);
});

test("how long ago is said as the server's pages do", () => {
  assert.deepEqual([5, 600, 7_200, 172_800, -9].map((seconds) => ago(1_000_000 - seconds, 1_000_000)), ["5 s ago", "10 min ago", "2 h ago", "2 days ago", "0 s ago"]);
});

test("a training that left all bounds still has its chart", () => {
  const [loss] = series([{ loss: null, judged_loss: null, iou: 0, dice: 0, held_out: true }]);
  assert.equal(loss.high, 1e-6);
  assert.equal(fixed(null, 3), "-");
});

test("a field keeps its keys, a slider only its arrows, a button only what presses it", () => {
  const target = (...selectors) => ({ matches: (selector) => selectors.some((one) => selector.split(", ").includes(one)) });
  assert.ok(belongsTo(target("textarea"), "b"));
  assert.ok(belongsTo(target("button"), "Enter"));
  assert.ok(!belongsTo(target("button"), "b"));
  assert.ok(belongsTo(target("input"), "ArrowLeft"));
  assert.ok(!belongsTo(target("input"), "b"));
});

test("paths and queries are escaped, and empty values are left out", () => {
  assert.equal(path("slices", "a/b", "c d"), "slices/a%2Fb/c%20d");
  assert.equal(query({ run: "r&1", patient: null, triage: "", offset: 0 }), "?run=r%261&offset=0");
});

test("a curve fills its box: the first epoch on the left, the highest value at the top", () => {
  const box = { count: 3, low: 0, high: 2, width: 300, height: 100 };
  assert.equal(corners([2, 1, 0], box), "0,0 150,50 300,100");
  assert.equal(corners([2, 1], box), "0,0 150,50", "epochs to come leave room");
  assert.equal(corners([5, -1], box), "0,0 150,100", "what is outside stays at the edge");
});

test("a training's charts say whether it was judged on pictures that it had not seen", () => {
  const epoch = (loss, held_out) => ({ loss, judged_loss: 2 * loss, iou: 0.5, dice: 0.6, held_out });
  const [loss, overlap] = series([epoch(0.5, true), epoch(0.25, true)]);
  assert.deepEqual([loss.high, loss.curves[0].values, loss.curves[1].name], [1, [0.5, 0.25], "held-out"]);
  assert.deepEqual([overlap.low, overlap.high, overlap.curves.map(({ name }) => name)], [0, 1, ["IoU", "Dice"]]);
  assert.equal(series([epoch(1, false)])[0].curves[1].name, "training pictures");
});

test("what came of an import is a sentence", () => {
  assert.equal(summary({ accepted: 1, refused: 0 }), "1 mask imported.");
  assert.equal(summary({ accepted: 2, refused: 1 }), "2 masks imported, 1 file not taken.");
  assert.match(summary({ accepted: 0, refused: 0 }), /no labelme file/);
});

test("lengths of time are short", () => {
  assert.deepEqual([5.4, 600, 7200].map(duration), ["5 s", "10 min", "2.0 h"]);
});
