// When a slice's mask is sent, and what people see of it. Revisions are only ever added; each names the one that it was made
// from, so that the server can say that somebody else was faster.

import { isHopeless } from "./api.js";

/** How long after the last stroke a draft is sent, and how long after each failure it is tried again. */
const IDLE_MS = 1_500;
const RETRY_MS = [1_000, 2_000, 4_000, 8_000, 15_000, 30_000];

/**
 * States: saved (with `warning` where it can't be learned from), changed (will be sent), saving, retry (with `error` and `delay`), conflict (with `theirs`), refused (with
 * `error`: trying again can't help).
 *
 * `send({state, parent, force})` posts the mask as it is at that moment: gives {revision}, or throws an error with `status`, and
 * with `conflict` where another revision is the newest. `show(status)` is told of every change. `later(ms, what)` gives a function that calls off.
 */
export class Autosave {
  #cancel = () => {};
  #edits = 0;
  #sent = 0;
  #underWay = 0;
  #failures = 0;
  #sending = null;
  #kind = "draft";

  constructor({ revision, send, show, later }) {
    Object.assign(this, { revision, send, show, later });
    this.status = { state: "saved" };
  }

  /** The mask was changed. */
  changed() {
    this.#edits++;
    this.#kind = "draft";
    if (this.status.state === "conflict") return;
    this.#tell({ state: "changed" });
    this.#after(IDLE_MS);
  }

  /** Sends now what isn't saved, or what the annotator has decided (accepted or rejected); true once all is saved. */
  async save(kind = null, force = false) {
    this.#cancel();
    // A key that was pressed twice is one decision: it is on its way already.
    const isUnderWay = this.#sending && kind === this.#kind && this.#edits === this.#underWay;
    if (kind && kind !== "draft" && !isUnderWay) this.#edits++;
    this.#kind = kind ?? this.#kind;
    while (this.#sending) await this.#sending;
    if (!this.unsaved && !force) return this.status.state === "saved";
    this.#sending = this.#send(force);
    await this.#sending;
    this.#sending = null;
    if (this.status.state === "changed") this.#after(IDLE_MS);
    return this.status.state === "saved";
  }

  /** Tries at once what would be tried later. */
  hurry() {
    return this.status.state === "retry" && this.save();
  }

  /** Whether leaving the page now would lose something. */
  get unsaved() {
    return this.#edits !== this.#sent;
  }

  /** Somebody else's revision is the newest now, and the mask here has become theirs. */
  adopt(revision) {
    this.#cancel();
    this.revision = revision;
    this.#sent = this.#edits;
    this.#tell({ state: "saved" });
  }

  /** Somebody else's revision was found to be the newest. */
  meet(theirs) {
    this.#cancel();
    this.#tell({ state: "conflict", theirs });
  }

  stop() {
    this.#cancel();
  }

  async #send(force) {
    const [edits, kind] = [this.#edits, this.#kind];
    this.#underWay = edits;
    this.#tell({ state: "saving" });
    try {
      const { revision, not_learned: warning } = await this.send({ state: kind, parent: this.revision, force });
      this.revision = revision;
      this.#failures = 0;
      this.#sent = edits;
      this.#tell(this.#edits === edits ? { state: "saved", kind, at: new Date(), warning } : { state: "changed" });
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error) {
    if (error.conflict) return this.#tell({ state: "conflict", theirs: error.conflict });
    if (isHopeless(error)) return this.#tell({ state: "refused", error });
    const delay = RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)];
    this.#tell({ state: "retry", error, delay });
    this.#after(delay);
  }

  #after(ms) {
    this.#cancel();
    this.#cancel = this.later(ms, () => this.save());
  }

  #tell(status) {
    this.status = status;
    this.show(status);
  }
}
