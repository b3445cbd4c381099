// Writes from rows: several presses become one request, and each is followed to an outcome that is said once.

import { pathOf, read, write } from "./api.js";
import { allows, boundsOf, count, many, outcomeOf, plain } from "./words.js";

const PAUSE_MS = 500; // after the last press, before it is sent
const SHOWN_MS = 8000; // how long a row says that all went well
const FOLLOWED_MS = 600_000;
const WAITS = 3; // requests that wait at a time: a browser has six connections, and the stream takes one

const OPEN = new Set(["timeout", "unknown", "interrupted"]);

export class Writes {
  #entries = new Map(); // by key
  #queue = [];
  #waiting = 0;
  #with;

  /** `parts` are the store, access, limits, `changed(key)`, `announce(text)` and `plan(record, options)`. */
  constructor(parts) {
    this.#with = parts;
  }

  /** What is under way, or came of it; undefined for nothing: {words, mood, target, busy}. */
  of(key) {
    return this.#entries.get(key);
  }

  /** Why a count cannot be asked for; "" where it can. */
  whyNot(record, wanted) {
    const { access, limits } = this.#with;
    const known = access.of(record);
    if (record.gone) return "It was deleted.";
    if (known && !known.verbs.includes("scale")) return "You may read this one, not scale it.";
    if (wanted < 0) return "It is at zero already.";
    if (wanted > limits().maxReplicas) return `This kdm allows at most ${count(limits().maxReplicas)}.`;
    if (!allows(known, wanted)) return boundsOf(known.bounds);
    return "";
  }

  /** The count that a row shows: what was asked for, where that is under way. */
  wanted(record) {
    const entry = this.#entries.get(record.key);
    return entry?.busy ? entry.next ?? entry.target : record.desired;
  }

  /** One more, or one less. */
  press(record, by) {
    const entry = this.#entries.get(record.key);
    const open = entry?.phase === "open" || entry?.phase === "sending" ? entry : null;
    const wanted = this.wanted(record) + by;
    const why = this.whyNot(record, wanted);
    if (why) return this.#with.announce(`${record.key}: ${why}`);
    if (wanted === 0) return this.#zero(record, open);
    if (entry?.phase === "sending") {
      entry.next = wanted; // from what is being written, once it is
      return this.#with.changed(record.key);
    }
    // What was written is what the row shows until its outcome is there, whatever the stream has shown by now.
    const base = open ? open.base : entry?.phase === "following" ? entry.target : record.desired;
    if (wanted === base) return this.forget(record.key);
    const words = `${count(base)} → ${count(wanted)} …`;
    const next = { phase: "open", base, target: wanted, words, mood: "warn", busy: true };
    this.#set(record.key, next);
    next.timer = setTimeout(() => this.send(record, base, wanted), PAUSE_MS);
  }

  #zero(record, open) {
    if (open?.phase === "open") this.forget(record.key);
    this.#with.plan([record], { change: "replicas", amount: 0 });
  }

  /** Forget what a row says of a write, and a press that was not sent yet. */
  forget(key) {
    const entry = this.#entries.get(key);
    if (!entry || entry.phase === "sending" || entry.phase === "following") return;
    clearTimeout(entry.timer);
    this.#entries.delete(key);
    this.#with.changed(key);
  }

  /** Write one count. Returns whether it was written. */
  async send(record, base, wanted, { reason = "", override = false } = {}) {
    const { store } = this.#with;
    const before = this.#entries.get(record.key);
    if (before?.phase === "sending" && before.target === wanted) return false; // a second press is no second write
    const entry = { phase: "sending", base, target: wanted, mood: "warn", busy: true };
    entry.words = `${count(base)} → ${count(wanted)}, sending …`;
    this.#set(record.key, entry);
    store.own.set(record.key, { desired: wanted, actor: "you", reason });
    const body = { replicas: wanted, currentReplicas: base, uid: record.uid };
    if (reason) body.reason = reason;
    if (override) body.override = true;
    try {
      const { body: written } = await write("PUT", `${pathOf(record)}/replicas`, body);
      this.adopt(record, { from: base, to: wanted, uid: written.uid, version: written.resourceVersion });
    } catch (problem) {
      if (problem.status === 403) this.#with.access.forget(); // the policy is another one than it was
      this.fail(record, problem, wanted);
      return false;
    }
    if (entry.next !== undefined && entry.next !== wanted) this.send(record, wanted, entry.next);
    return true;
  }

  /** Say why nothing was written. */
  fail(record, problem, asked) {
    const { announce, plan, store } = this.#with;
    store.own.delete(record.key);
    const words = refusalOf(problem);
    this.#set(record.key, this.#over(record.key, words, "bad"));
    announce(`${record.key}: ${words}`);
    if (problem.code !== "reason-required" && problem.code !== "owner-conflict") return;
    this.#entries.get(record.key).act = ["Look …", () => {
      this.forget(record.key);
      plan([store.records.get(record.key) ?? record], { change: "replicas", amount: asked });
    }];
  }

  /** Say of a Deployment of several why it was not written. */
  refuse(record, body) {
    const words = refusalOf({ ...body, message: body?.detail ?? "", body });
    this.#set(record.key, this.#over(record.key, words, "bad"));
  }

  /** What came of a write. What went well goes by itself; the rest stays until it was seen. */
  #over(key, words, mood) {
    const entry = { phase: "over", words, mood, act: ["×", () => this.forget(key), `Dismiss what ${key} says`] };
    if (mood !== "ok") return entry;
    entry.act = null;
    entry.timer = setTimeout(() => this.forget(key), SHOWN_MS);
    return entry;
  }

  /** Follow a count that is written. What comes of the members of a `batch`, of `{of, outcomes}`, is said together. */
  adopt(record, { from, to, uid, version, batch = null }) {
    const change = `${count(from)} → ${count(to)}`;
    const entry = { phase: "following", target: to, mood: "warn", busy: true, change, words: `${change}, settling` };
    this.#set(record.key, entry);
    const query = version ? { uid, resourceVersion: version, replicas: String(to) } : {};
    this.#queue.push({ record, entry, query, batch, until: Date.now() + FOLLOWED_MS });
    this.#next();
  }

  #next() {
    while (this.#waiting < WAITS && this.#queue.length) {
      const follow = this.#queue.shift();
      if (this.#entries.get(follow.record.key) !== follow.entry) {
        this.#tell(follow, "superseded"); // another write came after it
        continue;
      }
      this.#waiting += 1;
      this.#wait(follow).finally(() => {
        this.#waiting -= 1;
        this.#next();
      });
    }
  }

  async #wait(follow) {
    const { record, entry, query } = follow;
    const wait = this.#queue.length ? "2s" : "20s"; // everybody gets a turn
    let rollout;
    try {
      rollout = await read(`${pathOf(record)}/rollout`, { ...query, wait });
    } catch (problem) {
      if (problem.status === 404) rollout = { outcome: "deleted" };
      else if (problem.status !== 0 && problem.status !== 429 && problem.status < 500) rollout = { outcome: "unknown", final: true, message: problem.message };
      else await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    if (this.#entries.get(record.key) !== entry) return this.#tell(follow, "superseded");
    if ((!rollout || OPEN.has(rollout.outcome)) && !rollout?.final && Date.now() < follow.until) {
      this.#queue.push(follow);
      return;
    }
    const now = this.#with.store.records.get(record.key);
    const [said, mood] = outcomeOf(rollout ?? { outcome: "unknown", message: "kdm did not answer" }, now);
    this.#set(record.key, this.#over(record.key, `${entry.change}, ${said}`, mood));
    this.#tell(follow, rollout?.outcome ?? "unknown", `${record.key}: ${entry.change}, ${said}`);
  }

  #tell({ batch }, outcome, words = "") {
    const { announce } = this.#with;
    if (!batch) {
      if (words) announce(words);
      return;
    }
    batch.outcomes.push(outcome);
    if (batch.outcomes.length < batch.of) return;
    const said = [...new Set(batch.outcomes)].map((each) => `${count(batch.outcomes.filter((one) => one === each).length)} ${each}`);
    announce(`Of ${many(batch.of, "Deployment")}: ${said.join(", ")}`);
  }

  #set(key, entry) {
    clearTimeout(this.#entries.get(key)?.timer);
    this.#entries.set(key, entry);
    this.#with.changed(key);
  }
}

/** Why a write was refused, and whether anything was written, for a person. */
export function refusalOf(problem) {
  const { code, status, body, written } = problem;
  const now = body?.current?.replicas;
  if (code === "write-conflict" && now !== undefined) return `not written: somebody made it ${count(now)} meanwhile`;
  if (status === 0) return "no answer: it may have been written or not";
  const told = plain(problem.message, 240);
  if (written === false) return `not written: ${told}`;
  return written === null ? `not certain: ${told}` : told;
}
