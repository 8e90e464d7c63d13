// What people say of slices on its way to the server: of each slice one answer at a time, so that the last word stays the last,
// and again and again until the server has it.

import { isHopeless, path, send } from "./api.js";

/** How long after each failure it is tried again. */
const RETRY_MS = [1_000, 2_000, 4_000, 8_000, 15_000];

const put = (slice, answer) => send("PUT", path("slices", slice.patient, slice.slice, "triage"), { answer });
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export class Answers {
  /** By what holds the answer: the one that the server has, and the one that it shall have. */
  #open = new Map();
  #failing = new Map();

  /**
   * `show(slice)` is called when an answer has changed; `tell({open, error, isGivenUp})` when one was saved or couldn't be: how many
   * aren't yet, why, and whether that one will never be.
   */
  constructor({ show, tell, send = put, later = pause }) {
    Object.assign(this, { show, tell, send, later });
  }

  /** Sets `holder.triage` to what somebody says of a slice and sends it. */
  async say(slice, holder, answer) {
    const known = this.#open.get(holder);
    const one = known ?? { stored: holder.triage ?? null };
    one.answer = answer;
    this.#set(slice, holder, answer);
    if (known) return;
    this.#open.set(holder, one);
    await this.#deliver(slice, holder, one);
    this.#open.delete(holder);
    this.#failing.delete(holder);
    if (!one.isGivenUp) this.#told();
  }

  /** Whether something is not even on its way, or didn't arrive: who leaves the page would lose it. */
  get isInTrouble() {
    return this.#failing.size > 0 || [...this.#open.values()].some(({ answer, sending }) => answer !== sending);
  }

  async #deliver(slice, holder, one) {
    let failures = 0;
    do {
      const { answer } = one;
      one.sending = answer;
      try {
        await this.send(slice, answer);
        [one.stored, failures] = [answer, 0];
      } catch (error) {
        if (isHopeless(error)) return this.#giveUp(slice, holder, one, error);
        this.#failing.set(holder, error);
        this.#told();
        await this.later(RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]);
      }
      // After a failure nobody knows what has arrived.
    } while (failures || one.stored !== one.answer);
  }

  #giveUp(slice, holder, one, error) {
    one.isGivenUp = true;
    this.#failing.delete(holder);
    this.#set(slice, holder, one.stored);
    this.tell({ open: this.#failing.size, error, isGivenUp: true });
  }

  #told() {
    const [error = null] = this.#failing.values();
    this.tell({ open: this.#failing.size, error, isGivenUp: false });
  }

  #set(slice, holder, answer) {
    holder.triage = answer;
    this.show(slice);
  }
}
