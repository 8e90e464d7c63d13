// A contact sheet: many slices in one picture that can be saved.

import { element } from "./dom.js";

const TILE = { width: 240, height: 200, caption: 22, gap: 8 };
const MOST = 120;

/** Columns and rows for some pictures, about as wide as high. */
export function sheetSize(count) {
  const columns = Math.max(Math.ceil(Math.sqrt(count * (TILE.height / TILE.width))), 1);
  return { columns, rows: Math.ceil(count / columns) };
}

/** Draws the first slices of a list with their names and answers, and saves the picture as a file. */
export async function saveSheet({ title, slices, image }) {
  const shown = slices.slice(0, MOST);
  const pictures = await Promise.all(shown.map(async (slice) => {
    const picture = element("img", { src: image(slice) });
    await picture.decode();
    return picture;
  }));
  const more = slices.length > MOST ? `, the first ${MOST} of ${slices.length} slices` : `, ${slices.length} slices`;
  const canvas = draw(`${title}${more}`, shown, pictures);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: `contact-sheet-${title.replaceAll(/[^\w-]+/g, "-")}.png` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function draw(title, slices, pictures) {
  const { columns, rows } = sheetSize(slices.length);
  const [stepX, stepY] = [TILE.width + TILE.gap, TILE.height + TILE.caption + TILE.gap];
  const canvas = element("canvas", { width: columns * stepX + TILE.gap, height: rows * stepY + TILE.gap + 36 });
  const context = canvas.getContext("2d");
  context.fillStyle = "#101312";
  context.fillRect(0, 0, canvas.width, canvas.height);
  const write = (text, x, y, room, style = "13px system-ui, sans-serif") => {
    context.font = style;
    context.fillStyle = "#e8ecea";
    context.fillText(text, x, y, room);
  };
  write(title, TILE.gap, 26, canvas.width - 2 * TILE.gap, "600 18px system-ui, sans-serif");
  slices.forEach((slice, i) => {
    const [x, y] = [TILE.gap + (i % columns) * stepX, 36 + TILE.gap + Math.floor(i / columns) * stepY];
    const picture = pictures[i];
    const scale = Math.min(TILE.width / picture.naturalWidth, TILE.height / picture.naturalHeight);
    const [width, height] = [picture.naturalWidth * scale, picture.naturalHeight * scale];
    context.drawImage(picture, x + (TILE.width - width) / 2, y + (TILE.height - height) / 2, width, height);
    write([slice.name ?? slice.slice, slice.triage].filter(Boolean).join(" · "), x, y + TILE.height + 15, TILE.width);
  });
  return canvas;
}
