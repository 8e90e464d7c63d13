import assert from "node:assert/strict";
import test from "node:test";
import { Desk } from "../../assets/desk.js";
import { decodeMask, encodeMask } from "../../assets/png.js";
import { polygon } from "../../assets/raster.js";
import { tools } from "../../assets/tools.js";
import { View } from "../../assets/view.js";
import { blank, picture } from "./masks.mjs";

globalThis.document = { querySelector: () => ({ content: "token" }) };

/** A server that keeps revisions; `answers` may change what it says to the next ones: "lost" keeps, but doesn't answer. */
function server(answers = []) {
  const kept = [];
  const said = (status, body) => new Response(body instanceof Uint8Array ? body : JSON.stringify(body), { status });
  globalThis.fetch = async (url, { method, body }) => {
    const asked = new URL(url, "http://here").searchParams;
    const named = /revisions\/(\d+)\/mask/.exec(url)?.[1];
    if (method !== "POST") return said(200, kept[named - 1].body);
    const how = answers.shift();
    if (how === "away") throw new TypeError("away");
    const newest = kept.length || null;
    if (Number(asked.get("parent")) !== Number(newest) && !asked.get("force")) {
      return said(409, { error: "", conflict: { revision: newest } });
    }
    kept.push({ url, body, asked });
    if (how === "lost") throw new TypeError("the network has gone");
    return said(201, { revision: kept.length });
  };
  return { kept, mask: async (at) => picture(await decodeMask(kept.at(at).body)) };
}

function desk() {
  const stage = { changed() {}, view: new View({ rows: 8, columns: 8 }) };
  const made = new Desk(stage, { changed() {}, saving() {} });
  const slice = (name) => ({ patient: "p", slice: name, mask: blank(8, 8), bright: new Int16Array(64), revisions: [], newest: null, origin: "blank" });
  made.size = 1;
  made.open(slice("a"));
  return { made, slice, all: tools(made) };
}

const click = (tool, at) => { tool.down(at); tool.up?.(); };

test("half a polygon is not saved, and stays on the desk", async () => {
  const { mask } = server();
  const { made, all } = desk();
  click(all.pen, [0.5, 0.5]);
  for (const at of [[2, 2], [6, 2], [6, 6]]) click(all.polygon, at);
  assert.ok(await made.autosave.save());
  assert.equal((await mask(-1)).join("").match(/#/g).length, 1);
  all.polygon.key("Enter");
  assert.ok(await made.autosave.save());
  assert.deepEqual(await mask(-1), picture(made.mask));
  assert.ok(picture(made.mask)[4].includes("#"));
  made.autosave.stop();
});

test("a stroke that is called off in the middle is not gone on with, on no slice", () => {
  const { made, slice, all } = desk();
  all.pen.down([1.5, 1.5]);
  all.pen.cancel();
  all.pen.drag([5.5, 5.5]);
  all.pen.up();
  assert.deepEqual([made.mask.data.includes(1), made.history.steps.done], [false, 0]);
  all.pen.down([1.5, 1.5]);
  all.pen.cancel();
  made.open(slice("b"));
  all.pen.drag([5.5, 5.5]);
  all.pen.up();
  assert.deepEqual([made.mask.data.includes(1), made.autosave.unsaved], [false, false]);
});

test("a pinch takes back the point that its first finger set, not the whole shape", () => {
  const { all, made } = desk();
  for (const at of [[1, 1], [6, 1], [6, 6]]) click(all.polygon, at);
  all.polygon.takeBack();
  all.polygon.down([1, 6]);
  all.polygon.key("Enter");
  const triangle = blank(8, 8);
  polygon(triangle, [[1, 1], [6, 1], [1, 6]]);
  assert.deepEqual([picture(made.mask), made.history.steps.done], [picture(triangle), 1]);
  made.autosave.stop();
});

test("what is saved late belongs to the slice on which it was drawn", async () => {
  const { kept } = server();
  const { made, slice, all } = desk();
  click(all.pen, [0.5, 0.5]);
  const first = made.autosave;
  made.open(slice("b"));
  made.mask.data.fill(1);
  assert.ok(await first.save());
  assert.match(kept[0].url, /slices\/p\/a\/revisions/);
  assert.equal((await decodeMask(kept[0].body)).data.filter(Boolean).length, 1);
});

test("an answer that got lost is no conflict with oneself", async () => {
  const { kept, mask } = server(["lost", "away"]);
  const { made, all } = desk();
  click(all.pen, [0.5, 0.5]);
  assert.ok(!(await made.autosave.save()));
  click(all.pen, [3.5, 3.5]);
  assert.ok(!(await made.autosave.save()));
  assert.ok(await made.autosave.save());
  assert.equal(kept.length, 2);
  assert.equal(kept[1].asked.get("parent"), "1");
  assert.deepEqual(await mask(-1), picture(made.mask));
});

test("somebody else's revision is a conflict, also after an answer that got lost", async () => {
  const { kept } = server(["away"]);
  const { made, all } = desk();
  click(all.pen, [0.5, 0.5]);
  await made.autosave.save();
  kept.push({ body: await encodeMask(blank(8, 8)) });
  assert.ok(!(await made.autosave.save()));
  assert.equal(made.autosave.status.state, "conflict");
  assert.equal(kept.length, 1);
});
