import assert from "node:assert/strict";
import test from "node:test";
import { listen } from "../../assets/pointer.js";

/** A canvas that notes what its pointers lead to. */
function canvas() {
  const made = Object.assign(new EventTarget(), { focus() {}, setPointerCapture() {}, getBoundingClientRect: () => ({ left: 0, top: 0 }) });
  const said = [];
  const note = (name) => (...values) => said.push([name, ...values.flat().filter(Number.isFinite)].join(" "));
  const view = { pan: note("pan"), zoomAt() {} };
  listen({ canvas: made, slice: {}, view, changed() {}, at: ({ clientX, clientY }) => [clientX, clientY] }, {
    down: note("down"), drag: note("drag"), up: note("up"), takeBack: note("back"), hover() {}, contrast() {}, mode: () => "tool",
  });
  const send = (pointer, type, x = 0, y = 0, more = {}) => made.dispatchEvent(Object.assign(new Event(`pointer${type}`, { cancelable: true }),
    { clientX: x, clientY: y, button: 0, buttons: 1, altKey: false, ...pointer, ...more }));
  return { send, said, made };
}

const PEN = { pointerId: 1, pointerType: "pen" };
const PALM = { pointerId: 2, pointerType: "touch" };
const FINGER = { pointerId: 3, pointerType: "touch" };
const MOUSE = { pointerId: 4, pointerType: "mouse" };

test("a palm that lands beside a pen at work neither draws nor ends the stroke", () => {
  const { send, said } = canvas();
  send(PEN, "down", 1, 1);
  send(PALM, "down", 50, 50);
  send(PALM, "move", 55, 55);
  send(PEN, "move", 2, 2);
  send(PALM, "up", 55, 55);
  send(PEN, "move", 3, 3);
  send(PEN, "up", 3, 3);
  assert.deepEqual(said, ["down 1 1", "drag 2 2", "drag 3 3", "up"]);
});

test("a pen takes over from the palm that came first", () => {
  const { send, said } = canvas();
  send(PALM, "down", 50, 50);
  send(PEN, "down", 1, 1);
  send(PALM, "move", 55, 55);
  send(PALM, "cancel", 55, 55);
  send(PEN, "up", 1, 1);
  assert.deepEqual(said, ["down 50 50", "back", "down 1 1", "up"]);
});

test("a second finger makes a drawing finger a pinch, which starts where the fingers are", () => {
  const { send, said } = canvas();
  send(FINGER, "down", 10, 0);
  send(FINGER, "move", 20, 0);
  send(PALM, "down", 40, 0);
  send(FINGER, "move", 22, 0);
  send(FINGER, "up", 22, 0);
  send(PALM, "move", 60, 0);
  send(PALM, "up", 60, 0);
  assert.deepEqual(said, ["down 10 0", "drag 20 0", "back", "pan 1 0"]);
});

test("all positions between two frames count", () => {
  const { send, said } = canvas();
  send(MOUSE, "down", 0, 0);
  send(MOUSE, "move", 9, 0, { getCoalescedEvents: () => [3, 6, 9].map((clientX) => ({ clientX, clientY: 0 })) });
  assert.deepEqual(said, ["down 0 0", "drag 3 0", "drag 6 0", "drag 9 0"]);
});

test("a capture that is lost ends the stroke and keeps it, one that is cancelled takes it back", () => {
  const { send, said, made } = canvas();
  send(MOUSE, "down", 0, 0);
  made.dispatchEvent(Object.assign(new Event("lostpointercapture"), MOUSE));
  send(MOUSE, "move", 9, 9);
  send(MOUSE, "down", 1, 1);
  send(MOUSE, "cancel", 1, 1);
  assert.deepEqual(said, ["down 0 0", "up", "down 1 1", "back"]);
});
