import assert from "node:assert/strict";
import test from "node:test";
import { border, tint } from "../../assets/overlay.js";
import { brightRegion, component, count } from "../../assets/region.js";
import { polyline, stroke } from "../../assets/stroke.js";
import { blank, mask, picture } from "./masks.mjs";

test("a pen of one pixel paints the pixel under it, wherever in the pixel it is", () => {
  for (const at of [[2.01, 1.01], [2.5, 1.5], [2.99, 1.99]]) {
    const page = blank(3, 5);
    stroke(page, at, at, 1, 1);
    assert.deepEqual(picture(page), [".....", "..#..", "....."], String(at));
  }
});

test("a round pen covers the pixels whose centres lie under its disc", () => {
  const page = blank(5, 5);
  stroke(page, [2.5, 2.5], [2.5, 2.5], 3, 1);
  assert.deepEqual(picture(page), [".....", ".###.", ".###.", ".###.", "....."]);
  stroke(page, [2.5, 2.5], [2.5, 2.5], 5, 1);
  assert.deepEqual(picture(page), [".###.", "#####", "#####", "#####", ".###."]);
  const large = blank(100, 100);
  stroke(large, [50, 50], [50, 50], 50, 1);
  assert.ok(Math.abs(count(large) - Math.PI * 625) < 20, String(count(large)));
});

test("a stroke has no gaps, and none of it lands on the other side of the picture", () => {
  const page = blank(4, 8);
  stroke(page, [-3, 0.5], [7.5, 3.5], 1, 1);
  assert.equal(component(page, 3, 7).length, count(page));
  const outside = blank(4, 8);
  stroke(outside, [9, 2], [30, 2], 1, 1);
  stroke(outside, [-5, -5], [-5, -5], 3, 1);
  assert.equal(count(outside), 0);
});

test("the black pen takes away, and a threshold keeps pixels out", () => {
  const page = mask("#####", "#####", "#####");
  stroke(page, [0.5, 1.5], [4.5, 1.5], 1, 0);
  assert.deepEqual(picture(page), ["#####", ".....", "#####"]);
  const values = Int16Array.of(9, 1, 9, 1, 9);
  const line = blank(1, 5);
  stroke(line, [0.5, 0.5], [4.5, 0.5], 1, 1, (index) => values[index] >= 9);
  assert.deepEqual(picture(line), ["#.#.#"]);
});

test("a centreline is drawn with its width and round corners", () => {
  const page = blank(7, 7);
  polyline(page, [[1.5, 1.5], [5.5, 1.5], [5.5, 5.5]], 1, 1);
  assert.deepEqual(picture(page), [".......", ".#####.", ".....#.", ".....#.", ".....#.", ".....#.", "......."]);
  const dot = blank(3, 3);
  polyline(dot, [[1.5, 1.5]], 1, 1);
  assert.equal(count(dot), 1);
});

test("a region grows over edges and corners to all that is as bright as the level, and no further", () => {
  const values = Int16Array.of(9, 1, 5, 1, 9, 1, 9, 1, 1, 1, 1, 1, 9, 9, 9);
  const page = blank(5, 3);
  assert.deepEqual(brightRegion(page, values, 5, 0, 0).sort((a, b) => a - b), [0, 2, 4, 6]);
  assert.deepEqual(brightRegion(page, values, 6, 0, 2), []);
  assert.deepEqual(brightRegion(page, values, 5, 9, 9), []);
});

test("a component is the connected part under the click", () => {
  const page = mask("##..#", "##..#", "..#..", "#....");
  assert.equal(component(page, 0, 0).length, 5);
  assert.equal(component(page, 3, 0).length, 1);
  assert.deepEqual(component(page, 0, 2), []);
});

test("the border runs around every part and every hole", () => {
  const ring = mask("###", "#.#", "###");
  const total = border(ring).reduce((sum, [x0, y0, x1, y1]) => sum + (x1 - x0) + (y1 - y0), 0);
  assert.equal(total, 12 + 4);
  assert.deepEqual(border(mask("#")), [[0, 0, 1, 0], [0, 1, 1, 1], [0, 0, 0, 1], [1, 0, 1, 1]]);
  assert.deepEqual(border(blank(2, 2)), []);
});

test("a tint colours what is inside and nothing else", () => {
  const rgba = new Uint8ClampedArray(8);
  tint(rgba, 2, (index) => index === 1, [255, 128, 1], 200);
  assert.deepEqual([...rgba], [0, 0, 0, 0, 255, 128, 1, 200]);
});
