// What the caller may do to a Deployment. Asked for those on screen only, a few at a time.

import { pathOf, read } from "./api.js";

const AT_A_TIME = 2;
const KEPT = 2000;

export class Access {
  #known = new Map(); // by key: {uid, verbs, bounds}
  #wanted = [];
  #asking = 0;
  #came;

  /** `came(key)` is called when more is known of a Deployment. */
  constructor(came) {
    this.#came = came;
  }

  /** What is known of a record; undefined for nothing yet. */
  of(record) {
    const known = this.#known.get(record.key);
    return known?.uid === record.uid ? known : undefined;
  }

  /** Ask for these, and for none that were wanted before. */
  want(records) {
    this.#wanted = records.filter((each) => !this.of(each) && !each.gone);
    this.#ask();
  }

  /** The policy may be another one now. */
  forget() {
    this.#known.clear();
  }

  async #ask() {
    while (this.#asking < AT_A_TIME && this.#wanted.length) {
      const record = this.#wanted.shift();
      this.#asking += 1;
      this.load(record).catch(() => {}).finally(() => {
        this.#asking -= 1;
        this.#ask();
      });
    }
  }

  async load(record) {
    const { access } = await read(pathOf(record), { access: "true" });
    this.#known.delete(record.key);
    this.#known.set(record.key, { ...access, uid: record.uid });
    if (this.#known.size > KEPT) this.#known.delete(this.#known.keys().next().value);
    this.#came(record.key);
    return access;
  }
}
