// Beside the table: one Deployment in full, or the batches that are parked.

import { pathOf, read } from "./api.js";
import { draw, empty } from "./chart.js";
import { button, h, say } from "./dom.js";
import { ago, boundsOf, clock, count, effectOf, many, moment, plain, span, stateOf } from "./words.js";

const EVERY_MS = 1000;
const AGAIN_MS = 15_000; // after something could not be read, until it is asked for again
const COUNTS = ["desired", "current", "updated", "ready", "available"];
const time = (at) => (typeof at === "number" ? at : Date.parse(at));

export class Side {
  #with;
  #element;
  #shown = ""; // the key of a Deployment, "parked", or "" for nothing
  #parts = null;
  #drawn = 0;
  #history = null; // what the server remembers; null where it does not, or not yet
  #back = null; // gives the focus back to what had it before

  /** `parts` are the store, access, writes, `about()`, `plan(records, options)`, `hold()`, `close()` and `announce(text)`. */
  constructor(element, parts) {
    this.#element = element;
    this.#with = parts;
  }

  /** Show a Deployment by its key, "parked", or "" for nothing. */
  show(what) {
    if (what === this.#shown) return;
    if (what && !this.#shown) this.#back = this.#with.hold();
    this.#shown = what;
    this.#parts = null;
    this.#history = null;
    this.#element.hidden = !what;
    document.body.toggleAttribute("data-side", Boolean(what));
    if (!what) {
      this.#element.replaceChildren();
      this.#back?.();
      return;
    }
    if (what === "parked") this.#parked();
    else this.draw(true);
    this.#element.focus({ preventScroll: true });
  }

  /** What this kdm offers is known now, or is something else than before. */
  renew() {
    this.#parts = null;
    if (this.#shown === "parked") this.#parked();
    else this.draw(true);
  }

  #frame(title, ...content) {
    const close = button("Close", () => this.#with.close(), { "aria-keyshortcuts": "Escape" });
    this.#element.replaceChildren(h("div", { class: "line" }, h("h2", { id: "side-title" }, ...title), close), ...content);
  }

  /** Draw the Deployment again, at most each second. */
  draw(now = false) {
    const { store } = this.#with;
    if (!this.#shown || (!now && Date.now() - this.#drawn < EVERY_MS)) return;
    this.#drawn = Date.now();
    if (this.#shown === "parked") {
      if (this.#counted !== store.counts.parked) this.#parked();
      return;
    }
    const record = store.records.get(this.#shown);
    if (!record) {
      if (!this.#parts) this.#frame([plain(this.#shown, 330)]);
      this.#parts ??= { missing: this.#element.appendChild(h("p", {})) };
      const words = store.ready ? "There is no such Deployment, or you may not see it." : "Reading …";
      say(this.#parts.missing ?? this.#parts.state, words);
      return;
    }
    if (!this.#parts || this.#parts.missing || this.#parts.uid !== record.uid) this.#build(record);
    this.#fill(record);
  }

  #build(record) {
    const p = (this.#parts = { uid: record.uid });
    this.#history = null; // of another object by this name
    p.state = h("p", { class: "big" });
    p.outcome = h("p", { class: "outcome" });
    p.counts = Object.fromEntries(COUNTS.map((name) => [name, h("dd", { class: "num" })]));
    p.chart = empty();
    p.span = h("figcaption", { class: "mute" });
    p.owners = h("ul", {});
    p.parked = h("p", {});
    p.access = h("p", {});
    p.labels = h("p", { class: "mute wrap" });
    p.changes = h("ol", { class: "changes" });
    p.since = h("p", { class: "mute" });
    const plan = (change) => () => this.#with.plan([this.#with.store.records.get(this.#shown) ?? record], { change });
    const parking = this.#with.about().features.parking ? "" : "This kdm does not offer parking.";
    p.park = button("Park …", plan("park"), { why: parking });
    p.restore = button("Restore …", plan("restore"), { why: parking });
    this.#frame([h("bdi", { class: "ns" }, plain(record.namespace, 70)), " / ", h("bdi", {}, plain(record.name, 260))],
      p.state, p.outcome,
      h("div", { class: "line" }, button("Set the count …", plan("replicas")), p.park, p.restore),
      h("dl", { class: "counts-list" }, ...COUNTS.flatMap((name) => [h("dt", {}, name), p.counts[name]])),
      h("figure", {}, p.chart, p.span),
      h("h3", {}, "Who else changes it"), p.owners, p.parked,
      h("h3", {}, "What you may do"), p.access,
      h("h3", {}, "Changes"), p.changes, p.since,
      h("h3", {}, "Labels"), p.labels);
    if (this.#with.about().features.history) this.#recall(record);
    this.#allowed(record);
  }

  async #allowed(record) {
    const p = this.#parts;
    if (Date.now() - (p.asked ?? 0) < AGAIN_MS) return;
    p.asked = Date.now();
    try {
      await this.#with.access.load(record);
      p.refused = "";
    } catch (problem) {
      p.refused = plain(problem.message);
    }
    if (this.#parts === p) this.draw(true);
  }

  async #recall(record) {
    try {
      const found = await read(`${pathOf(record)}/history`, { limit: "20" });
      if (this.#shown !== record.key || this.#parts?.uid !== record.uid) return;
      this.#history = { since: time(found.since), items: found.items, desired: record.desired, read: Date.now() };
    } catch (problem) {
      if (this.#shown !== record.key) return;
      this.#history = { since: 0, items: [], read: Date.now(), words: `The history cannot be read: ${plain(problem.message)}` };
    }
    this.draw(true);
  }

  #fill(record) {
    const p = this.#parts;
    const now = Date.now();
    const { store, writes, access, about } = this.#with;
    const series = store.watch(record);
    const [words, mood] = stateOf(record, now);
    say(p.state, words);
    p.state.dataset.mood = mood;
    const entry = writes.of(record.key);
    say(p.outcome, entry?.words ?? "");
    p.outcome.dataset.mood = entry?.mood ?? "";
    for (const name of COUNTS) say(p.counts[name], count(record[name]));
    const most = draw(p.chart, series.samples, now);
    const [first] = series.samples;
    p.chart.setAttribute("aria-label", `Over ${span((now - first[0]) / 1000)}: desired from ${first[1]} to ${record.desired}, available from ${first[2]} to ${record.available}`);
    say(p.span, `0 to ${count(most)} replicas, since ${clock(first[0])}. Line: desired. Area: available.`);
    const owned = about().features.owners ? "Nobody that kdm can see." : "This kdm does not look at owners.";
    list(p.owners, record.owners.length ? record.owners.map((each) => [`${each.name}: ${effectOf(each)}`, each.remedy && `To decide it there, ${each.remedy}`].filter(Boolean).map((text) => plain(text, 400)).join(". ")) : [owned]);
    const { parked } = record;
    say(p.parked, parked ? `Parked at ${count(parked.replicas)}, ${ago(parked.at)} by ${plain(parked.by, 80)}${parked.reason ? `: ${plain(parked.reason, 300)}` : ""}` : "");
    const known = access.of(record);
    if (!known) this.#allowed(record);
    say(p.access, known ? boundsOf(known.bounds) : p.refused || "Asking …");
    say(p.labels, plain(record.labels || "none", 10_000));
    this.#changes(record, series);
  }

  #changes(record, series) {
    const p = this.#parts;
    const { features } = this.#with.about();
    const past = this.#history;
    const due = past?.words ? AGAIN_MS : past?.desired !== record.desired ? EVERY_MS : Infinity; // then there is a change that it does not have yet
    if (past && !past.again && Date.now() - past.read >= due) {
      past.again = true;
      this.#recall(record);
    }
    const items = past?.items ?? series.changes;
    const key = items.map((each) => `${each.at} ${each.desired}`).join() + record.desired;
    if (p.key !== key) {
      p.key = key;
      p.changes.replaceChildren(...items.map((each, index) => this.#change(record, each, index)));
    }
    const kept = past?.since ? `Changes since ${moment(past.since)}, when this kdm began to watch.` : past?.words;
    const own = `${features.history ? "" : "This kdm keeps no history. "}What this page saw since ${clock(series.samples[0][0])}.`;
    say(p.since, (items.length ? "" : "None yet. ") + (kept ?? own));
  }

  #change(record, each, index) {
    const who = plain(each.actor || each.manager || "somebody", 80);
    const why = each.reason ? `: ${plain(each.reason, 10_000)}` : "";
    const ours = !each.uid || each.uid === record.uid; // not what was done to another object by this name
    const undoes = index === 0 && ours && each.previous !== null && each.desired === record.desired && each.previous !== each.desired;
    return h("li", {}, h("span", { class: "num" }, `${each.previous === null ? "?" : count(each.previous)} → ${count(each.desired)}`),
      h("bdi", { class: "wrap" }, `${moment(time(each.at))} · ${who}${why}`),
      undoes ? button("Undo", () => this.#undo(record, each), { "aria-keyshortcuts": "u" }) : null);
  }

  #undo({ key }, change) {
    const { store, writes, announce } = this.#with;
    const record = store.records.get(key);
    const entry = writes.of(key);
    if (!record || record.desired === change.previous || (entry?.busy && entry.target === change.previous)) return; // it is under way, or done
    if (record.desired !== change.desired) return announce(`${key}: not written: somebody made it ${count(record.desired)} meanwhile`);
    if (change.previous === 0) this.#with.plan([record], { change: "replicas", amount: 0 });
    else this.#with.writes.send(record, change.desired, change.previous, { reason: "undo" });
  }

  /** Take the newest change of the Deployment that is shown back. */
  undo() {
    const found = this.#parts?.changes?.querySelector("button");
    if (found) found.click();
    else this.#with.announce(this.#parts?.changes ? "There is no change here to take back." : "Open a Deployment first: undo takes back its newest change.");
  }

  /** The record of what is listed as parked; what is listed, where the stream has not shown it. */
  #record(item) {
    const key = `${item.namespace}/${item.name}`;
    return this.#with.store.records.get(key) ?? { ...item, key, desired: 0, owners: [] };
  }

  #round = 0; // of readings: an older one than the last is not shown
  #counted = 0; // how many were parked when the batches were read

  async #parked() {
    this.#counted = this.#with.store.counts.parked;
    const round = (this.#round += 1);
    const inside = this.#element.contains(document.activeElement);
    const say_ = h("p", { role: "status" }, "Reading what is parked …");
    this.#frame(["Parked batches"], say_);
    if (inside) this.#element.focus({ preventScroll: true });
    if (!this.#with.about().features.parking) {
      say(say_, "This kdm does not offer parking.");
      return;
    }
    let found;
    try {
      found = await read("/parked");
    } catch (problem) {
      say(say_, plain(problem.message));
      return;
    }
    if (this.#shown !== "parked" || round !== this.#round) return;
    say(say_, found.batches.length ? `${many(found.batches.length, "batch").replace(/batchs$/, "batches")}, newest first.` : "Nothing is parked. Select Deployments and choose Park to remember their counts and go to zero.");
    const bulk = this.#with.about().features.bulk ? "" : "This kdm does not change several at once.";
    this.#element.append(h("ul", { class: "batches" }, ...found.batches.reverse().map((batch) => {
      const of = found.items.filter((each) => each.parkId === batch.parkId);
      return h("li", {},
        h("h3", {}, h("bdi", {}, plain(batch.parkId, 120))),
        h("p", { class: "mute" }, `${many(batch.count, "Deployment")}, parked ${ago(time(batch.at))} by ${plain(batch.by, 80)}`),
        batch.reason ? h("p", { class: "wrap" }, plain(batch.reason, 10_000)) : null,
        h("p", { class: "wrap" }, of.slice(0, 12).map((each) => `${each.namespace}/${each.name} at ${count(each.replicas)}`).join(", ") + (of.length > 12 ? " …" : "")),
        button("Restore …", () => this.#with.plan(of.map(this.#record, this), { change: "restore", parkId: batch.parkId }), { why: bulk }));
    })));
  }
}

function list(element, texts) {
  const key = texts.join("\n");
  if (element.said === key) return;
  element.said = key;
  element.replaceChildren(...texts.map((each) => h("li", {}, each)));
}
