// The mask on which somebody works: its steps, and its way to the server.

import { Autosave } from "./autosave.js";
import { History } from "./history.js";
import { Sender } from "./sender.js";
import { Stopwatch } from "./stopwatch.js";

export class Desk {
  #before = null;
  #work = null;

  /** `changed()` is called after every step, `saving(status)` with every state of the autosave. */
  constructor(stage, { changed, saving }) {
    Object.assign(this, { stage, onChanged: changed, onSaving: saving, colour: 1, size: 5, level: 0 });
  }

  open(slice) {
    this.autosave?.stop();
    this.#before = null;
    Object.assign(this, { slice, mask: slice.mask, values: slice.bright, spacing: slice.spacing });
    this.history = new History(slice.mask);
    this.watch = new Stopwatch(performance.now());
    const work = { slice, watch: this.watch, sender: new Sender(slice), isFromProposal: slice.origin === "proposal" };
    this.#work = work;
    this.autosave = new Autosave({
      revision: slice.newest?.revision ?? null,
      // This slice's, whichever is open by then.
      send: (revision) => this.#send(work, revision),
      show: (status) => this.slice === slice && this.onSaving(status),
      later: (ms, what) => { const timer = setTimeout(what, ms); return () => clearTimeout(timer); },
    });
  }

  /** From here to end() is one step. */
  begin() {
    this.#before = this.mask.data.slice();
  }

  /** The mask as it was at begin(). */
  restore() {
    if (this.#before) this.mask.data.set(this.#before);
    this.drawn();
  }

  end(name) {
    const before = this.#before;
    this.#before = null;
    if (before && this.history.note(before, name)) this.#stepped();
  }

  drawn() {
    this.stage.changed("mask");
  }

  /** One step; false if it changed nothing. */
  change(name, draw) {
    const changed = this.history.change(name, draw);
    if (changed) this.#stepped();
    return changed;
  }

  undo() {
    return this.#moved(this.history.undo());
  }

  redo() {
    return this.#moved(this.history.redo());
  }

  clear() {
    return this.change("clear", (mask) => mask.data.fill(0));
  }

  /** Whether another mask has the size of this one. */
  fits({ rows, columns }) {
    return rows === this.mask.rows && columns === this.mask.columns;
  }

  /** Makes the mask a copy of another that fits. */
  copy(name, from) {
    return this.change(name, (mask) => mask.data.set(from.data));
  }

  /** Begins again with the model's proposal. */
  takeProposal() {
    this.#work.isFromProposal = true;
    return this.copy("proposal", this.slice.proposal);
  }

  /** Adds all that is as bright as the level. */
  fill() {
    return this.change("all above the level", ({ data }) => data.forEach((set, i) => (data[i] = set || this.values[i] >= this.level ? 1 : 0)));
  }

  /** Takes away all that is darker than the level. */
  trim() {
    return this.change("trimmed below the level", ({ data }) => data.forEach((set, i) => (data[i] = set && this.values[i] >= this.level ? 1 : 0)));
  }

  #moved(name) {
    if (name !== null) this.#stepped();
    return name;
  }

  #stepped() {
    this.drawn();
    this.autosave.changed();
    this.onChanged();
  }

  /** Sends a slice's mask without a step that isn't done: half a polygon is nobody's mask. */
  async #send({ slice, watch, sender, isFromProposal }, { state, parent, force }) {
    const data = (slice === this.slice && this.#before) || slice.mask.data;
    watch.touch(performance.now());
    const { seconds } = watch;
    const proposal = isFromProposal ? slice.model : null;
    const saved = await sender.send({ ...slice.mask, data }, { parent, proposal, seconds, state, force: force || null });
    watch.take(seconds);
    const by = { revision: saved.revision, parent, state, proposal, seconds, mask: true, by: null, at: Date.now() / 1000 };
    slice.revisions.push(by);
    slice.newest = by;
    return saved;
  }
}
