import assert from "node:assert/strict";
import test from "node:test";
import { Answers } from "../../assets/answers.js";

const failure = (status) => Object.assign(new Error("no"), { status });
const settled = () => new Promise((done) => setImmediate(done));

/** Answers whose requests and pauses are ended by hand. */
function answers() {
  const [requests, pauses, told, shown] = [[], [], [], []];
  const hold = (list, more = {}) => new Promise((done, failed) => list.push({ ...more, done, failed }));
  const made = new Answers({
    show: (slice) => shown.push(slice.triage),
    tell: ({ open, error, isGivenUp }) => told.push([open, error?.status ?? null, isGivenUp]),
    send: (slice, answer) => hold(requests, { answer }),
    later: (ms) => hold(pauses, { ms }),
  });
  return { made, requests, pauses, told, shown };
}

test("of one slice one answer is under way, and the last word is sent last", async () => {
  const { made, requests } = answers();
  const slice = { triage: null };
  for (const answer of ["clear", "no", "unsure"]) made.say(slice, slice, answer);
  assert.deepEqual([slice.triage, requests.map(({ answer }) => answer)], ["unsure", ["clear"]]);
  requests[0].done();
  await settled();
  assert.deepEqual(requests.map(({ answer }) => answer), ["clear", "unsure"]);
  requests[1].done();
  await settled();
  made.say(slice, slice, "no");
  assert.equal(requests.length, 3);
});

test("answers for different slices don't wait for each other", () => {
  const { made, requests } = answers();
  for (const slice of [{}, {}, {}]) made.say(slice, slice, "clear");
  assert.equal(requests.length, 3);
});

test("an answer that could not be sent stays, is said to be unsaved, and is sent again", async () => {
  const { made, requests, pauses, told } = answers();
  const slice = { triage: null };
  made.say(slice, slice, "clear");
  requests[0].failed(failure(0));
  await settled();
  assert.deepEqual([slice.triage, told.at(-1), made.isInTrouble, pauses[0].ms], ["clear", [1, 0, false], true, 1000]);
  pauses[0].done();
  await settled();
  requests[1].failed(failure(401));
  await settled();
  made.say(slice, slice, null);
  pauses[1].done();
  await settled();
  assert.equal(requests[2].answer, null);
  requests[2].done();
  await settled();
  assert.deepEqual([slice.triage, told.at(-1), made.isInTrouble], [null, [0, null, false], false]);
});

test("what the server refuses is taken back to what it has", async () => {
  const { made, requests, told } = answers();
  const slice = { triage: "no" };
  made.say(slice, slice, "clear");
  requests[0].failed(failure(403));
  await settled();
  assert.deepEqual([slice.triage, told, made.isInTrouble], ["no", [[0, 403, true]], false]);
});
