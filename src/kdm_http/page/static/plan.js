// The dialog before a change: from -> to for each, what speaks against it, why, and a word to type where it is zero.

import { pathOf, write } from "./api.js";
import { button, h, say } from "./dom.js";
import { boundsOf, count, effectOf, many, plain } from "./words.js";
import { refusalOf } from "./writes.js";

const PAUSE_MS = 250; // after the last letter, before the plan is made again
const MOST = 500; // in one request

const VERBS = { replicas: "Scale", delta: "Scale", factor: "Scale", park: "Park", restore: "Restore" };
const WAYS = [["replicas", "Set to"], ["delta", "Change by"], ["factor", "Multiply by"]];
const counted = (replicas) => (replicas === null || replicas === undefined ? "?" : count(replicas));
const EXTENT = { replicas: { step: 1, min: 0 }, delta: { step: 1 }, factor: { step: 0.1, min: 0 } };

export class Plan {
  #with;
  #dialog;
  #asked = null; // what is planned: {records, change, amount, parkId}
  #plan = null; // what the server says of it: {items, tag}
  #round = 0; // of plans: an answer to an older question is not shown
  #timer = 0;

  /** `parts` are the store, access, writes, `about()`, `announce(text)`, and `open()`, which opens the dialog. */
  constructor(dialog, parts) {
    this.#dialog = dialog;
    this.#with = parts;
  }

  /** Ask about a change of some records; with `parkId`, only of what is parked in that batch. */
  open(records, { change, amount = null, parkId = "" }) {
    this.#asked = { records: records.slice(0, MOST), change, amount, parkId, of: records.length };
    this.#plan = null;
    this.#build();
    this.#with.open();
    this.#parts.amount?.select();
    this.#ask(0);
  }

  #parts = {};

  #build() {
    const { records, change, amount } = this.#asked;
    const one = records.length === 1 ? records[0] : null;
    const { of } = this.#asked;
    const what = one ? one.key : of > MOST ? `the first ${count(MOST)} of ${many(of, "Deployment")}` : many(of, "Deployment");
    const p = (this.#parts = {});
    p.title = h("h2", { id: "dialog-title" }, `${VERBS[change]} `, h("bdi", {}, plain(what, 320)));
    if (WAYS.some(([way]) => way === change)) {
      const start = amount ?? (change === "replicas" ? one?.desired ?? "" : "");
      p.amount = h("input", { type: "number", id: "amount", value: String(start), ...EXTENT[change], "aria-label": "Amount", required: true });
      p.amount.addEventListener("input", () => this.#ask(PAUSE_MS));
      p.ways = h("div", { class: "ways", role: "radiogroup", "aria-label": "How to change" }, ...WAYS.map(([way, label]) =>
        h("label", {}, h("input", { type: "radio", name: "way", value: way, checked: way === change, onchange: () => this.#turn(way) }), label)));
    }
    p.rows = h("tbody");
    p.plan = h("div", { class: "plan", tabindex: 0, role: "region", "aria-label": "What would happen" },
      h("table", {}, h("thead", { class: "hidden" }, h("tr", {}, ...["Deployment", "From", "becomes", "To", "What to know"].map((each) => h("th", { scope: "col" }, each)))), p.rows));
    p.said = h("p", { class: "said", role: "status" });
    p.bounds = h("p", { class: "mute" });
    const most = this.#with.about().limits.maxReasonLength;
    p.reason = h("input", { type: "text", id: "reason", maxlength: most, autocomplete: "off", placeholder: "Reason (kept in the history)", "aria-label": "Reason" });
    p.reason.addEventListener("input", () => { if (this.#needsReason) this.#ask(PAUSE_MS); });
    p.override = h("input", { type: "checkbox", id: "override", onchange: () => this.#ask(0) });
    p.overrideWhy = h("span", {});
    p.overrideRow = h("label", { class: "override", hidden: true }, p.override, p.overrideWhy);
    p.word = h("input", { type: "text", id: "word", autocomplete: "off", spellcheck: "false", oninput: () => this.#judge() });
    p.wordWhy = h("span", {});
    p.wordRow = h("label", { class: "word", hidden: true }, p.wordWhy, p.word);
    p.go = button(VERBS[change], () => this.#go(), { kind: "primary" });
    const form = h("form", { onsubmit: (event) => { event.preventDefault(); this.#go(); } },
      p.title, p.ways ? h("div", { class: "line" }, p.ways, p.amount) : null, p.plan, p.said, p.overrideRow, p.wordRow, p.reason,
      h("div", { class: "line foot" }, p.bounds, button("Cancel", () => this.#dialog.close()), p.go, h("button", { type: "submit", class: "hidden", tabindex: -1, "aria-hidden": "true" })));
    this.#dialog.replaceChildren(form);
    this.#bounds(one);
    this.#show();
  }

  #turn(way) {
    this.#asked.change = way;
    for (const name of ["step", "min"]) this.#parts.amount.removeAttribute(name);
    for (const [name, value] of Object.entries(EXTENT[way])) this.#parts.amount.setAttribute(name, value);
    const [one] = this.#asked.records;
    this.#parts.amount.value = way === "replicas" && this.#asked.records.length === 1 ? one.desired : way === "delta" ? "1" : way === "factor" ? "1.5" : "";
    this.#parts.amount.select();
    this.#ask(0);
  }

  async #bounds(one) {
    if (!one) return say(this.#parts.bounds, "");
    const { bounds } = this.#parts;
    try {
      const access = this.#with.access.of(one) ?? (await this.#with.access.load(one));
      say(bounds, boundsOf(access.bounds));
      this.#show();
    } catch (problem) {
      say(bounds, plain(problem.message));
    }
  }

  #ask(pause, note = "") {
    this.#note = note;
    clearTimeout(this.#timer);
    this.#round += 1;
    this.#parts.plan.setAttribute("aria-busy", "true");
    this.#judge();
    this.#timer = setTimeout(() => this.#make(this.#round), pause);
  }

  async #make(round) {
    let plan;
    try {
      plan = this.#amount() === null ? { items: [], said: "How many?" } : await this.#planned();
    } catch (problem) {
      plan = { items: problem.body?.items ?? [], said: plain(problem.message, 400), refused: true };
    }
    if (round !== this.#round) return;
    this.#plan = plan;
    this.#parts.plan.removeAttribute("aria-busy");
    this.#show();
  }

  /** The amount that was typed; undefined where none is wanted, null where it is none. */
  #amount() {
    const { change } = this.#asked;
    if (!this.#parts.amount) return undefined;
    const text = this.#parts.amount.value.trim();
    const amount = Number(text);
    const whole = change === "factor" || Number.isInteger(amount);
    return text === "" || !Number.isFinite(amount) || !whole || (change !== "delta" && amount < 0) ? null : amount;
  }

  #said() {
    const said = {};
    if (this.#parts.reason.value.trim()) said.reason = this.#parts.reason.value.trim();
    if (this.#parts.override.checked) said.override = true;
    return said;
  }

  #bulk() {
    const { records, change, parkId } = this.#asked;
    const wanted = change === "restore" && parkId ? { parkId } : change === "park" || change === "restore" ? true : this.#amount();
    return { items: records.map(({ namespace, name }) => ({ namespace, name })), [change]: wanted, ...this.#said() };
  }

  #alone() {
    return this.#asked.records.length === 1 && !this.#asked.parkId;
  }

  async #planned() {
    if (!this.#alone()) {
      const { body, tag } = await write("POST", "/scale", this.#bulk(), { query: { dryRun: "All" } });
      return { items: body.items, tag };
    }
    const record = this.#with.store.records.get(this.#asked.records[0].key) ?? this.#asked.records[0];
    const item = { namespace: record.namespace, name: record.name, from: record.desired, to: this.#target(record), warnings: [], owners: record.owners };
    try {
      const { body } = await this.#one(record, { dryRun: "All" });
      Object.assign(item, { to: body.replicas.desired, warnings: body.warnings });
    } catch (problem) {
      if (problem.status === 0 || problem.status >= 500 || !problem.code) throw problem; // that is no refusal
      Object.assign(item, { error: problem.body, owners: problem.body.owners ?? record.owners });
    }
    return { items: [item] };
  }

  #target(record) {
    const { change } = this.#asked;
    const amount = this.#amount();
    if (change === "replicas") return amount;
    if (change === "delta") return record.desired + amount;
    // As the service rounds: the product is exact, and rounding stops nothing.
    if (change === "factor") return record.desired && Math.max(1, Math.round(Number((record.desired * amount).toFixed(6))));
    return change === "park" ? 0 : record.parked?.replicas ?? null;
  }

  #one(record, query) {
    const { change } = this.#asked;
    if (change === "park" || change === "restore") return write("POST", `${pathOf(record)}/${change}`, this.#said(), { query });
    const body = { replicas: this.#target(record), currentReplicas: record.desired, uid: record.uid, ...this.#said() };
    return write("PUT", `${pathOf(record)}/replicas`, body, { query });
  }

  get #needsReason() {
    return this.#plan?.items.some((each) => each.error?.code === "reason-required");
  }

  #show() {
    const p = this.#parts;
    const items = this.#plan?.items ?? [];
    const known = (item) => this.#with.store.records.get(`${item.namespace}/${item.name}`);
    p.rows.replaceChildren(...items.map((item) => {
      const against = item.error ? plain(item.error.detail ?? item.error, 240) : "";
      const warned = item.warnings?.length ? item.warnings : (item.owners ?? []).filter((each) => each.effect).map(effectOf);
      const knows = warned.map((each) => plain(each, 200)).join("; ");
      const exists = counted(item.from) + counted(item.to) !== "??"; // not of one that is gone
      return h("tr", { "data-mood": against ? "bad" : knows ? "warn" : null },
        h("td", {}, h("bdi", { class: "ns" }, plain(item.namespace, 70)), " / ", h("bdi", {}, plain(item.name, 260))),
        h("td", { class: "num" }, exists ? counted(item.from) : ""),
        h("td", { class: "arrow" }, exists ? "→" : ""),
        h("td", { class: "num" }, exists ? counted(item.to) : ""),
        h("td", {}, against ? `refused: ${against}` : knows));
    }));
    p.plan.hidden = !items.length;
    const refused = items.filter((each) => each.error);
    const none = this.#plan && items.length && !refused.length && items.every((each) => each.from === each.to);
    const words = this.#plan?.said ?? (refused.length ? `${count(refused.length)} of ${count(items.length)} refused: nothing can be written.` : none ? "That is how it is already." : this.#note);
    say(p.said, this.#plan ? words : "Asking what would happen …");
    this.#override(items, known);
    const down = items.filter((each) => each.to === 0 && each.from !== 0 && !each.error);
    p.wordRow.hidden = !down.length;
    this.#word = down.length ? (items.length === 1 ? items[0].name : String(down.length)) : "";
    const what = items.length === 1 ? "It" : many(down.length, "Deployment");
    say(p.wordWhy, `${what} ${down.length === 1 && items.length === 1 ? "goes" : "go"} to zero. Type ${this.#word} to confirm:`);
    this.#judge();
  }

  #word = "";
  #note = ""; // why the plan is shown again

  #override(items, known) {
    const p = this.#parts;
    const owned = items.filter((each) => each.error?.code === "owner-conflict");
    p.overrideRow.hidden = !owned.length && !p.override.checked;
    if (!owned.length) return;
    const denied = owned.map(known).some((record) => record && this.#with.access.of(record)?.override === false);
    p.override.disabled = denied;
    say(p.overrideWhy, denied ? "Scale anyway: your grant does not allow it." : "Scale anyway: the owner may change it back.");
  }

  /** Say whether it can be done now, and why not. */
  #judge() {
    const p = this.#parts;
    const items = this.#plan?.items ?? [];
    const busy = p.plan.getAttribute("aria-busy") === "true";
    const typed = !this.#word || p.word.value.trim() === this.#word;
    const why = busy ? "Asking what would happen" : this.#plan?.refused || !items.length || items.some((each) => each.error) ? "Nothing can be written like this" : typed ? "" : `Type ${this.#word} first`;
    p.go.setAttribute("aria-disabled", why ? "true" : "false");
    p.go.title = why;
    this.#why = why;
    const { change, records } = this.#asked;
    const several = items.length || records.length;
    say(p.go, several > 1 ? `${VERBS[change]} ${many(several, "Deployment")}` : VERBS[change]);
  }

  #why = "";

  async #go() {
    if (this.#why) return say(this.#parts.said, `${this.#why}.`);
    const { writes, store, announce } = this.#with;
    const asked = this.#asked;
    const { records, change } = asked;
    const mine = () => this.#asked === asked && this.#dialog.open; // it may show something else by then
    const said = this.#said();
    const plan = this.#plan;
    if (this.#alone() && change !== "park" && change !== "restore") {
      this.#dialog.close();
      const record = store.records.get(records[0].key) ?? records[0];
      writes.send(record, plan.items[0].from, plan.items[0].to, said);
      return;
    }
    this.#why = "It is being written"; // a second press is no second write
    this.#parts.go.setAttribute("aria-disabled", "true");
    let done;
    try {
      if (this.#alone()) {
        const { body } = await this.#one(records[0], {});
        done = [{ ...plan.items[0], uid: body.uid, resourceVersion: body.resourceVersion, to: body.replicas.desired, outcome: "done" }];
      } else {
        done = (await write("POST", "/scale", this.#bulk(), { match: plan.tag ?? "" })).body.items;
      }
    } catch (problem) {
      const changed = problem.code === "plan-changed";
      const words = changed ? "Something changed meanwhile. This is the plan now: look at it again." : refusalOf(problem);
      announce(words);
      if (!mine()) return;
      say(this.#parts.said, words);
      if (changed) this.#ask(0, words);
      else this.#judge();
      return;
    }
    if (mine()) this.#dialog.close();
    const written = done.filter((each) => !each.error && each.from !== each.to && store.records.has(`${each.namespace}/${each.name}`));
    const batch = written.length > 1 ? { of: written.length, outcomes: [] } : null;
    for (const item of done) {
      const record = store.records.get(`${item.namespace}/${item.name}`);
      if (!record) continue;
      if (item.error) writes.refuse(record, item.error);
      else if (item.from !== item.to) writes.adopt(record, { from: item.from, to: item.to, uid: item.uid, version: item.resourceVersion, batch });
    }
    const failed = done.filter((each) => each.error).length;
    announce(`${VERBS[change]}: ${many(done.length - failed, "Deployment")} written${failed ? `, ${count(failed)} failed` : ""}`);
  }
}
