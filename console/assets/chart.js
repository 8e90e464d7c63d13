// Small charts of a training: a few curves over its epochs.

import { element } from "./dom.js";
import { fixed } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [300, 100];

/** The corners of a curve in a box of `width` x `height`, one for each value; the highest value touches the upper edge. */
export function corners(values, { count, low, high, width = WIDTH, height = HEIGHT }) {
  const step = width / Math.max(count - 1, 1);
  const scale = height / (high - low || 1);
  return values.map((value, i) => [i * step, height - (Math.min(Math.max(value, low), high) - low) * scale]
    .map((at) => Number(at.toFixed(1)).toString()).join(",")).join(" ");
}

/** The curves of a training by epoch: what each chart shows, and between which values. */
export function series(epochs) {
  const of = (name) => epochs.map((epoch) => epoch[name]);
  const judged = epochs.every((epoch) => epoch.held_out) ? "held-out" : "training pictures";
  const losses = [{ name: "training", values: of("loss") }, { name: judged, values: of("judged_loss") }];
  return [
    { title: "Loss", low: 0, high: losses.flatMap(({ values }) => values).reduce((most, value) => Math.max(most, value), 1e-6), curves: losses },
    { title: `Overlap, ${judged}`, low: 0, high: 1, curves: [{ name: "IoU", values: of("iou") }, { name: "Dice", values: of("dice") }] },
  ];
}

const drawn = (tag, attributes) => {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
};

/** A figure with a chart; `count` epochs fill its width. */
function figure({ title, low, high, curves }, count) {
  const last = curves.map(({ name, values }) => `${name} ${fixed(values.at(-1), 3)}`);
  const svg = drawn("svg", { class: "curve", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}: ${last.join(", ")}` });
  curves.forEach(({ values }, i) => {
    const shown = values.length > 1 ? values : [values[0], values[0]];
    svg.append(drawn("polyline", { class: i ? "second" : "first", points: corners(shown, { count: Math.max(count, 2), low, high }) }));
  });
  const key = curves.map((_, i) => element("span", { className: `key ${i ? "second" : "first"}` }, last[i]));
  const number = (value) => Number(value.toPrecision(2)).toString();
  return element("figure", { className: "chart" },
    element("figcaption", {}, element("strong", {}, title), ...key),
    element("div", { className: "plot" }, element("span", { className: "high" }, number(high)), element("span", { className: "low" }, number(low)), svg));
}

/** Shows the curves of a training in an element. */
export function showCurves(place, epochs, planned) {
  place.replaceChildren(...(epochs.length ? series(epochs).map((one) => figure(one, planned)) : []));
}
