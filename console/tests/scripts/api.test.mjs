import assert from "node:assert/strict";
import test from "node:test";
import { ApiError, isHopeless, send } from "../../assets/api.js";

test("after a restart of the server all requests that were under way get its new token", async () => {
  const meta = { content: "old" };
  globalThis.document = { querySelector: () => meta };
  const taken = [];
  globalThis.fetch = async (url, { method = "GET", headers } = {}) => {
    if (method === "GET") return Response.json({ csrf: "new" });
    if (headers["X-CSRF"] !== "new") return new Response("{}", { status: 403 });
    taken.push(url);
    return new Response("{}");
  };
  await Promise.all(["a", "b", "c"].map((at) => send("PUT", at, {})));
  assert.equal(taken.length, 3);
  globalThis.fetch = async (url, { method = "GET" } = {}) => (method === "GET" ? Response.json({ csrf: "new" }) : new Response('{"error":"no"}', { status: 403 }));
  await assert.rejects(send("PUT", "a", {}), { status: 403 });
});

test("what the server says and what to do about it are sentences", () => {
  assert.equal(new ApiError(403, { error: "the token is old", what_to_do: "load the page again" }).message, "the token is old: load the page again");
  assert.equal(new ApiError(0, { error: "You are out.", what_to_do: "Sign in." }).message, "You are out. Sign in.");
});

test("only what stays as it is is hopeless", () => {
  assert.deepEqual([0, 400, 401, 403, 408, 413, 429, 500, 503].filter((status) => isHopeless({ status })), [400, 403, 413]);
});
