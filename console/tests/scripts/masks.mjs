// Masks as pictures of text: "#" is electrode, "." background.

export function mask(...lines) {
  const data = Uint8Array.from(lines.join(""), (letter) => (letter === "#" ? 1 : 0));
  return { rows: lines.length, columns: lines[0].length, data };
}

export const blank = (rows, columns) => ({ rows, columns, data: new Uint8Array(rows * columns) });

export function picture({ rows, columns, data }) {
  const line = (row) => Array.from(data.slice(row * columns, (row + 1) * columns), (set) => (set ? "#" : ".")).join("");
  return Array.from({ length: rows }, (_, row) => line(row));
}

/** Numbers below 1 that are the same in every run. */
export function draws(seed = 1) {
  let state = seed;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}
