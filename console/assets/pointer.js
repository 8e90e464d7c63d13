// Mouse, touch pen and fingers on the canvas. The main button (or a pen's tip, or one finger) works with the tool in hand; the
// right button drags the contrast; the middle button, Space, or two fingers move the picture; the wheel zooms at the cursor. A
// pen's other end and Alt are the black pen. Once a pen has been seen, fingers only move: a palm draws nothing, and what lands
// beside a pen or a mouse at work is left out.

const MIDDLE = 1;
const RIGHT = 2;
const ERASER = 32;

/**
 * `act` has: down(at, {black}), drag(at), up(), takeBack() (what the last down() began), hover(at | null), contrast(dx, dy),
 * mode() -> "tool"|"move"|"contrast".
 */
export function listen(stage, act) {
  const { canvas } = stage;
  const fingers = new Map();
  let [doing, by, last, penSeen] = [null, null, [0, 0], false];

  const place = ({ clientX, clientY }) => [clientX, clientY];
  const isPalm = ({ pointerType }) => pointerType === "touch" && penSeen;
  const meant = (event) => {
    if (fingers.size > 1 || isPalm(event) || event.button === MIDDLE) return "move";
    return event.button === RIGHT ? "contrast" : act.mode();
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (!stage.slice) return;
    event.preventDefault();
    penSeen ||= event.pointerType === "pen";
    // A pen takes over from the palm that came before it; anything else waits until what is at work is done.
    if (doing && by.type !== "touch") return;
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    if (event.pointerType === "touch") fingers.set(event.pointerId, place(event));
    else fingers.clear();
    if (doing === "tool") act.takeBack();
    doing = meant(event);
    by = { id: event.pointerId, type: event.pointerType };
    last = place(event);
    if (doing === "tool") act.down(stage.at(event), { black: event.altKey || Boolean(event.buttons & ERASER) });
  });

  canvas.addEventListener("pointermove", (event) => {
    if (!stage.slice) return;
    if (doing && by.id !== event.pointerId && !fingers.has(event.pointerId)) return;
    if (!isPalm(event)) act.hover(stage.at(event));
    if (fingers.size > 1) return pinch(stage, fingers, event);
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, place(event));
    if (!doing || by.id !== event.pointerId) return;
    const [dx, dy] = [event.clientX - last[0], event.clientY - last[1]];
    last = place(event);
    if (doing === "move") { stage.view.pan(dx, dy); stage.changed(); }
    if (doing === "contrast") act.contrast(dx, -dy);
    // Between two frames a pen moves on; all its positions count.
    const passed = event.getCoalescedEvents?.() ?? [];
    if (doing === "tool") for (const one of passed.length ? passed : [event]) act.drag(stage.at(one));
  });

  const end = (event) => {
    const wasFinger = fingers.delete(event.pointerId);
    if (!doing || (by.id !== event.pointerId && !wasFinger)) return;
    // A capture that got lost (another window came to the front) ends a stroke like letting go.
    if (doing === "tool") (event.type === "pointercancel" ? act.takeBack : act.up)();
    doing = null;
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("lostpointercapture", end);
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
