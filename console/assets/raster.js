// Filled polygons, circles and rectangles, pixel for pixel as PIL's ImageDraw fills them and as shared/imaging/src/raster.rs does:
// the same rules, the same 32-bit arithmetic (Math.fround), tested with the same digests.
//
// A mask is {rows, columns, data}: a Uint8Array of rows x columns, 0 background, 1 electrode. Points are [x, y] in pixels.

const f32 = Math.fround;

/** Sets a row's pixels from x0 to x1, both included, as far as they lie inside. */
function line(mask, y, x0, x1, value) {
  const from = Math.max(x0, 0);
  const to = Math.min(x1, mask.columns - 1);
  if (y < 0 || y >= mask.rows || from > to) return;
  mask.data.fill(value, y * mask.columns + from, y * mask.columns + to + 1);
}

/** A coordinate as PIL takes it: cut to a whole number towards zero. */
const whole = ([x, y]) => [Math.trunc(x), Math.trunc(y)];

/** Fills a rectangle between two opposite corners, both included. */
export function rectangle(mask, a, b, value = 1) {
  const [[ax, ay], [bx, by]] = [whole(a), whole(b)];
  const bottom = Math.min(Math.max(ay, by), mask.rows - 1);
  for (let y = Math.max(Math.min(ay, by), 0); y <= bottom; y++) {
    line(mask, y, Math.min(ax, bx), Math.max(ax, bx), value);
  }
}

/** Fills the circle around a centre, through a point on its rim. Exact for circles up to 9,700 pixels across. */
export function circle(mask, [x, y], [rimX, rimY], value = 1) {
  const radius = Math.sqrt((x - rimX) ** 2 + (y - rimY) ** 2);
  ellipse(mask, whole([x - radius, y - radius]), whole([x + radius, y + radius]), value);
}

/** Fills the ellipse inscribed in the box between two corners in whole pixels, the upper left one first. */
export function ellipse(mask, from, to, value = 1) {
  const [width, height] = [to[0] - from[0], to[1] - from[1]];
  if (width < 0 || height < 0 || width + height === 0) return;
  let lastY = null;
  for (const [x, y] of quarter(width, height)) {
    // The first point of each row is its outermost.
    if (y === lastY) continue;
    lastY = y;
    const [left, right] = [from[0] + (width - x) / 2, from[0] + (width + x) / 2];
    line(mask, from[1] + (height - y) / 2, left, right, value);
    line(mask, from[1] + (height + y) / 2, left, right, value);
  }
}

/**
 * The lower right quarter of an ellipse around (0, 0) with the half-axes a and b, in steps of 2 from the right end to the bottom:
 * each step goes to the neighbour that deviates least (Bresenham).
 */
function* quarter(a, b) {
  const [a2, b2] = [a * a, b * b];
  const deviation = ([x, y]) => Math.abs(a2 * (y * y - b2) + b2 * x * x);
  let at = [a, b % 2];
  yield at;
  while (at[0] !== a % 2 || at[1] !== b) {
    const [x, y] = at;
    const ways = x > 1 ? [[x, y + 2], [x - 2, y + 2], [x - 2, y]] : [[x, y + 2]];
    at = ways.reduce((best, way) => (deviation(way) < deviation(best) ? way : best));
    yield at;
  }
}

/** Fills a polygon (even-odd), its sides included. */
export function polygon(mask, corners, value = 1) {
  const points = corners.map(whole);
  const [first, last] = [points[0], points.at(-1)];
  // A polygon may be closed by naming its first point again.
  if (points.length > 1 && first[0] === last[0] && first[1] === last[1]) points.pop();
  if (points.length === 0) return;
  const edges = [];
  points.forEach((start, i) => {
    const end = points[(i + 1) % points.length];
    if (start[1] === end[1]) line(mask, start[1], Math.min(start[0], end[0]), Math.max(start[0], end[0]), value);
    else edges.push(edge(start, end));
  });
  const ends = points.map((point) => point[1]);
  const bottom = Math.min(Math.max(...ends), mask.rows);
  for (let y = Math.max(Math.min(...ends), 0); y <= bottom; y++) {
    const crossings = crossingsOf(edges.filter((side) => spans(side, y)), y, bottom);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      line(mask, y, roundUp(crossings[i]), roundDown(crossings[i + 1]), value);
    }
  }
}

/** One side of a polygon that isn't horizontal; the slope is in columns per row. */
function edge(start, end) {
  const slope = f32((end[0] - start[0]) / (end[1] - start[1]));
  return { start, top: Math.min(start[1], end[1]), bottom: Math.max(start[1], end[1]), slope };
}

const xAt = (side, y) => f32(f32((y - side.start[1]) * side.slope) + side.start[0]);
const spans = (side, y) => side.top <= y && y <= side.bottom;
const slantsFromCorner = (side, y) => (y === side.top || y === side.bottom) && side.slope !== 0;

/** Where the sides cross a row, from left to right. */
function crossingsOf(active, y, bottom) {
  const crossings = [];
  active.forEach((side, i) => {
    const x = xAt(side, y);
    if (y === side.bottom && y < bottom) crossings.push(x, x);
    else if (slantsFromCorner(side, y)) crossings.push(joined(side, active.slice(0, i), x, y));
    else crossings.push(x);
  });
  return crossings.sort((a, b) => a - b);
}

/** A side's crossing at its corner, drawn out to the next row's where two flat sides meet in a point: the tip stays connected. */
function joined(side, earlier, x, y) {
  const beside = y === side.bottom ? y - 1 : y + 1;
  const other = earlier.find((one) => slantsFromCorner(one, y) && round(x) === round(xAt(one, y)) && spans(one, beside));
  if (!other) return x;
  const [a, b] = [xAt(side, beside), xAt(other, beside)];
  if (x > f32(a + 1) && x > f32(b + 1)) return round(Math.max(a, b)) + 1;
  if (x < f32(a - 1) && x < f32(b - 1)) return round(Math.min(a, b)) - 1;
  return x;
}

/** To the nearest whole number, halves away from zero. */
const round = (x) => Math.sign(x) * Math.floor(Math.abs(x) + 0.5);
/** The same in 32-bit arithmetic, as PIL computes it. */
const roundUp = (x) => Math.sign(x) * Math.floor(f32(Math.abs(x) + 0.5));
/** To the nearest whole number, halves towards zero. */
const roundDown = (x) => Math.sign(x) * Math.ceil(f32(Math.abs(x) - 0.5));
