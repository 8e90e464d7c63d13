// Which tiles of a long wall are in sight: only those become elements, so that a wall of any length scrolls like a short one.

/** The caption below each picture and the space around a tile, in CSS pixels. */
const BESIDE = 34;

/** The places of tiles that are about `wanted` wide on a wall of this width. */
export function layout(count, width, wanted) {
  const columns = Math.max(Math.floor(width / wanted), 1);
  const tile = { width: width / columns, height: Math.round((width / columns) * 0.72) + BESIDE };
  return { columns, tile, rows: Math.ceil(count / columns), height: Math.ceil(count / columns) * tile.height };
}

/** The first tile in sight and the one after the last, with `spare` rows more on both sides. */
export function inSight({ columns, tile, rows }, count, top, height, spare = 2) {
  const first = Math.max(Math.floor(top / tile.height) - spare, 0);
  const last = Math.min(Math.ceil((top + height) / tile.height) + spare, rows);
  return [first * columns, Math.min(last * columns, count)];
}

export const placeOf = ({ columns, tile }, index) =>
  ({ left: (index % columns) * tile.width, top: Math.floor(index / columns) * tile.height });

/** Where a key leads from a tile; null if it is none of ours. */
export function moved({ columns }, count, index, key, page) {
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, PageDown: page * columns, PageUp: -page * columns };
  const goal = { Home: 0, End: count - 1 }[key] ?? (steps[key] === undefined ? null : index + steps[key]);
  return goal === null ? null : Math.min(Math.max(goal, 0), count - 1);
}
