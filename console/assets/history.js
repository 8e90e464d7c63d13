// Undo and redo. A mask has two values, so a step is the set of pixels that it turned over, and undoing is turning them over
// again. Steps are kept as runs (start, length): even "clear" of a large picture costs some hundred bytes.

/** The pixels in which two masks differ, as runs: start, length, start, length... */
export function difference(before, after) {
  const runs = [];
  for (let i = 0; i < after.length; i++) {
    if (before[i] === after[i]) continue;
    const start = i;
    while (i < after.length && before[i] !== after[i]) i++;
    runs.push(start, i - start);
  }
  return Uint32Array.from(runs);
}

/** Turns pixels over. */
export function toggle(data, runs) {
  for (let i = 0; i < runs.length; i += 2) {
    for (let index = runs[i]; index < runs[i] + runs[i + 1]; index++) data[index] ^= 1;
  }
}

/** The steps of one mask; `limit` of them are kept. */
export class History {
  #done = [];
  #undone = [];

  constructor(mask, limit = 500) {
    this.mask = mask;
    this.limit = limit;
  }

  /** Notes what has changed since `before`, a copy of the mask's data; false if nothing has. */
  note(before, name) {
    const runs = difference(before, this.mask.data);
    if (runs.length === 0) return false;
    this.#done.push({ name, runs });
    if (this.#done.length > this.limit) this.#done.shift();
    this.#undone.length = 0;
    return true;
  }

  /** Makes a change that can be undone; false if it changed nothing. */
  change(name, draw) {
    const before = this.mask.data.slice();
    draw(this.mask);
    return this.note(before, name);
  }

  /** Undoes the last step and gives its name; null if there is none. */
  undo() {
    return this.#move(this.#done, this.#undone);
  }

  /** Does again what was undone last and gives its name; null if there is none. */
  redo() {
    return this.#move(this.#undone, this.#done);
  }

  get steps() {
    return { done: this.#done.length, undone: this.#undone.length };
  }

  #move(from, to) {
    const step = from.pop();
    if (!step) return null;
    toggle(this.mask.data, step.runs);
    to.push(step);
    return step.name;
  }
}
