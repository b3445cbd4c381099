// The table: only the rows on screen exist. Each is made once, moved, and changed where it differs.

import { byId, h, mark, say } from "./dom.js";
import { availableOf, brief, changeOf, count, effectOf, ownerOf, plain, stateOf } from "./words.js";

const MARGIN = 6; // rows that exist beyond each edge of the window
const HOLD_MS = 4000; // for so long after the last movement over the table no row moves
const ORDER_MS = 250;
const SLIP_MS = 500; // after a press in a dialog that is gone by it: the second of a double click is not for the row below

export const COLUMNS = [
  ["name", "Deployment"], ["desired", "Desired"], ["available", "Available"], ["state", "State"],
  ["owner", "Owner"], ["change", "Last change"],
];

function row() {
  const cells = {};
  const cell = (name, ...children) => h("div", { role: "cell", class: `c-${name}` }, ...children);
  cells.pick = h("input", { type: "checkbox", "data-do": "pick", tabindex: -1 });
  cells.namespace = h("bdi", { class: "ns" });
  cells.name = h("bdi", { class: "nm" });
  cells.open = h("button", { type: "button", class: "open", "data-do": "open", tabindex: -1 }, cells.namespace, " / ", cells.name);
  cells.less = h("button", { type: "button", "data-do": "less", tabindex: -1 }, "−");
  cells.want = h("button", { type: "button", class: "want", "data-do": "set", tabindex: -1 });
  cells.more = h("button", { type: "button", "data-do": "more", tabindex: -1 }, "+");
  cells.fill = h("i");
  cells.available = h("span", { class: "counts" });
  cells.mark = h("i", { class: "mark", "aria-hidden": "true" });
  cells.state = h("bdi");
  cells.act = h("button", { type: "button", class: "plain", "data-do": "act", tabindex: -1, hidden: true });
  cells.owner = h("span", { class: "owner" });
  cells.change = h("bdi");
  const element = h(
    "div", { role: "row", class: "row" },
    cell("pick", cells.pick), cell("name", cells.open),
    cell("desired", h("span", { class: "step" }, cells.less, cells.want, cells.more)),
    cell("available", h("span", { class: "bar", "aria-hidden": "true" }, cells.fill), cells.available),
    cell("state", cells.mark, cells.state, cells.act), cell("owner", cells.owner), cell("change", cells.change),
  );
  cells.tabs = [cells.pick, cells.open, cells.less, cells.want, cells.more, cells.act];
  return Object.assign(element, { cells, record: null, index: -1 });
}

export class Table {
  rows = []; // records, in the order that is shown
  selected = new Set(); // keys
  current = ""; // the key that the keyboard is at
  holding = false; // whether the order is kept although another one would be right
  #with;
  #body;
  #live = new Map(); // elements by key
  #spare = [];
  #seen = -1; // the store's version that the order follows from
  #ordered = 0; // when it was made
  #whole = false; // whether the store was complete then
  #pressed = 0; // when something in a dialog was pressed last
  #index = 0; // the index of the row that the keyboard is at, or was before it went
  #home = ""; // the key of the row that Tab leads to
  #touched = 0; // when somebody last moved over the table, or used its keys
  #filter = {};
  #height = 44;
  #narrow = matchMedia("(max-width: 719px)");

  /** `parts` are the store, writes, access, and `act(what, record)`, `picked()`. */
  constructor(body, parts) {
    this.#body = body;
    this.#with = parts;
    const touch = () => { this.#touched = Date.now(); };
    for (const event of ["pointermove", "pointerdown", "keydown"]) body.addEventListener(event, touch, { passive: true });
    body.addEventListener("pointerleave", () => { this.#touched = 0; });
    body.addEventListener("click", (event) => this.#click(event));
    byId("dialog").addEventListener("click", () => { this.#pressed = Date.now(); });
    body.addEventListener("focusin", (event) => this.#focus(event.target.closest(".row")));
    this.#narrow.addEventListener("change", () => this.#measure());
    this.#measure();
  }

  /** Show what a filter lets through, from now on. */
  show(filter) {
    this.#filter = filter;
    this.#seen = -1;
    this.#touched = 0;
    this.#ordered = 0;
  }

  /** Whether another order may be due. */
  get stale() {
    return this.#seen !== this.#with.store.version;
  }

  release() {
    this.#touched = 0;
  }

  /** Draw what has changed. `changed` are keys; null for every row. */
  draw(changed) {
    this.#order();
    const top = this.#body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(-top / this.#height) - MARGIN);
    const last = Math.min(this.rows.length, Math.ceil((innerHeight - top) / this.#height) + MARGIN);
    const shown = [];
    for (let index = first; index < last; index += 1) shown.push(index);
    const focused = document.activeElement?.closest?.(".body > .row");
    let left = false; // whether the row that has the focus is not in the list any more
    if (focused) {
      const index = this.rows.findIndex((each) => each.key === focused.record.key);
      left = index < 0;
      if (!left) this.#index = index;
      if (!left && index < first) shown.unshift(index);
      else if (index >= last) shown.push(index);
    }
    const keys = new Set(shown.map((index) => this.rows[index].key));
    const home = keys.has(this.current) ? this.current : this.rows[Math.min(first + (first ? MARGIN : 0), last - 1)]?.key ?? "";
    if (home !== this.#home) {
      changed?.add(home).add(this.#home);
      this.#home = home;
    }
    for (const [key, element] of this.#live) {
      if (keys.has(key)) continue;
      this.#live.delete(key);
      element.remove();
      this.#spare.push(element);
    }
    let next = this.#body.firstElementChild;
    for (const index of shown) {
      const { key } = this.rows[index];
      const record = this.#with.store.records.get(key) ?? this.rows[index];
      let element = this.#live.get(key);
      const fresh = !element;
      if (fresh) {
        element = this.#spare.pop() ?? row();
        this.#live.set(key, element);
      }
      if (element === next) next = next.nextElementSibling;
      else this.#place(element, next);
      if (element.index !== index || fresh) this.#move(element, index);
      if (fresh || !changed || changed.has(key) || element.record !== record) this.#fill(element, record);
    }
    if (left) this.#refocus(); // in the place of a row that is gone is the next one
    return shown.map((index) => this.rows[index]);
  }

  #refocus() {
    if (this.rows.length) this.reach(Math.min(this.#index, this.rows.length - 1));
    else byId("search").focus({ preventScroll: true });
  }

  /**
   * Remember what has the focus, and return what brings it back after something else had it; false where it cannot.
   * In a row that is the Deployment's control, not the element: that may show another Deployment by then.
   */
  hold() {
    const held = document.activeElement;
    const what = held?.dataset?.do;
    const key = held?.closest?.(".body > .row")?.record.key;
    return () => {
      if (!key) held.focus({ preventScroll: true });
      else if (this.rows.every((each) => each.key !== key)) this.#refocus();
      else {
        const live = this.#live.get(key);
        live?.querySelector(`[data-do="${what}"]`)?.focus({ preventScroll: true });
        if (!live?.contains(document.activeElement)) this.reach(this.rows.findIndex((each) => each.key === key));
      }
      return document.activeElement !== document.body;
    };
  }

  #place(element, next) {
    const holds = element.contains(document.activeElement) && document.activeElement;
    this.#body.insertBefore(element, next);
    if (holds) holds.focus({ preventScroll: true }); // moved, it would have lost it
  }

  #order() {
    const { store } = this.#with;
    const now = Date.now();
    const early = now - this.#ordered < ORDER_MS && this.#whole === store.ready;
    if (this.#seen === store.version || early) return;
    this.#whole = store.ready; // all is there now: it is shown at once, not after a moment of "no Deployment"
    const rows = store.rows(this.#filter);
    const moved = rows.length !== this.rows.length || rows.some((each, index) => each.key !== this.rows[index].key);
    this.holding = moved && now - this.#touched < HOLD_MS && this.rows.length > 0;
    this.#ordered = now;
    if (this.holding) return;
    this.#seen = store.version;
    this.rows = rows;
    const before = this.selected.size;
    for (const key of this.selected) if (!store.records.has(key) && store.ready) this.selected.delete(key);
    this.#body.style.height = `${rows.length * this.#height}px`;
    if (moved || before !== this.selected.size) this.#with.picked();
  }

  #move(element, index) {
    element.index = index;
    element.style.transform = `translateY(${index * this.#height}px)`;
    mark(element, "aria-rowindex", String(index + 2));
  }

  #fill(element, record) {
    const { cells } = element;
    const { writes } = this.#with;
    const { key } = record;
    if (element.record?.key !== key) {
      say(cells.namespace, plain(record.namespace, 70));
      say(cells.name, plain(record.name, 260));
      for (const [button, label] of [
        [cells.pick, `Select ${key}`], [cells.open, `${key}: open`], [cells.less, `One less: ${key}`], [cells.more, `One more: ${key}`],
      ]) mark(button, "aria-label", label);
      mark(cells.open, "title", key);
    }
    element.record = record;
    const entry = writes.of(key);
    const wanted = writes.wanted(record);
    say(cells.want, brief(wanted));
    mark(cells.want, "title", wanted < 100_000 ? null : count(wanted));
    mark(cells.want, "aria-label", `Desired: ${wanted}. Set the count of ${key}`);
    for (const [button, by] of [[cells.less, -1], [cells.more, 1]]) {
      const why = writes.whyNot(record, wanted + by);
      mark(button, "aria-disabled", why ? "true" : null);
      mark(button, "title", why || null);
    }
    const [words, mood] = stateOf(record);
    const share = record.desired ? Math.min(1, record.available / record.desired) : 0;
    cells.fill.style.transform = `scaleX(${share})`;
    say(cells.available, availableOf(record));
    mark(cells.available, "title", record.desired < 100_000 ? null : `${count(record.available)} of ${count(record.desired)}`);
    const follows = entry?.change && entry.busy && mood !== "ok"; // then the state says how far it is
    const shown = follows ? `${entry.change}, ${words}` : entry?.words ?? words;
    say(cells.state, shown);
    mark(cells.state, "title", shown);
    mark(element, "data-mood", follows ? mood : entry?.mood ?? mood);
    mark(element, "data-bar", mood);
    mark(element, "data-busy", entry?.busy ? "true" : null);
    cells.act.hidden = !entry?.act;
    say(cells.act, entry?.act?.[0] ?? "");
    mark(cells.act, "aria-label", entry?.act?.[2] ?? null);
    mark(cells.act, "title", entry?.act?.[2] ? "Dismiss" : null);
    const [owner] = record.owners;
    say(cells.owner, owner ? plain(ownerOf(owner), 60) + (record.owners.length > 1 ? ` +${record.owners.length - 1}` : "") : "");
    mark(cells.owner, "title", owner ? record.owners.map(effectOf).map((each) => plain(each)).join("; ") : null);
    this.#date(element);
    const chosen = this.selected.has(key);
    cells.pick.checked = chosen;
    mark(element, "data-selected", chosen ? "true" : null);
    mark(element, "data-gone", record.gone ? "true" : null);
    for (const each of cells.tabs) each.tabIndex = key === this.#home ? 0 : -1;
    mark(element, "data-current", key === this.current ? "true" : null);
  }

  #date({ cells, record }) {
    const change = changeOf(record.change);
    say(cells.change, change);
    mark(cells.change, "title", change || null);
  }

  #click(event) {
    const what = event.target.closest("[data-do]");
    const element = event.target.closest(".row");
    if (!what || !element || (event.detail > 1 && Date.now() - this.#pressed < SLIP_MS)) return;
    const { record } = element;
    const name = what.dataset.do;
    if (name === "pick") this.pick(record, what.checked);
    else if (name === "act") {
      element.cells.open.focus({ preventScroll: true }); // this button goes
      this.#with.writes.of(record.key)?.act?.[1]();
    }
    else this.#with.act(name, record);
  }

  #focus(element) {
    if (!element || element.record.key === this.current) return;
    const before = this.current;
    this.current = element.record.key;
    this.draw(new Set([before, this.current]));
  }

  pick(record, chosen = !this.selected.has(record.key)) {
    if (chosen) this.selected.add(record.key);
    else this.selected.delete(record.key);
    this.draw(new Set([record.key]));
    this.#with.picked();
  }

  /** The record that the keyboard is at; undefined for none, and for one that the list does not show. */
  at() {
    const shown = this.rows.some((each) => each.key === this.current);
    return shown ? this.#with.store.records.get(this.current) : undefined;
  }

  /** Move the keyboard by so many rows. */
  step(by) {
    if (!this.rows.length) return;
    this.#touched = Date.now();
    const index = this.rows.findIndex((each) => each.key === this.current);
    this.reach(index < 0 ? 0 : Math.max(0, Math.min(this.rows.length - 1, index + by)));
  }

  /** Put the keyboard on a row, and scroll as little as shows it. */
  reach(index) {
    const head = document.querySelector(".heads").getBoundingClientRect().bottom;
    const top = this.#body.getBoundingClientRect().top + index * this.#height;
    const foot = innerHeight - 48;
    if (top < head) scrollBy(0, top - head - 1);
    else if (top + this.#height > foot) scrollBy(0, top + this.#height - foot);
    const before = this.current;
    this.current = this.rows[index].key;
    this.#index = index;
    this.draw(new Set([before, this.current]));
    this.#live.get(this.current)?.cells.open.focus({ preventScroll: true });
  }

  #measure() {
    this.#height = this.#narrow.matches ? 96 : 44;
    this.#seen = -1;
    this.#ordered = 0;
    for (const element of this.#live.values()) element.index = -1;
  }
}
