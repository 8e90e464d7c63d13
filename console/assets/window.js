// From values to greys: the LINEAR window of DICOM PS3.3 C.11.2.1.2.1, as shared/imaging/src/window.rs has it.

/** The grey, 0 to 255, of a value; not-a-number is black. */
export function grey(value, { centre, width }) {
  const span = Math.max(width, 1) - 1;
  const x = value - (centre - 0.5);
  if (!(x > -span / 2)) return 0;
  return x > span / 2 ? 255 : Math.round((x / span + 0.5) * 255);
}

/** Fills the RGBA bytes of a picture with the greys of the values. */
export function paint(rgba, values, window, inverted) {
  const words = new Uint32Array(rgba.buffer, rgba.byteOffset, values.length);
  const flip = inverted ? 255 : 0;
  for (let i = 0; i < values.length; i++) words[i] = 0xff000000 | ((grey(values[i], window) ^ flip) * 0x010101);
}

/** The window after a drag: to the right is wider, up is brighter. A drag of 500 screen pixels is the whole range of values. */
export function dragged({ centre, width }, dx, dy, range) {
  const step = range / 500;
  return { centre: centre + dy * step, width: Math.max(width + dx * step, 1) };
}
