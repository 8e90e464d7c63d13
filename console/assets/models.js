// The pages of models: which one runs use.

import { path, send } from "./api.js";
import { byId } from "./dom.js";

async function change(button, question, at) {
  if (!confirm(question)) return;
  button.disabled = true;
  try {
    await send("POST", at);
    location.reload();
  } catch (error) {
    byId("said").textContent = error.message;
    byId("said").classList.add("error");
    button.disabled = false;
  }
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-promote]");
  const draw = target.closest("[data-draw]");
  if (draw) {
    draw.disabled = true;
    send("POST", path("models", draw.dataset.draw, "draw")).then(
      () => { byId("said").textContent = "The masks are being drawn: compare in a while."; },
      (error) => { byId("said").textContent = error.message; draw.disabled = false; },
    );
  }
  if (button) change(button, `Make ${button.dataset.promote} the model that runs use?`, path("models", button.dataset.promote, "promote"));
});
byId("rollback")?.addEventListener("click", ({ target }) => change(target, "Go back to the model before?", "models/rollback"));
