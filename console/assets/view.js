// Where the picture lies on the screen. Screen positions are in CSS pixels of the canvas, picture positions in pixels of the
// slice. `aspect` is the height of a pixel divided by its width: what is shown has the proportions of the body.

export class View {
  constructor({ rows, columns, aspect = 1 }) {
    Object.assign(this, { rows, columns, aspect, zoom: 1, left: 0, top: 0, isWhole: true });
  }

  /** Shows the whole picture in the middle of a canvas. */
  fit(width, height) {
    this.zoom = Math.min(width / this.columns, height / (this.rows * this.aspect)) || 1;
    this.least = this.zoom / 2;
    this.left = (width - this.columns * this.zoom) / 2;
    this.top = (height - this.rows * this.zoom * this.aspect) / 2;
    this.isWhole = true;
  }

  /** The same place of another view of the same grid. */
  follow({ zoom, left, top, isWhole }) {
    if (!isWhole) Object.assign(this, { zoom, left, top, isWhole });
  }

  /** The canvas has got larger or smaller: what was in its middle stays there, the whole picture stays whole. */
  resized([width, height], [widthBefore, heightBefore]) {
    const before = { ...this };
    this.fit(width, height);
    this.follow(before);
    if (!before.isWhole) this.pan((width - widthBefore) / 2, (height - heightBefore) / 2);
  }

  /** The position in the picture that a position on the screen shows. */
  toPicture([x, y]) {
    return [(x - this.left) / this.zoom, (y - this.top) / (this.zoom * this.aspect)];
  }

  toScreen([x, y]) {
    return [x * this.zoom + this.left, y * this.zoom * this.aspect + this.top];
  }

  /** Zooms by a factor; what is at this position on the screen stays there. */
  zoomAt([x, y], factor) {
    const before = this.toPicture([x, y]);
    this.zoom = Math.min(Math.max(this.zoom * factor, this.least ?? 0.1), 64);
    const after = this.toScreen(before);
    this.pan(x - after[0], y - after[1]);
  }

  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.isWhole = false;
  }
}

/** A length in the picture: in mm where the spacing [row, column] is known, else in pixels. */
export function length([ax, ay], [bx, by], spacing) {
  const [row, column] = spacing ?? [1, 1];
  return Math.hypot((bx - ax) * column, (by - ay) * row);
}

export function lengthText(from, to, spacing) {
  const value = length(from, to, spacing);
  return spacing ? `${value.toFixed(value < 10 ? 2 : 1)} mm` : `${value.toFixed(1)} px`;
}

/** The longest of 1, 2, 5, 10... units that fits into `room` screen pixels, where a unit is `scale` screen pixels long. */
export function scaleBar(scale, room) {
  const power = 10 ** Math.floor(Math.log10(room / scale));
  const units = [5, 2, 1].map((step) => step * power).find((length) => length * scale <= room);
  return { units, pixels: units * scale };
}
