// Connected parts: region growing in the picture, components of a mask. Pixels touch by edge or corner.

/** The indices of the connected pixels around (row, column) for which `inside(index)` holds; empty if it doesn't hold there. */
export function flood({ rows, columns }, row, column, inside) {
  if (row < 0 || row >= rows || column < 0 || column >= columns) return [];
  const seen = new Uint8Array(rows * columns);
  const found = [];
  const visit = (r, c) => {
    const index = r * columns + c;
    if (seen[index] || !inside(index)) return;
    seen[index] = 1;
    found.push(index);
  };
  visit(row, column);
  for (let next = 0; next < found.length; next++) {
    const [r, c] = [Math.floor(found[next] / columns), found[next] % columns];
    for (let i = Math.max(r - 1, 0); i <= Math.min(r + 1, rows - 1); i++) {
      for (let j = Math.max(c - 1, 0); j <= Math.min(c + 1, columns - 1); j++) visit(i, j);
    }
  }
  return found;
}

/** Region growing: the connected pixels around a position that are at least as bright as the level. */
export const brightRegion = (mask, values, level, row, column) =>
  flood(mask, row, column, (index) => values[index] >= level);

/** The part of a mask that holds a position. */
export const component = (mask, row, column) => flood(mask, row, column, (index) => mask.data[index] !== 0);

/** How many pixels of a mask are set. */
export const count = (mask) => mask.data.reduce((total, value) => total + value, 0);
