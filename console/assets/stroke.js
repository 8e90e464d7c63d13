// What a round pen touches. Positions are [x, y] in pixels with the picture's upper left corner at [0, 0], so that pixel (row 3,
// column 5) reaches from [5, 3] to [6, 4].

/**
 * Draws a straight stroke of a round pen: every pixel whose centre the pen's disc passes over, and always those under its ends.
 * `only(index)` may keep pixels out; `value` is 1 (electrode) or 0.
 */
export function stroke(mask, from, to, diameter, value, only = () => true) {
  const radius = diameter / 2;
  const set = (row, column) => {
    const index = row * mask.columns + column;
    if (only(index)) mask.data[index] = value;
  };
  const [top, bottom] = reach(from[1], to[1], radius, mask.rows);
  const [left, right] = reach(from[0], to[0], radius, mask.columns);
  for (let row = top; row <= bottom; row++) {
    for (let column = left; column <= right; column++) {
      if (distanceSquared([column + 0.5, row + 0.5], from, to) <= radius * radius) set(row, column);
    }
  }
  for (const [x, y] of [from, to]) {
    const [row, column] = [Math.floor(y), Math.floor(x)];
    if (row >= 0 && row < mask.rows && column >= 0 && column < mask.columns) set(row, column);
  }
}

/** Draws a centreline with a width: strokes from point to point. */
export function polyline(mask, points, width, value) {
  points.forEach((point, i) => stroke(mask, points[Math.max(i - 1, 0)], point, width, value));
}

/** The first and the last row (or column) that a pen may touch. */
function reach(a, b, radius, size) {
  const first = Math.floor(Math.min(a, b) - radius);
  const last = Math.floor(Math.max(a, b) + radius);
  return [Math.max(first, 0), Math.min(last, size - 1)];
}

/** The squared distance of a point from the piece of a line between two points. */
function distanceSquared([x, y], [ax, ay], [bx, by]) {
  const [dx, dy] = [bx - ax, by - ay];
  const length = dx * dx + dy * dy;
  const part = length === 0 ? 0 : Math.min(Math.max(((x - ax) * dx + (y - ay) * dy) / length, 0), 1);
  return (x - ax - part * dx) ** 2 + (y - ay - part * dy) ** 2;
}
