// Keeps the last few things that were fetched, so that the previous and the next slice are there before they are asked for.

export class Cache {
  #kept = new Map();

  /** `load(key)` gives a promise; the `size` keys used last are kept. */
  constructor(size, load) {
    Object.assign(this, { size, load });
  }

  get(key) {
    const kept = this.#kept.get(key) ?? this.load(key);
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    // What failed is asked for again.
    kept.catch(() => this.#kept.get(key) === kept && this.#kept.delete(key));
    if (this.#kept.size > this.size) this.#kept.delete(this.#kept.keys().next().value);
    return kept;
  }

  forget(key) {
    this.#kept.delete(key);
  }
}
