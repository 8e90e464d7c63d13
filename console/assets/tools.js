// The tools that change a mask. Each has some of: down, drag, up, hover (with positions in the picture), key(name) -> taken,
// cancel(), takeBack() (what the last down began, where that is less than all), draw(context). `desk` is what they work on: {mask, values, level, size, colour, stage, begin(), end(name)}, where
// between begin() and end() the mask may be drawn on and `restore()` takes it back to what it was.

import { circle, polygon, rectangle } from "./raster.js";
import { brightRegion, component } from "./region.js";
import { polyline, stroke } from "./stroke.js";
import { lengthText } from "./view.js";

/** The pen; with `gated` it paints only what is as bright as the level. */
function pen(desk, name, gated) {
  let last = null;
  const to = (at) => {
    const { values, level } = desk;
    const only = gated && desk.colour ? (index) => values[index] >= level : undefined;
    stroke(desk.mask, last ?? at, at, desk.size, desk.colour, only);
    last = at;
    desk.drawn();
  };
  return {
    hasSize: true,
    down(at) { desk.begin(); to(at); },
    // A stroke that was called off meanwhile isn't gone on with.
    drag(at) { if (last) to(at); },
    up() { if (last) { last = null; desk.end(name); } },
    cancel() { if (last) { last = null; desk.restore(); desk.end(name); } },
  };
}

/** A shape between the place where the pointer went down and where it goes up. */
function dragged(desk, name, raster) {
  let from = null;
  const to = (at) => { desk.restore(); raster(desk.mask, from, at, desk.colour); desk.drawn(); };
  return {
    down(at) { from = at; desk.begin(); to(at); },
    drag(at) { if (from) to(at); },
    up() { if (from) { from = null; desk.end(name); } },
    cancel() { if (from) { from = null; desk.restore(); desk.end(name); } },
  };
}

/** A shape of many points: clicks set them; Enter, a double click or a click on the first point ends it. */
function clicked(desk, name, least, raster, hasSize) {
  let points = [];
  const show = (...more) => { desk.restore(); raster(desk.mask, [...points, ...more], desk.colour); desk.drawn(); };
  const cancel = () => { if (points.length) { points = []; desk.restore(); desk.end(name); } };
  const takeBack = () => {
    if (points.length <= 1) return cancel();
    points.pop();
    show();
  };
  const finish = () => {
    if (points.length < least) return cancel();
    show();
    points = [];
    desk.end(name);
  };
  const near = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]) * desk.stage.view.zoom < 7;
  return {
    hasSize,
    down(at) {
      if (points.length >= least && (near(at, points[0]) || near(at, points.at(-1)))) return finish();
      if (points.length === 0) desk.begin();
      points.push(at);
      show();
    },
    hover(at) { if (points.length) show(at); },
    cancel,
    takeBack,
    key(key) {
      if (!points.length) return false;
      if (key === "Enter") finish();
      else if (key === "Escape") cancel();
      else if (key === "Backspace" || key === "Control+z") takeBack();
      else return false;
      return true;
    },
    draw(context) { dots(context, points.map((point) => desk.stage.view.toScreen(point))); },
  };
}

function dots(context, points) {
  for (const [i, [x, y]] of points.entries()) {
    context.beginPath();
    context.arc(x, y, i === 0 ? 5 : 3, 0, 2 * Math.PI);
    Object.assign(context, { fillStyle: "#fff", strokeStyle: "#000", lineWidth: 1 });
    context.fill();
    context.stroke();
  }
}

/** A tool that changes the connected pixels under a click. */
function click(desk, name, found, value) {
  return {
    down([x, y]) {
      desk.begin();
      for (const index of found(Math.floor(y), Math.floor(x))) desk.mask.data[index] = value();
      desk.drawn();
      desk.end(name);
    },
  };
}

function ruler(desk) {
  let line = null;
  const clear = () => { const was = line; line = null; desk.stage.changed(); return Boolean(was); };
  return {
    down(at) { line = [at, at]; },
    drag(at) { if (line) line[1] = at; desk.stage.changed(); },
    cancel: clear,
    key: (key) => key === "Escape" && clear(),
    draw(context) {
      if (!line) return;
      const [a, b] = line.map((point) => desk.stage.view.toScreen(point));
      for (const [colour, width] of [["#000", 4], ["#fff", 1.5]]) {
        context.beginPath();
        context.moveTo(...a);
        context.lineTo(...b);
        Object.assign(context, { strokeStyle: colour, lineWidth: width });
        context.stroke();
      }
      dots(context, [b, a]);
      label(context, lengthText(line[0], line[1], desk.spacing), b);
    },
  };
}

function label(context, text, [x, y]) {
  context.font = "600 14px system-ui, sans-serif";
  Object.assign(context, { strokeStyle: "#000", lineWidth: 4, fillStyle: "#fff", lineJoin: "round" });
  context.strokeText(text, x + 10, y - 8);
  context.fillText(text, x + 10, y - 8);
}

/** All tools by name. Those without `edits` work for readers, too. */
export function tools(desk) {
  const edit = (tool) => ({ ...tool, edits: true });
  return {
    pen: edit(pen(desk, "stroke", false)),
    threshold: edit(pen(desk, "threshold stroke", true)),
    region: edit(click(desk, "region", (row, column) => brightRegion(desk.mask, desk.values, desk.level, row, column), () => desk.colour)),
    polygon: edit(clicked(desk, "polygon", 3, polygon, false)),
    circle: edit(dragged(desk, "circle", circle)),
    rectangle: edit(dragged(desk, "rectangle", rectangle)),
    centreline: edit(clicked(desk, "centreline", 2, (mask, points, colour) => polyline(mask, points, desk.size, colour), true)),
    component: edit(click(desk, "erased part", (row, column) => component(desk.mask, row, column), () => 0)),
    move: {},
    contrast: {},
    ruler: ruler(desk),
  };
}
