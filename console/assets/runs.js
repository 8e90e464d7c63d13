// The page of all runs: a folder or a zip becomes a run, and the list says how far each is.

import { ApiError, json, path, query, renewToken, token } from "./api.js";
import { byId, element } from "./dom.js";
import { below } from "./dropped.js";
import { ago } from "./words.js";
import { zip } from "./zip.js";

const form = byId("delivery");
const said = byId("said");
const sent = byId("sent");

/** The upload that goes on, or null: an AbortController. */
let going = null;
/** What was dropped and isn't a run yet; a form keeps what was chosen in it, not what was dropped. */
let dropped = [];

/** Sends a zip and follows its bytes; gives the run. A fetch can't tell how far it is. */
function upload(body, plane, signal) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/v1/runs${query({ plane })}`);
    request.setRequestHeader("Content-Type", "application/zip");
    request.setRequestHeader("X-CSRF", token().content);
    request.responseType = "json";
    request.upload.onprogress = ({ loaded, total }) => show(loaded / total, `Sending: ${Math.round((100 * loaded) / total)} %`);
    request.upload.onload = () => show(1, "Sent. The server unpacks it…");
    request.onerror = () => failed(new Error("The upload broke off: the server can't be reached, or a file was changed meanwhile. Start a run tries again."));
    request.onabort = () => failed(signal.reason);
    request.onload = () => request.status < 300 ? done(request.response.run)
      : failed(new ApiError(request.status, request.response ?? { error: `The server answered ${request.status}.` }));
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

function show(part, text) {
  sent.hidden = part === null;
  sent.value = part ?? 0;
  said.textContent = text;
  said.classList.remove("error");
}

/** Files of one folder or several, or one zip, become a run: their zip, sent. */
async function start(files, { signal }) {
  const isZip = files.length === 1 && /\.zip$/i.test(files[0].path);
  const reading = (part) => show(part, `Reading ${files.length.toLocaleString()} files: ${Math.round(100 * part)} %`);
  const body = isZip ? files[0].file : await zip(files, reading, signal);
  // The server may have been started again since: better asked now than answered so after gigabytes.
  await renewToken();
  signal.throwIfAborted();
  const run = await upload(body, byId("plane").value, signal);
  going = null;
  location.assign(`/runs/${encodeURIComponent(run)}`);
}

/** Does one upload at a time, and says what became of it. `find` gives the files. */
async function begin(find) {
  if (going) return;
  const mine = new AbortController();
  going = mine;
  busy(true);
  try {
    const files = await find();
    mine.signal.throwIfAborted();
    if (files.length) await start(files, mine);
    else show(null, "Choose a zip, or drop a folder or a zip here.");
  } catch (error) {
    show(null, error.message);
    said.classList.toggle("error", !mine.signal.aborted);
  }
  going = null;
  busy(false);
}

function busy(is) {
  form.querySelector("[type=submit]").disabled = is;
  byId("stop").hidden = !is;
}

const chosen = () => [...byId("files").files, ...byId("folder").files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));

async function findDropped(entries) {
  dropped = await below(entries, (count) => show(0, `Looking: ${count.toLocaleString()} files`));
  return dropped;
}

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  begin(() => { const files = chosen(); return files.length ? files : dropped; });
});
form?.addEventListener("dragover", () => form.classList.add("over"));
form?.addEventListener("dragleave", () => form.classList.remove("over"));
form?.addEventListener("drop", (event) => {
  form.classList.remove("over");
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  if (entries.length) begin(() => findDropped(entries));
});
byId("stop")?.addEventListener("click", () => going?.abort(new Error("The upload was cancelled.")));
// A file that is dropped beside the form would be shown instead of this page.
for (const type of ["dragover", "drop"]) document.addEventListener(type, (event) => event.preventDefault());
addEventListener("beforeunload", (event) => { if (going) event.preventDefault(); });

const LOOK_MS = 10_000;
const link = (href, text) => element("a", { href }, String(text));

/** A row of the list, as the template has it. */
function row(run) {
  const at = `/${path("runs", run.run)}`;
  const cells = [
    element("span", { className: `badge ${run.state}` }, run.state), run.started === null ? "" : ago(run.started), run.plane ?? "",
    run.model ? link(`/${path("models", run.model)}`, run.model) : "", run.patients, `${run.done} of ${run.files}`,
    link(`${at}/wall`, run.kept), run.drawn, run.refused,
  ];
  return element("tr", { data: { run: run.run, state: run.state } },
    element("th", { scope: "row" }, link(at, run.run)), ...cells.map((cell) => element("td", {}, typeof cell === "number" ? String(cell) : cell)));
}

let listed = "";
/** Looks again while somebody sees it: how far runs are, and which others have started. */
async function look() {
  if (document.hidden) return;
  const runs = await json("runs").catch(() => []);
  if (!runs.length || JSON.stringify(runs) === listed) return;
  listed = JSON.stringify(runs);
  byId("runs").tBodies[0].replaceChildren(...runs.map(row));
}
setInterval(look, LOOK_MS);
document.addEventListener("visibilitychange", look);
