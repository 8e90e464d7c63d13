import assert from "node:assert/strict";
import test from "node:test";
import { Autosave } from "../../assets/autosave.js";
import { Cache } from "../../assets/cache.js";
import { Stopwatch } from "../../assets/stopwatch.js";

/** An autosave with a clock that is turned by hand and a server that answers with the next of `answers`. */
function autosave(answers = []) {
  const waiting = [];
  const [sent, shown] = [[], []];
  const saver = new Autosave({
    revision: null,
    send: async (body) => {
      sent.push(body);
      const answer = answers.shift() ?? { revision: sent.length };
      if (answer instanceof Error) throw answer;
      return answer;
    },
    show: (status) => shown.push(status.state),
    later: (ms, what) => {
      const timer = { ms, what };
      waiting.push(timer);
      return () => waiting.includes(timer) && waiting.splice(waiting.indexOf(timer), 1);
    },
  });
  const turn = async () => {
    const timer = waiting.shift();
    await timer.what();
    return timer.ms;
  };
  return { saver, sent, shown, waiting, turn };
}

const failure = (status, more = {}) => Object.assign(new Error("no"), { status, ...more });

test("strokes are gathered, sent once, and each revision names the one before", async () => {
  const { saver, sent, shown, waiting, turn } = autosave();
  saver.changed();
  saver.changed();
  assert.equal(waiting.length, 1);
  assert.ok(saver.unsaved);
  assert.equal(await turn(), 1500);
  saver.changed();
  await turn();
  assert.deepEqual(sent.map(({ parent, state }) => [parent, state]), [[null, "draft"], [1, "draft"]]);
  assert.deepEqual(shown, ["changed", "changed", "saving", "saved", "changed", "saving", "saved"]);
  assert.ok(!saver.unsaved);
});

test("a stroke during sending is sent after it", async () => {
  const { saver, sent, turn, waiting } = autosave();
  saver.changed();
  const sending = turn();
  saver.changed();
  await sending;
  assert.equal(saver.status.state, "changed");
  assert.equal(waiting.length, 1);
  await turn();
  assert.equal(sent.length, 2);
  assert.equal(saver.status.state, "saved");
});

test("a server that isn't there is asked again, ever more slowly, until it is", async () => {
  const { saver, turn, shown } = autosave([failure(), failure(503), failure(429), { revision: 9 }]);
  saver.changed();
  assert.deepEqual([await turn(), await turn(), await turn(), await turn()], [1500, 1000, 2000, 4000]);
  assert.deepEqual(shown.filter((state) => state !== "saving"), ["changed", "retry", "retry", "retry", "saved"]);
  assert.equal(saver.revision, 9);
});

test("what the server refuses is said and not tried again", async () => {
  const { saver, turn, waiting } = autosave([failure(403)]);
  saver.changed();
  await turn();
  assert.equal(saver.status.state, "refused");
  assert.equal(waiting.length, 0);
  assert.ok(saver.unsaved);
});

test("somebody else's revision is never overwritten unless the annotator says so", async () => {
  const theirs = { by: "someone", at: "2026-01-01T00:00:00Z", revision: 4 };
  const { saver, sent, turn, waiting } = autosave([failure(409, { conflict: theirs }), { revision: 5 }]);
  saver.changed();
  await turn();
  assert.deepEqual(saver.status, { state: "conflict", theirs });
  saver.changed();
  assert.equal(waiting.length, 0, "nothing is sent while the conflict is open");
  assert.ok(await saver.save("draft", true));
  assert.equal(sent[1].force, true);
  assert.equal(saver.revision, 5);
});

test("taking theirs ends the conflict without sending", async () => {
  const { saver, sent, turn } = autosave([failure(409, { conflict: { revision: 4 } })]);
  saver.changed();
  await turn();
  saver.adopt(4);
  assert.deepEqual([saver.status.state, saver.revision, saver.unsaved, sent.length], ["saved", 4, false, 1]);
});

test("a decision is sent at once, even where nothing was drawn, and a later stroke is a draft again", async () => {
  const { saver, sent, turn } = autosave();
  assert.ok(await saver.save("accepted"));
  saver.changed();
  await turn();
  assert.deepEqual(sent.map(({ state }) => state), ["accepted", "draft"]);
  assert.ok(await saver.save());
  assert.equal(sent.length, 2, "nothing new, nothing sent");
});

test("a decision that is asked for twice is kept once, and saving again after it sends nothing", async () => {
  const { saver, sent } = autosave();
  const both = await Promise.all([saver.save("accepted"), saver.save("accepted")]);
  assert.deepEqual(both, [true, true]);
  assert.ok(await saver.save());
  assert.equal(sent.length, 1);
  await saver.save("accepted");
  assert.equal(sent.length, 2, "asked for later it is a decision of its own");
});

test("a session that has ended is waited for, and coming back to the page does not wait", async () => {
  const { saver, turn, sent } = autosave([failure(401), failure(0)]);
  saver.changed();
  await turn();
  assert.equal(saver.status.state, "retry");
  await saver.hurry();
  assert.equal(await turn(), 2000);
  assert.deepEqual([saver.status.state, sent.length], ["saved", 3]);
  assert.ok(!saver.hurry(), "nothing to do");
});

test("on top of somebody else's a decision stays the decision that it was", async () => {
  const { saver, sent } = autosave([failure(409, { conflict: { revision: 4 } })]);
  await saver.save("accepted");
  await saver.save(null, true);
  assert.deepEqual(sent.map(({ state, force }) => [state, force]), [["accepted", false], ["accepted", true]]);
});

test("what is used stays in the cache, what failed is asked for again", async () => {
  const asked = [];
  const cache = new Cache(2, async (key) => {
    asked.push(key);
    if (key === "bad") throw new Error("no");
    return key;
  });
  for (const key of ["a", "b", "a", "c", "a", "b"]) await cache.get(key);
  assert.deepEqual(asked, ["a", "b", "c", "b"]);
  await assert.rejects(cache.get("bad"));
  await assert.rejects(cache.get("bad"));
  assert.equal(asked.filter((key) => key === "bad").length, 2);
});

test("the stopwatch leaves long pauses out", () => {
  const watch = new Stopwatch(0);
  watch.touch(4_400);
  watch.touch(1_000_000);
  assert.equal(watch.seconds, 34);
  watch.take(34);
  watch.touch(1_000_600);
  assert.equal(watch.seconds, 1);
});
