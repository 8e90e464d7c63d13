// How long somebody worked on a slice: the time between one input and the next, long pauses left out.

const PAUSE_MS = 30_000;

export class Stopwatch {
  #worked = 0;
  #last;

  constructor(now) {
    this.#last = now;
  }

  /** Something was done at `now` (ms). */
  touch(now) {
    this.#worked += Math.min(now - this.#last, PAUSE_MS);
    this.#last = now;
  }

  /** The whole seconds that weren't taken yet. */
  get seconds() {
    return Math.round(this.#worked / 1000);
  }

  /** These seconds have been noted elsewhere. */
  take(seconds) {
    this.#worked -= seconds * 1000;
  }
}
