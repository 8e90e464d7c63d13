// Window, inversion, layers, and what is written over the picture.

import { byId, element } from "./dom.js";
import { dragged } from "./window.js";

/** The layers that can be switched, by the id of their box. */
const LAYERS = { invert: "inverted", "show-mask": "mask", outline: "outline", "show-proposal": "proposal", preview: "preview" };

export class ViewControls {
  moving = false;
  #presets = [];
  #chosen = null;

  constructor(stage, desk) {
    this.stage = stage;
    this.desk = desk;
    for (const id of Object.keys(LAYERS)) byId(id).addEventListener("change", ({ target }) => this.check(id, target.checked));
    for (const id of ["centre", "width"]) {
      byId(id).addEventListener("change", () => this.setWindow({ centre: Number(byId("centre").value), width: Math.max(Number(byId("width").value), 1) }));
    }
    for (const id of ["centre", "width"]) {
      byId(id).addEventListener("keydown", ({ key }) => { if (key === "Enter" || key === "Escape") stage.canvas.focus(); });
    }
    byId("opacity").addEventListener("input", ({ target }) => this.#setOpacity(target.value));
    stage.onDrawn = () => this.#showScale();
    addEventListener("keyup", (event) => { if (event.key === " ") this.moving = false; });
    addEventListener("blur", () => (this.moving = false));
  }

  /** Shows a slice; the window stays the one that was chosen, else it is the slice's own. */
  open(slice) {
    this.#presets = slice.windows;
    const chosen = this.#chosen ?? slice.windows[0];
    const names = slice.windows.map(({ name }, i) =>
      element("button", { type: "button", title: `${name} (${i + 1})`, onclick: () => this.usePreset(i), aria: { keyshortcuts: String(i + 1) } }, name));
    byId("presets").replaceChildren(...names);
    this.stage.options.inverted = slice.inverted !== byId("invert").checked;
    this.stage.show(slice, chosen);
    this.#showWindow(chosen);
  }

  usePreset(i) {
    if (!this.#presets[i]) return;
    this.setWindow(this.#presets[i]);
    // The slice's own window means: of each slice its own.
    if (i === 0) this.#chosen = null;
  }

  setWindow({ centre, width, name }) {
    this.#chosen = { centre, width, name };
    this.stage.window = this.#chosen;
    this.#showWindow(this.#chosen);
    this.stage.changed("picture");
  }

  dragContrast(dx, dy) {
    const { minimum, maximum } = this.stage.slice;
    // To pull up is to make brighter, which is a lower centre.
    this.setWindow(dragged(this.stage.window, dx, -dy, Math.max(maximum - minimum, 1)));
  }

  /** Switches a layer; without a value to the other state. */
  check(id, value = !byId(id).checked) {
    byId(id).checked = value;
    const inverted = id === "invert" && this.stage.slice?.inverted;
    this.stage.options[LAYERS[id]] = inverted ? !value : value;
    this.stage.changed(...(id === "invert" ? ["picture"] : id === "preview" ? ["preview"] : []));
  }

  zoom(factor) {
    const { canvas, view } = this.stage;
    view?.zoomAt([canvas.clientWidth / 2, canvas.clientHeight / 2], factor);
    this.stage.changed();
  }

  showValue(at) {
    const { slice } = this.stage;
    const [column, row] = at ? at.map(Math.floor) : [-1, -1];
    const inside = slice && row >= 0 && row < slice.rows && column >= 0 && column < slice.columns;
    byId("hud-value").textContent = inside ? `row ${row}, column ${column}: ${Math.round(slice.values[row * slice.columns + column])}` : "";
  }

  #setOpacity(percent) {
    this.stage.options.opacity = percent / 100;
    byId("opacity-value").textContent = `${percent} %`;
    this.stage.changed();
  }

  #showWindow({ centre, width }) {
    byId("centre").value = Math.round(centre);
    byId("width").value = Math.round(width);
    byId("hud-window").textContent = `C ${Math.round(centre)} · W ${Math.round(width)}`;
    [...byId("presets").children].forEach((button, i) => {
      const preset = this.#presets[i];
      button.setAttribute("aria-pressed", String(preset.centre === centre && preset.width === width));
    });
  }

  #showScale() {
    const { units, pixels, unit } = this.stage.scale();
    const bar = element("div", { className: "bar" });
    bar.style.width = `${pixels}px`;
    byId("hud-scale").replaceChildren(bar, `${units} ${unit}`);
  }
}
