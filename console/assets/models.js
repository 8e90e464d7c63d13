// The pages of models: which one runs use, and how a training goes.

import { json, path, query, send } from "./api.js";
import { showCurves } from "./chart.js";
import { byId } from "./dom.js";
import { watch } from "./live.js";
import { duration, fixed } from "./words.js";

const page = JSON.parse(byId("page").textContent);
/** By what people here decide: where another model has become current meanwhile, nothing is done. */
const seen = query({ seen: page.current ?? page.models?.find(({ current }) => current)?.version });

function say(text, isError = false) {
  byId("said").textContent = text;
  byId("said").classList.toggle("error", isError);
}

/** Asks first where there is a question, then changes something and loads the page again. */
async function change(button, question, at, body) {
  if (question && !confirm(question)) return;
  button.disabled = true;
  try {
    await send("POST", at, body);
    location.reload();
  } catch (error) {
    say(error.message, true);
    button.disabled = false;
  }
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-promote]");
  const draw = target.closest("[data-draw]");
  if (draw) {
    draw.disabled = true;
    send("POST", path("models", draw.dataset.draw, "draw")).then(
      () => say("The masks are being drawn: compare in a while."),
      (error) => { say(error.message, true); draw.disabled = false; },
    );
  }
  if (button) change(button, `Make ${button.dataset.promote} the model that runs use?`, `${path("models", button.dataset.promote, "promote")}${seen}`);
});
byId("rollback")?.addEventListener("click", ({ target }) => change(target, `Go back to ${page.before}?`, `models/rollback${seen}`));

byId("retrain")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const epochs = Number(byId("epochs").value) || null;
  change(event.target.querySelector("button"), null, "trainings", { plan: byId("plan").value, epochs });
});

/** Shows how far the newest training is. */
function show({ state, done, planned, epochs, waits, stands_still: why, failure, seconds_left: left, tried_again: again }) {
  byId("state").textContent = state;
  byId("state").className = `badge ${state}`;
  byId("waits").hidden = !waits;
  byId("epochs-done").value = done;
  const last = epochs.at(-1);
  byId("numbers").textContent = `${done} of ${planned} epochs${last ? `: loss ${fixed(last.loss, 4)}, IoU ${fixed(last.iou, 3)}` : ""}`;
  byId("left").textContent = [left && `about ${duration(left)} left`, again && `tried again: ${again}`].filter(Boolean).join(", ");
  const trouble = failure ?? why;
  byId("failure").hidden = !trouble;
  byId("failure").textContent = trouble ?? "";
  showCurves(byId("curves"), epochs, planned);
}

const training = byId("training");
if (training) {
  const at = path("trainings", training.dataset.training);
  const isOver = ["done", "cancelled"].includes(training.dataset.state);
  byId("cancel")?.addEventListener("click", ({ target }) => change(target, "Cancel the training? Retrain now goes on with it.", `${at}/cancel`));
  if (isOver) {
    json(at).then(show, (error) => say(error.message, true));
  } else {
    // At the end there may be a new model, which stands elsewhere on the page.
    watch(at, { progress: show, done: () => location.reload(), lost: (isLost) => (byId("lost").hidden = !isLost) });
  }
}
if (page.training) showCurves(byId("curves"), page.training.epochs, page.training.planned);
