// The picture on the screen: the slice through its window, the mask, the proposal, the preview of the level, and what the tool in
// hand draws. Everything that moves is drawn from here, once per frame.

import { border, tint } from "./overlay.js";
import { scaleBar, View } from "./view.js";
import { paint } from "./window.js";

const MASK = [255, 159, 28];
const PREVIEW = [232, 93, 212];
const PROPOSAL = "#37d5e8";

export class Stage {
  #context;
  #layers = {};
  #frame = 0;
  #scale = 1;
  #size = [0, 0];
  #proposalBorder = [];

  constructor(canvas) {
    this.canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.options = { mask: true, outline: false, proposal: false, preview: false, opacity: 0.45, inverted: false, level: 0 };
    this.drawTool = () => {};
    this.onDrawn = () => {};
    new ResizeObserver(() => this.#resized()).observe(canvas);
  }

  /** Shows a slice: {rows, columns, values, bright, spacing, mask, proposal}. */
  show(slice, window) {
    this.slice = slice;
    this.window = window;
    const aspect = slice.spacing ? slice.spacing[0] / slice.spacing[1] : 1;
    const before = this.view;
    this.view = new View({ rows: slice.rows, columns: slice.columns, aspect });
    this.fit();
    // The same place stays in sight from slice to slice of one grid.
    if (before && before.rows === slice.rows && before.columns === slice.columns && before.aspect === aspect) {
      this.view.follow(before);
    }
    for (const name of ["picture", "mask", "preview"]) this.#layers[name] = layer(slice, this.#layers[name]);
    this.setProposal(slice.proposal);
    this.changed("picture", "mask", "preview");
  }

  setProposal(proposal) {
    this.#proposalBorder = proposal ? border(proposal) : [];
    this.changed();
  }

  fit() {
    this.view?.fit(this.canvas.clientWidth, this.canvas.clientHeight);
    this.changed();
  }

  /** Says what has to be made again: picture, mask, preview; nothing is only drawn again. */
  changed(...layers) {
    for (const name of layers) if (this.#layers[name]) this.#layers[name].stale = true;
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  /** A pointer's position in the picture. */
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return this.view.toPicture([event.clientX - box.left, event.clientY - box.top]);
  }

  #resized() {
    this.#sharpen();
    const size = [this.canvas.clientWidth, this.canvas.clientHeight];
    this.view?.resized(size, this.#size);
    this.#size = size;
    this.changed();
  }

  /** Gives the canvas a pixel for each of the screen's, of which a window on another screen has more or less to a CSS pixel. */
  #sharpen() {
    this.#scale = devicePixelRatio;
    this.canvas.width = Math.round(this.canvas.clientWidth * this.#scale);
    this.canvas.height = Math.round(this.canvas.clientHeight * this.#scale);
  }

  #draw() {
    this.#frame = 0;
    if (!this.slice) return;
    const { options, view } = this;
    const context = this.#context;
    if (this.#scale !== devicePixelRatio) this.#sharpen();
    const scale = this.#scale;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.#place(context, scale);
    context.imageSmoothingEnabled = view.zoom < 2;
    context.drawImage(this.#fresh("picture", (rgba) => paint(rgba, this.slice.values, this.window, options.inverted)), 0, 0);
    context.imageSmoothingEnabled = false;
    this.#drawPreview(context);
    if (options.mask) this.#drawMask(context);
    if (options.proposal) this.#trace(context, this.#proposalBorder, PROPOSAL, [4, 3]);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    this.drawTool(context);
    this.onDrawn();
  }

  /** From now on the context's units are the picture's pixels. */
  #place(context, scale) {
    const { zoom, aspect, left, top } = this.view;
    context.setTransform(scale * zoom, 0, 0, scale * zoom * aspect, scale * left, scale * top);
  }

  #drawPreview(context) {
    if (!this.options.preview) return;
    const { bright } = this.slice;
    const inside = (index) => bright[index] >= this.options.level;
    context.drawImage(this.#fresh("preview", (rgba) => tint(rgba, bright.length, inside, PREVIEW, 150)), 0, 0);
  }

  #drawMask(context) {
    const { mask } = this.slice;
    const inside = (index) => mask.data[index] !== 0;
    const stale = this.#layers.mask.stale;
    const tinted = this.#fresh("mask", (rgba) => tint(rgba, mask.data.length, inside, MASK, 255));
    if (stale) this.maskBorder = border(mask);
    context.globalAlpha = this.options.outline ? 0 : this.options.opacity;
    context.drawImage(tinted, 0, 0);
    context.globalAlpha = 1;
    this.#trace(context, this.maskBorder, `rgb(${MASK})`, []);
  }

  /** Draws a border, 1.5 screen pixels wide whatever the zoom. */
  #trace(context, pieces, colour, dash) {
    context.beginPath();
    for (const [x0, y0, x1, y1] of pieces) {
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
    }
    context.save();
    const scale = this.#scale;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    Object.assign(context, { strokeStyle: colour, lineWidth: 1.5 });
    context.setLineDash(dash);
    context.stroke();
    context.restore();
  }

  #fresh(name, fill) {
    const made = this.#layers[name];
    if (made.stale) {
      fill(made.image.data);
      made.canvas.getContext("2d").putImageData(made.image, 0, 0);
      made.stale = false;
    }
    return made.canvas;
  }

  /** The scale bar: a length in units of the picture (mm, or pixels) and on the screen. */
  scale() {
    const spacing = this.slice.spacing?.[1];
    return { ...scaleBar(this.view.zoom / (spacing ?? 1), 140), unit: spacing ? "mm" : "px" };
  }
}

/** A layer of a slice's size: the one before, where that has it. */
function layer({ rows, columns }, before) {
  if (before?.image.width === columns && before.image.height === rows) return before;
  const canvas = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
  return { canvas, image: new ImageData(columns, rows), stale: true };
}
