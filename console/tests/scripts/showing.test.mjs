import assert from "node:assert/strict";
import test from "node:test";
import { parse } from "../../assets/pixels.js";
import { brightness, firstLevel } from "../../assets/slice-data.js";
import { length, lengthText, scaleBar, View } from "../../assets/view.js";
import { dragged, grey, paint } from "../../assets/window.js";

test("greys follow the examples of the standard, as the server's do", () => {
  // PS3.3 C.11.2.1.2.1, note 3: centre 2048 and width 4096 is the identity on 0 to 4095, width 1 a threshold.
  for (const x of [0, 1, 1000, 2047, 2048, 4094, 4095]) {
    assert.equal(grey(x, { centre: 2048, width: 4096 }), Math.round((x / 4095) * 255));
  }
  const threshold = { centre: 100, width: 1 };
  assert.deepEqual([99, 99.5, 99.6, 100].map((x) => grey(x, threshold)), [0, 0, 255, 255]);
  assert.deepEqual([-50, 0, 49, NaN].map((x) => grey(x, { centre: 0, width: 100 })), [0, 129, 255, 0]);
});

test("a picture is painted opaque, and inverted where the slice or the reader wants it", () => {
  const rgba = new Uint8ClampedArray(12);
  paint(rgba, Float32Array.of(-1e9, 0, 1e9), { centre: 0, width: 100 }, false);
  assert.deepEqual([...rgba], [0, 0, 0, 255, 129, 129, 129, 255, 255, 255, 255, 255]);
  paint(rgba, Float32Array.of(-1e9, 0, 1e9), { centre: 0, width: 100 }, true);
  assert.deepEqual([...rgba], [255, 255, 255, 255, 126, 126, 126, 255, 0, 0, 0, 255]);
});

test("a drag changes width and centre, and never ends in an impossible window", () => {
  assert.deepEqual(dragged({ centre: 100, width: 1000 }, 50, -10, 1000), { centre: 80, width: 1100 });
  assert.equal(dragged({ centre: 0, width: 10 }, -500, 0, 1000).width, 1);
});

test("a window that changes its size keeps a whole picture whole, and else what is in its middle", () => {
  const view = new View({ rows: 100, columns: 100 });
  view.fit(500, 400);
  view.resized([1000, 800], [500, 400]);
  assert.equal(view.zoom, 8);
  view.zoomAt([100, 100], 2);
  const middle = view.toPicture([500, 400]);
  view.resized([600, 200], [1000, 800]);
  assert.deepEqual([view.zoom, view.toPicture([300, 100])], [16, middle]);
  const next = new View({ rows: 100, columns: 100 });
  next.fit(600, 200);
  next.follow(view);
  assert.deepEqual(next.toPicture([300, 100]), middle);
});

test("zooming keeps what is under the cursor, and positions go there and back", () => {
  const view = new View({ rows: 300, columns: 700, aspect: 1.5 });
  view.fit(1000, 600);
  const cursor = [321, 123];
  const before = view.toPicture(cursor);
  for (const factor of [1.25, 3, 100, 0.0001, 2]) {
    view.zoomAt(cursor, factor);
    const after = view.toPicture(cursor);
    assert.ok(Math.hypot(after[0] - before[0], after[1] - before[1]) < 1e-9, `${factor}: ${after}`);
  }
  const [x, y] = view.toScreen(view.toPicture([17, 23]));
  assert.ok(Math.hypot(x - 17, y - 23) < 1e-9);
});

test("the whole picture fits with the proportions of the body", () => {
  const view = new View({ rows: 100, columns: 100, aspect: 2 });
  view.fit(400, 400);
  assert.deepEqual(view.toScreen([0, 0]), [100, 0]);
  assert.deepEqual(view.toScreen([100, 100]), [300, 400]);
});

test("lengths are mm where the spacing is known, else pixels", () => {
  assert.equal(length([0, 0], [30, 40], [0.5, 1]), Math.hypot(30, 20));
  assert.equal(lengthText([0, 0], [10, 0], [0.3, 0.15]), "1.50 mm");
  assert.equal(lengthText([0, 0], [3, 4], null), "5.0 px");
  assert.deepEqual(scaleBar(10, 120), { units: 10, pixels: 100 });
  assert.deepEqual(scaleBar(3, 100), { units: 20, pixels: 60 });
  assert.deepEqual(scaleBar(100, 60), { units: 0.5, pixels: 50 });
});

test("values are read by their headers, and a wrong length is said", () => {
  const headers = { "X-Rows": "1", "X-Columns": "3", "X-Type": "i16", "X-Minimum": "-1", "X-Maximum": "258", "X-Inverted": "true" };
  const read = parse(Uint8Array.of(255, 255, 2, 1, 0, 0).buffer, (name) => headers[name]);
  assert.deepEqual([...read.values], [-1, 258, 0]);
  assert.deepEqual([read.rows, read.columns, read.minimum, read.maximum, read.inverted], [1, 3, -1, 258, true]);
  const floats = parse(Float32Array.of(0.5, -2, 3).buffer, (name) => ({ ...headers, "X-Type": "f32" })[name]);
  assert.deepEqual([...floats.values], [0.5, -2, 3]);
  assert.throws(() => parse(new ArrayBuffer(4), (name) => headers[name]), /4 bytes for 1 x 3 values/);
  assert.throws(() => parse(new ArrayBuffer(6), () => null), /of type null/);
});

test("where the lowest value is white, brightness is turned over", () => {
  const slice = { values: Int16Array.of(-1000, 0, 3000), minimum: -1000, maximum: 3000, inverted: true };
  assert.deepEqual([...brightness(slice)], [3000, 2000, -1000]);
  assert.equal(brightness({ ...slice, inverted: false }), slice.values);
});

test("the first level leaves out all but the brightest values", () => {
  const values = Int16Array.from({ length: 10_000 }, (_, i) => (i * 7919) % 10_000);
  assert.equal(firstLevel(values), 9_950);
  assert.equal(firstLevel(Float32Array.of(NaN, 2.4, NaN)), 2);
  assert.equal(firstLevel(Float32Array.of(NaN)), 0);
});
