// The page of one run, kept up to date while the run goes on.

import { call, path, query } from "./api.js";
import { byId, element } from "./dom.js";
import { listen as listenToImport } from "./import.js";
import { watch } from "./live.js";
import { ago, duration, fixed } from "./words.js";

const run = decodeURIComponent(location.pathname.split("/")[2]);
const whole = new Intl.NumberFormat();
const row = (head, ...cells) =>
  element("tr", {}, element("th", { scope: "row" }, head), ...cells.map((cell) => element("td", {}, typeof cell === "number" ? whole.format(cell) : cell)));
const wallOf = (patient) => element("a", { href: `/runs/${encodeURIComponent(run)}/wall?patient=${encodeURIComponent(patient)}` }, patient);

const shown = {};

/** Puts rows into a table's body, "None." where there are none; one that is the same keeps its focus and what is marked in it. */
function fill(id, list, made) {
  const [body, text] = [byId(id), JSON.stringify(list)];
  if (shown[id] === text) return;
  shown[id] = text;
  const columns = body.parentElement.tHead.rows[0].cells.length;
  const none = () => element("tr", {}, element("td", { colSpan: columns, className: "muted" }, "None."));
  body.replaceChildren(...(list.length ? list.map(made) : [none()]));
}

function show(progress) {
  const { state, files, done, kept, drawn, refused } = progress;
  byId("state").textContent = state;
  byId("state").className = `badge ${state}`;
  if (progress.started) byId("started").textContent = `started ${ago(progress.started)}`;
  Object.assign(byId("done"), { max: Math.max(progress.steps, 1), value: isOver(state) ? progress.steps : progress.steps_done });
  byId("numbers").textContent = `${whole.format(done)} of ${whole.format(files)} files, ${whole.format(kept)} slices kept, ${whole.format(drawn)} masks, ${whole.format(refused)} files refused`;
  const { files_per_second: files_speed, masks_per_second: masks_speed, seconds_left: left, tried_again: again } = progress;
  byId("speed").textContent = [files_speed && `${fixed(files_speed, 0)} files a second`, masks_speed && `${fixed(masks_speed, 1)} masks a second`, left && `about ${duration(left)} left`, again && `jobs tried again: ${again}`].filter(Boolean).join(", ");
  showControls(progress);
  showUploaded(progress);
  fill("grid", progress.grid, (one) => row(wallOf(one.patient), one.kept, one.prepared, one.drawn, one.failed));
  fill("jobs", progress.stages, (one) => row(one.stage, one.ended, one.open, one.failed));
  fill("refusals", progress.refusals, (one) => row(element("span", { title: one.reason }, one.words), one.files));
  fill("given-up", progress.given_up, (one) => row(one.job, one.code, one.message));
}

const isOver = (state) => state === "done" || state === "cancelled";

/** The files that lie in a cluster's store, once nothing needs them any more. */
function showUploaded({ state, uploaded }) {
  const section = byId("uploaded");
  if (!section || !uploaded) return;
  section.hidden = !isOver(state);
  byId("remove-uploaded").hidden = Boolean(uploaded.removed);
  byId("uploaded-is").textContent = uploaded.removed
    ? `Removed ${ago(uploaded.removed)}.`
    : `${whole.format(uploaded.files)} files lie in the store as they were delivered, with names of patients inside.`;
}

/** What can be done about the run as it is. */
function showControls({ state, waits, stands_still: why, can_replay: canReplay, given_up: givenUp }) {
  const hide = (id, hidden) => byId(id) && (byId(id).hidden = hidden);
  hide("cancel", isOver(state));
  hide("waits", !waits);
  hide("stands-still", !why);
  byId("stands-still-why").textContent = why ?? "";
  hide("given-up-actions", !(canReplay && givenUp.length));
}

let endWatch = () => {};
function follow() {
  endWatch();
  endWatch = watch(path("runs", run), { progress: show, done: show, lost: (isLost) => (byId("lost").hidden = !isLost) });
}

/** Does something with the run and says what came of it. */
async function act(button, name, words, method = "POST") {
  button.disabled = true;
  const said = byId("said");
  said.classList.remove("error");
  try {
    // Removing the files of a large delivery takes minutes.
    const answer = await (await call(path("runs", run, name), { method, patience: Infinity })).json();
    said.textContent = words(answer);
    follow();
  } catch (error) {
    said.textContent = error.message;
    said.classList.add("error");
  }
  button.disabled = false;
}

const jobs = (count) => (count === 1 ? "1 job" : `${count} jobs`);
document.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (button?.id === "cancel" && confirm("Cancel the run? What is done stays.")) act(button, "cancel", () => "The run is cancelled.");
  if (button?.id === "remove-uploaded" && confirm("Remove the files as they were delivered? Slices, masks and tables stay. To do the run anew, the files have to be uploaded again.")) {
    act(button, "uploaded", ({ files }) => `${whole.format(files)} files are removed.`, "DELETE");
  }
  if (button && "replay" in button.dataset) act(button, "replay", ({ jobs: count }) => `${count ? `${jobs(count)} are done again.` : "It goes on."}`);
  if (button && "drop" in button.dataset && confirm("Leave these jobs failed for good?")) {
    act(button, "drop", ({ jobs: count }) => `${jobs(count)} stay failed; what was kept for them is deleted.`);
  }
});

byId("whose")?.addEventListener("change", ({ target }) => {
  for (const what of ["masks", "labelme"]) byId(`${what}-out`).href = `/api/v1/${path("runs", run, `${what}.zip`)}${query({ patient: target.value })}`;
});
listenToImport(run);
if (!isOver(byId("state").textContent)) follow();
