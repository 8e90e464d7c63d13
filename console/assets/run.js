// The page of one run, kept up to date while the run goes on.

import { byId, element } from "./dom.js";

const run = decodeURIComponent(location.pathname.split("/")[2]);
const whole = new Intl.NumberFormat();
const row = (head, ...cells) =>
  element("tr", {}, element("th", { scope: "row" }, head), ...cells.map((cell) => element("td", {}, typeof cell === "number" ? whole.format(cell) : cell)));
const wallOf = (patient) => element("a", { href: `/runs/${encodeURIComponent(run)}/wall?patient=${encodeURIComponent(patient)}` }, patient);

/** Puts rows into a table's body; what is there stays where nothing came. */
function fill(id, list, made) {
  if (list?.length) byId(id).replaceChildren(...list.map(made));
}

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function show(progress) {
  const { state, files, done, kept, drawn, refused } = progress;
  byId("state").textContent = state;
  byId("state").className = `badge ${state}`;
  Object.assign(byId("done"), { max: Math.max(files, 1), value: done });
  byId("numbers").textContent = `${whole.format(done)} of ${whole.format(files)} files, ${whole.format(kept)} slices kept, ${whole.format(drawn)} masks, ${whole.format(refused)} files refused`;
  const { files_per_second: speed, seconds_left: left } = progress;
  byId("speed").textContent = [speed && `${whole.format(Math.round(speed))} files a second`, left && `about ${duration(left)} left`].filter(Boolean).join(", ");
  fill("grid", progress.grid, (one) => row(wallOf(one.patient), one.kept, one.prepared, one.drawn, one.failed));
  fill("jobs", progress.stages, (one) => row(one.stage, one.ended, one.open, one.failed));
  fill("refusals", progress.refusals, (one) => row(one.reason, one.files));
  fill("given-up", progress.given_up, (one) => row(one.job, one.code, one.message));
}

if (byId("state").textContent === "running") {
  const events = new EventSource(`/api/v1/runs/${encodeURIComponent(run)}/events`);
  events.addEventListener("progress", ({ data }) => show(JSON.parse(data)));
  events.addEventListener("done", ({ data }) => {
    events.close();
    show(JSON.parse(data));
  });
}
