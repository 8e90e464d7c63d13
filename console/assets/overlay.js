// A mask as a translucent layer over the picture. Colours are [red, green, blue] of 0 to 255.

const pixel = ([red, green, blue], alpha) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;

/** Fills RGBA bytes: `inside(index)` decides; alpha 0 to 255. */
export function tint(rgba, size, inside, colour, alpha) {
  const words = new Uint32Array(rgba.buffer, rgba.byteOffset, size);
  const set = pixel(colour, alpha);
  for (let i = 0; i < size; i++) words[i] = inside(i) ? set : 0;
}

/**
 * The border of a mask: pieces of lines along the edges between set and unset pixels, [x0, y0, x1, y1] in picture positions,
 * neighbours on one line joined.
 */
export function border({ rows, columns, data }) {
  const at = (row, column) =>
    row >= 0 && row < rows && column >= 0 && column < columns && data[row * columns + column] !== 0;
  const pieces = [];
  const along = (lines, length, differs, piece) => {
    for (let i = 0; i <= lines; i++) {
      for (let j = 0; j < length; j++) {
        if (!differs(i, j)) continue;
        const start = j;
        while (j < length && differs(i, j)) j++;
        pieces.push(piece(i, start, j));
      }
    }
  };
  along(rows, columns, (y, x) => at(y - 1, x) !== at(y, x), (y, from, to) => [from, y, to, y]);
  along(columns, rows, (x, y) => at(y, x - 1) !== at(y, x), (x, from, to) => [x, from, x, to]);
  return pieces;
}
