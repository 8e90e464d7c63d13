import assert from "node:assert/strict";
import test from "node:test";
import { watch } from "../../assets/live.js";
import { below } from "../../assets/dropped.js";

class Source extends EventTarget {
  static all = [];
  CLOSED = 2;
  readyState = 1;
  constructor(at) { super(); this.at = at; Source.all.push(this); }
  close() { this.readyState = 2; }
  say(type, data) { this.dispatchEvent(Object.assign(new Event(type), { data: JSON.stringify(data) })); }
}

function watching() {
  Source.all.length = 0;
  const said = [];
  const page = Object.assign(new EventTarget(), { hidden: false });
  const note = (name) => (data) => said.push([name, data]);
  const end = watch("runs/r", { progress: note("progress"), done: note("done"), lost: note("lost"), Source, page });
  const see = (isSeen) => { page.hidden = !isSeen; page.dispatchEvent(new Event("visibilitychange")); };
  return { said, see, end, sources: Source.all };
}

test("a page that nobody looks at holds no connection, and listens again when somebody does", () => {
  const { said, see, sources } = watching();
  see(false);
  assert.equal(sources[0].readyState, 2);
  sources[0].say("progress", 1);
  see(true);
  sources[1].say("progress", 2);
  sources[1].say("done", 3);
  see(false);
  see(true);
  assert.deepEqual([said, sources.length, sources[1].readyState], [[["progress", 2], ["done", 3]], 2, 2]);
});

test("a connection that is interrupted goes on by itself, one that the browser gives up is tried again and said", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { said, sources, end } = watching();
  sources[0].dispatchEvent(new Event("error"));
  assert.deepEqual(said, []);
  sources[0].readyState = 2;
  sources[0].dispatchEvent(new Event("error"));
  context.mock.timers.tick(5_000);
  sources[1].dispatchEvent(new Event("open"));
  assert.deepEqual([said, sources.length], [[["lost", true], ["lost", false]], 2]);
  end();
});

test("what is dropped is found with all below it, in its order", async () => {
  const file = (fullPath) => ({ isDirectory: false, fullPath, file: (done) => done(fullPath) });
  const folder = (fullPath, ...parts) => ({ isDirectory: true, createReader: () => ({ readEntries: (done) => done(parts.shift() ?? []) }), fullPath });
  const found = await below([folder("/a", [file("/a/1"), folder("/a/b", [file("/a/b/2")])], [file("/a/3")]), file("/4")]);
  assert.deepEqual(found.map(({ path }) => path), ["a/1", "a/b/2", "a/3", "4"]);
});
