// The page of all runs: a folder or a zip becomes a run.

import { ApiError, query } from "./api.js";
import { byId } from "./dom.js";
import { zip } from "./zip.js";

const form = byId("delivery");
const said = byId("said");
const sent = byId("sent");

/** Sends a zip and follows its bytes; gives the run. A fetch can't tell how far it is. */
function upload(body, plane) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/v1/runs${query({ plane })}`);
    request.setRequestHeader("Content-Type", "application/zip");
    request.setRequestHeader("X-CSRF", document.querySelector("meta[name=csrf]").content);
    request.responseType = "json";
    request.upload.onprogress = ({ loaded, total }) => show(loaded / total, `Sending: ${Math.round((100 * loaded) / total)} %`);
    request.upload.onload = () => show(1, "Sent. The server unpacks it…");
    request.onerror = () => failed(new Error("The server can't be reached."));
    request.onload = () => request.status < 300 ? done(request.response.run)
      : failed(new ApiError(request.status, request.response ?? { error: `The server answered ${request.status}.` }));
    request.send(body);
  });
}

function show(part, text) {
  sent.hidden = false;
  sent.value = part;
  said.textContent = text;
  said.classList.remove("error");
}

/** Files of one folder or several, or one zip, become a run. */
async function start(files) {
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  try {
    const isZip = files.length === 1 && /\.zip$/i.test(files[0].path);
    const body = isZip ? files[0].file : await zip(files, (part) => show(part, `Reading ${files.length.toLocaleString()} files: ${Math.round(100 * part)} %`));
    const run = await upload(body, byId("plane").value);
    location.assign(`/runs/${encodeURIComponent(run)}`);
  } catch (error) {
    said.textContent = error.message;
    said.classList.add("error");
    sent.hidden = true;
    button.disabled = false;
  }
}

/** All files below what was dropped. */
async function below(entries) {
  const found = [];
  for (const entry of entries) {
    if (entry.isFile) found.push({ path: entry.fullPath.slice(1), file: await new Promise((done, failed) => entry.file(done, failed)) });
    else found.push(...(await below(await children(entry))));
  }
  return found;
}

/** A folder's entries; the browser gives them in parts, the last of which is empty. */
async function children(folder) {
  const reader = folder.createReader();
  const all = [];
  for (;;) {
    const part = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (part.length === 0) return all;
    all.push(...part);
  }
}

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  const files = [...byId("files").files, ...byId("folder").files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
  if (files.length) start(files);
  else said.textContent = "Choose a zip, or drop a folder or a zip here.";
});
form?.addEventListener("dragover", (event) => { event.preventDefault(); form.classList.add("over"); });
form?.addEventListener("dragleave", () => form.classList.remove("over"));
form?.addEventListener("drop", async (event) => {
  event.preventDefault();
  form.classList.remove("over");
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  const files = await below(entries);
  if (files.length) start(files);
});
