// Buttons that call the API and have no script of their own:
// <button data-method="POST" data-path="/api/v1/models/rollback" data-confirm="Go back?" data-then="reload">
// `data-body` is JSON to send; `data-then` is "reload" or a path to go to.

import { send } from "./api.js";
import { element } from "./dom.js";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-method][data-path]");
  if (!button) return;
  event.preventDefault();
  const { method, path, body, confirm: question, then = "reload" } = button.dataset;
  if (question && !confirm(question)) return;
  button.disabled = true;
  try {
    await send(method, path.replace(/^\/api\/v1\//, ""), body ? JSON.parse(body) : undefined);
    if (then === "reload") location.reload();
    else location.assign(then);
  } catch (error) {
    say(button, error.message);
    button.disabled = false;
  }
});

/** Writes what went wrong beside the button. */
function say(button, text) {
  let place = button.parentElement.querySelector(".action-error");
  if (!place) place = button.parentElement.appendChild(element("p", { className: "error action-error", role: "alert" }));
  place.textContent = text;
}
