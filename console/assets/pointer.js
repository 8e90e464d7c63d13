// Mouse, touch pen and fingers on the canvas. The main button (or a pen's tip, or one finger) works with the tool in hand; the
// right button drags the contrast; the middle button, Space, or two fingers move the picture; the wheel zooms at the cursor. A
// pen's other end and Alt are the black pen. Once a pen has been seen, fingers only move: a palm draws nothing.

const RIGHT = 2;
const ERASER = 32;

/** `act` has: down(at, {black}), drag(at), up(), cancel(), hover(at | null), contrast(dx, dy), mode() -> "tool"|"move"|"contrast". */
export function listen(stage, act) {
  const { canvas } = stage;
  const fingers = new Map();
  let [doing, last, penSeen] = [null, [0, 0], false];

  const begin = (event) => {
    const isFinger = event.pointerType === "touch";
    if (isFinger) fingers.set(event.pointerId, [event.clientX, event.clientY]);
    penSeen ||= event.pointerType === "pen";
    if (fingers.size > 1 || (isFinger && penSeen)) return "move";
    if (event.button === 1) return "move";
    if (event.button === RIGHT) return "contrast";
    return act.mode();
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (!stage.slice) return;
    event.preventDefault();
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    const next = begin(event);
    if (doing === "tool" && next === "move") act.cancel();
    doing = next;
    last = [event.clientX, event.clientY];
    if (doing === "tool") act.down(stage.at(event), { black: event.altKey || Boolean(event.buttons & ERASER) });
  });

  canvas.addEventListener("pointermove", (event) => {
    if (!stage.slice) return;
    act.hover(stage.at(event));
    if (fingers.size > 1) return pinch(stage, fingers, event);
    if (!doing) return;
    const [dx, dy] = [event.clientX - last[0], event.clientY - last[1]];
    last = [event.clientX, event.clientY];
    if (doing === "move") { stage.view.pan(dx, dy); stage.changed(); }
    if (doing === "contrast") act.contrast(dx, -dy);
    // Between two frames a pen moves on; all its positions count.
    const passed = event.getCoalescedEvents?.() ?? [];
    if (doing === "tool") for (const one of passed.length ? passed : [event]) act.drag(stage.at(one));
  });

  const end = (event) => {
    fingers.delete(event.pointerId);
    if (doing === "tool") (event.type === "pointerup" ? act.up : act.cancel)();
    doing = null;
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("pointerleave", () => act.hover(null));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    zoom(stage, event, Math.exp(-event.deltaY * lines * 0.002));
    act.hover(stage.at(event));
  }, { passive: false });
}

function zoom(stage, { clientX, clientY }, factor) {
  const box = stage.canvas.getBoundingClientRect();
  stage.view?.zoomAt([clientX - box.left, clientY - box.top], factor);
  stage.changed();
}

/** Two fingers: what is between them stays between them. */
function pinch(stage, fingers, event) {
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return { middle: [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2], distance: Math.hypot(a[0] - b[0], a[1] - b[1]) };
  };
  if (!fingers.has(event.pointerId)) return;
  const before = spread();
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
  const after = spread();
  stage.view.pan(after.middle[0] - before.middle[0], after.middle[1] - before.middle[1]);
  zoom(stage, { clientX: after.middle[0], clientY: after.middle[1] }, after.distance / Math.max(before.distance, 1));
}
