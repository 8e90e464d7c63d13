// The server's API. Errors say what the server said and what to do.

const ROOT = "/api/v1/";

/** How long an answer may take: a network that has gone away says nothing. */
const PATIENCE_MS = 60_000;
/** What is no longer than this goes its way also when the page is left; browsers allow 64 KiB for all together. */
const KEPT_ALIVE_BYTES = 30_000;

export class ApiError extends Error {
  /** `status` is 0 where the server could not be reached. */
  constructor(status, { error, what_to_do: whatToDo, conflict }) {
    super([error, whatToDo].filter(Boolean).join(/[.!?]$/.test(error) ? " " : ": "));
    Object.assign(this, { status, conflict });
  }
}

/**
 * Whether a request would fail again, however often it is tried: a 4xx stays what it is. Time-outs, too many requests and a session
 * that has ended don't: people log in again elsewhere.
 */
export const isHopeless = ({ status }) => status >= 400 && status < 500 && ![401, 408, 429].includes(status);

/** The response to a request below /api/v1; anything but success is thrown. `patience` (ms) is Infinity for long uploads. */
export async function call(path, options = {}) {
  const brought = token()?.content;
  let response = await attempt(path, options);
  // Of several requests with the old token, one alone finds it changed.
  if (response.status === 403 && (await renewToken()) !== brought) response = await attempt(path, options);
  if (response.ok) return response;
  throw new ApiError(response.status, await said(response));
}

/** Where the page keeps the token that every change has to bring. */
export const token = () => document.querySelector("meta[name=csrf]");

async function attempt(path, { method = "GET", body, type, patience = PATIENCE_MS }) {
  const headers = {};
  if (method !== "GET") headers["X-CSRF"] = token().content;
  if (type) headers["Content-Type"] = type;
  // Chromium sends no file of the disk so.
  const keepalive = method !== "GET" && !(body instanceof Blob) && (body?.length ?? 0) <= KEPT_ALIVE_BYTES;
  const signal = patience < Infinity ? AbortSignal.timeout(patience) : undefined;
  try {
    return await fetch(ROOT + path, { method, headers, body, keepalive, signal });
  } catch {
    throw new ApiError(0, { error: "The server can't be reached." });
  }
}

/** A server that was started again wants another token: a page that was open before asks for it. Gives the one that it has then. */
export async function renewToken() {
  const response = await fetch(`${ROOT}session`);
  const { csrf } = response.ok ? await response.json() : {};
  if (csrf) token().content = csrf;
  return token().content;
}

async function said(response) {
  if (response.status === 401) return { error: "You are no longer signed in.", what_to_do: "Sign in again in another tab." };
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return { error: `The server answered ${response.status}.` };
  }
}

export const json = async (path, options) => (await call(path, options)).json();

export const send = (method, path, body) =>
  call(path, { method, body: body === undefined ? undefined : JSON.stringify(body), type: body === undefined ? undefined : "application/json" });

/** A path below /api/v1 from its parts. */
export const path = (...parts) => parts.map(encodeURIComponent).join("/");

/** A query from its values; those that are null or empty are left out. */
export const query = (values) =>
  `?${new URLSearchParams(Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== ""))}`;
