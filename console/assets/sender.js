// How the masks of a slice get to the server.

import { call, path, query } from "./api.js";
import { crc32, decodeMask, encodeMask } from "./png.js";

export class Sender {
  /** Of masks that were sent without an answer: some of them may have arrived. */
  #unanswered = new Set();

  constructor(slice) {
    this.at = path("slices", slice.patient, slice.slice, "revisions");
  }

  /** Sends a mask as a revision with its {parent, proposal, seconds, state, force}; gives what the server says of it. */
  async send(mask, about) {
    const check = crc32(mask.data);
    const body = await encodeMask(mask);
    try {
      const saved = await this.#post(body, about);
      this.#unanswered.clear();
      return saved;
    } catch (error) {
      if (await this.#isOurs(error.conflict)) return this.#post(body, { ...about, parent: error.conflict.revision });
      // 4xx is an answer.
      if (!(error.status >= 400 && error.status < 500)) this.#unanswered.add(check);
      throw error;
    }
  }

  async #post(body, about) {
    return (await call(this.at + query(about), { method: "POST", body, type: "image/png" })).json();
  }

  /** Whether the revision that is in the way is our own, of which only the answer got lost. */
  async #isOurs(theirs) {
    if (!theirs || !this.#unanswered.size) return false;
    const png = await call(`${this.at}/${theirs.revision}/mask.png`);
    const { data } = await decodeMask(new Uint8Array(await png.arrayBuffer()));
    return this.#unanswered.has(crc32(data));
  }
}
