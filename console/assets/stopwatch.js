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

  /** The whole seconds since the last time that this was asked. */
  take() {
    const seconds = Math.round(this.#worked / 1000);
    this.#worked -= seconds * 1000;
    return Math.max(seconds, 0);
  }
}
