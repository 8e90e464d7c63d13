import assert from "node:assert/strict";
import test from "node:test";
import { difference, History } from "../../assets/history.js";
import { rectangle } from "../../assets/raster.js";
import { stroke } from "../../assets/stroke.js";
import { blank, draws, mask, picture } from "./masks.mjs";

test("two hundred steps, clear among them, are undone and done again pixel by pixel", () => {
  const page = blank(60, 70);
  const history = new History(page);
  const draw = draws();
  const seen = [page.data.slice()];
  while (seen.length <= 200) {
    const at = [draw() * 70, draw() * 60];
    const change = seen.length % 20 === 0
      ? (target) => target.data.fill(0)
      : (target) => stroke(target, at, [draw() * 70, draw() * 60], 1 + draw() * 9, draw() < 0.7 ? 1 : 0);
    if (history.change("a step", change)) seen.push(page.data.slice());
  }
  for (let i = seen.length - 2; i >= 0; i--) {
    assert.equal(history.undo(), "a step");
    assert.deepEqual(page.data, seen[i]);
  }
  assert.equal(history.undo(), null);
  for (let i = 1; i < seen.length; i++) {
    history.redo();
    assert.deepEqual(page.data, seen[i]);
  }
  assert.equal(history.redo(), null);
});

test("what changes nothing is no step, and a new step ends what could be done again", () => {
  const page = mask("#.", "..");
  const history = new History(page);
  assert.equal(history.change("nothing", () => {}), false);
  history.change("one", (target) => target.data.fill(1));
  history.undo();
  assert.deepEqual(history.steps, { done: 0, undone: 1 });
  history.change("other", (target) => (target.data[3] = 1));
  assert.deepEqual(history.steps, { done: 1, undone: 0 });
  assert.deepEqual(picture(page), ["#.", ".#"]);
});

test("the oldest steps go first", () => {
  const page = blank(1, 1);
  const history = new History(page, 3);
  for (let i = 0; i < 5; i++) history.change("turn", (target) => (target.data[0] ^= 1));
  assert.equal(history.steps.done, 3);
});

test("a step over a whole picture costs bytes by its outline, not by its area", () => {
  const page = blank(500, 700);
  const before = page.data.slice();
  rectangle(page, [0, 0], [699, 499]);
  assert.equal(difference(before, page.data).length, 2);
});
