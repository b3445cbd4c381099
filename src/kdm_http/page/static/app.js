// The page, put together: the stream fills the store, and each frame draws what has changed.

import { Access } from "./access.js";
import { go, onChange, state } from "./address.js";
import { read } from "./api.js";
import { button, byId, h, mark, say } from "./dom.js";
import { help, listen } from "./keys.js";
import { Plan } from "./plan.js";
import { apply } from "./preferences.js";
import { Side } from "./side.js";
import { Store, TILES } from "./store.js";
import { follow } from "./stream.js";
import { COLUMNS, Table } from "./table.js";
import { clock, count, many, plain, span } from "./words.js";
import { Writes } from "./writes.js";

const NAMES = { all: "all", zero: "at zero", parked: "parked", settling: "settling", blocked: "blocked", owned: "autoscaled" };
const SLOW_MS = 5000; // how often ages are drawn again
const MOST = 500;

let about = { user: { name: "", groups: [] }, features: {}, limits: { maxReplicas: 2147483647, maxReasonLength: 256 } };

apply();
const store = new Store();
const dialog = byId("dialog");
const announce = (text) => say(byId("status"), plain(text, 400));
const changed = (key) => store.changed.add(key);
const access = new Access(changed);
const plan = (records, options) => {
  if (records.length > 1 && !about.features.bulk) announce("This kdm does not change several at once.");
  else planner.open(records, options);
};
const writes = new Writes({ store, access, changed, announce, plan, limits: () => about.limits });
const planner = new Plan(dialog, { store, access, writes, announce, about: () => about, open: openDialog });
const table = new Table(byId("body"), { store, writes, access, act, picked: drawActions });
const hold = () => table.hold();
const side = new Side(byId("side"), { store, access, writes, announce, plan, about: () => about, hold, close: () => go({ open: "" }) });

let back = null; // gives the focus back to what had it before the dialog
function openDialog() {
  if (dialog.open) return;
  back = hold();
  document.activeElement.blur(); // or the browser would give it back itself, to a row that may be another one by then
  dialog.showModal();
}
dialog.addEventListener("close", () => {
  if (!back() && state.open) byId("side").focus({ preventScroll: true });
});

function act(what, record) {
  if (what === "more" || what === "less") writes.press(record, what === "more" ? 1 : -1);
  else if (what === "set") plan([record], { change: "replicas" });
  else if (what === "open") go({ open: record.key }, { push: true });
}

// What is chosen

const NEEDS = {
  parked: ["parking", "This kdm does not offer parking."],
  owned: ["owners", "This kdm does not look at owners, autoscalers among them."],
};
const offered = (tile) => !NEEDS[tile] || about.features[NEEDS[tile][0]] !== false;

const tiles = Object.fromEntries(TILES.map((tile) => {
  const number = h("b", {}, "0");
  const choose = () => (offered(tile) ? go({ tile: state.tile === tile ? "all" : tile }) : announce(NEEDS[tile][1]));
  const element = h("button", { type: "button", class: "tile", "data-tile": tile, onclick: choose }, number, h("span", {}, NAMES[tile]));
  return [tile, { element, number }];
}));
const batches = button("Parked batches", () => go({ open: "parked" }, { push: true }), { class: "quiet", id: "batches" });
byId("tiles").append(...Object.values(tiles).map((each) => each.element), batches);

const all = h("input", { type: "checkbox", id: "all", "aria-label": "Select all that are shown", onchange: pickAll });
const heads = Object.fromEntries(COLUMNS.map(([name, label]) => {
  const sort = () => go({ sort: state.sort === name ? `-${name}` : name });
  return [name, h("div", { role: "columnheader", class: `c-${name}` }, h("button", { type: "button", class: "sort", onclick: sort }, label))];
}));
byId("head").append(h("div", { role: "columnheader", class: "c-pick" }, all), ...Object.values(heads));
byId("order").append(...COLUMNS.flatMap(([name, label]) => [
  h("option", { value: name }, `${label} ↑`), h("option", { value: `-${name}` }, `${label} ↓`)]));

byId("search").addEventListener("input", (event) => go({ q: event.target.value }));
byId("namespace").addEventListener("change", (event) => go({ ns: event.target.value }));
byId("order").addEventListener("change", (event) => go({ sort: event.target.value }));
byId("help").addEventListener("click", () => help(dialog, openDialog));
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  if (table.rows.length) table.reach(0);
});

onChange(choose);
function choose() {
  if (byId("search").value !== state.q) byId("search").value = state.q;
  byId("order").value = state.sort;
  for (const [tile, { element }] of Object.entries(tiles)) mark(element, "aria-pressed", String(tile === state.tile));
  for (const [name, head] of Object.entries(heads)) {
    mark(head, "aria-sort", state.sort === name ? "ascending" : state.sort === `-${name}` ? "descending" : null);
  }
  drawNamespaces();
  table.show({ query: state.q, namespace: state.ns, tile: state.tile, sort: state.sort });
  side.show(state.open);
  everything = true;
}

function pickAll() {
  if (table.selected.size) table.selected.clear();
  else for (const each of table.rows.slice(0, MOST)) table.selected.add(each.key);
  if (table.rows.length > MOST && table.selected.size) announce(`The first ${count(MOST)} are selected: as many as one change can have.`);
  everything = true;
  drawActions();
}

// What is drawn

let everything = true;
let slow = 0;
let asked = 0;
let drawnNamespaces = "";

let scrolled = false;
for (const event of ["scroll", "resize"]) addEventListener(event, () => { scrolled = true; }, { passive: true });

function frame() {
  requestAnimationFrame(frame);
  const now = Date.now();
  const slowly = now - slow > SLOW_MS;
  const ticking = slowly || everything;
  if (slowly) slow = now;
  const keys = ticking ? null : new Set(store.changed);
  store.changed.clear();
  everything = false;
  if (ticking || keys.size || scrolled || table.stale) drawAll(keys, now);
  scrolled = false;
  side.draw();
}

function drawAll(keys, now) {
  const shown = table.draw(keys);
  for (const [tile, { element, number }] of Object.entries(tiles)) {
    const there = offered(tile);
    say(number, there ? count(store.counts[tile]) : "–");
    mark(element, "aria-disabled", there ? null : "true");
    mark(element, "title", there ? null : NEEDS[tile][1]);
  }
  const total = store.records.size;
  const rows = table.rows.length;
  const held = table.holding ? " · the order is held while you are here" : "";
  say(byId("count"), store.ready ? `${rows === total ? many(total, "Deployment") : `${count(rows)} of ${many(total, "Deployment")}`}${held}` : "");
  mark(byId("table"), "aria-rowcount", String(rows + 1));
  mark(byId("table"), "aria-busy", store.ready ? null : "true");
  drawEmpty(rows, total);
  drawNamespaces();
  if (now - asked > 300) {
    asked = now;
    access.want(shown);
  }
}

function drawNamespaces() {
  const names = [...store.namespaces.keys()].sort();
  if (state.ns && !store.namespaces.has(state.ns)) names.push(state.ns);
  const key = names.join();
  const select = byId("namespace");
  if (key !== drawnNamespaces) {
    drawnNamespaces = key;
    select.replaceChildren(h("option", { value: "" }, "every namespace"), ...names.map((each) => h("option", { value: each }, plain(each, 70))));
  }
  if (select.value !== state.ns) select.value = state.ns;
}

let refused = null; // why the stream was refused, where that is more than a lost connection

function drawEmpty(rows, total) {
  const element = byId("empty");
  const words = refused ? [refused] : !store.ready
    ? [total ? `Reading the Deployments … ${count(total)} so far` : "Reading the Deployments …"]
    : total === 0 ? ["There is no Deployment that you may see.", "If there should be one, ask whoever runs this kdm for a grant in its policy."]
      : ["No Deployment is like that.", "clear"];
  element.hidden = rows > 0 && !refused;
  const key = words.join();
  if (element.said === key || element.hidden) return;
  element.said = key;
  if (Object.values(refusals).includes(refused)) byId("table").before(element); // somebody has to do something
  else byId("table").after(element);
  const clear = () => button("Show all", () => go({ q: "", ns: "", tile: "all" }));
  element.replaceChildren(...words.map((each) => (each === "clear" ? clear() : h("p", {}, each))));
}

const picked = () => [...table.selected].map((key) => store.records.get(key)).filter(Boolean);
const doing = (change) => button(`${change === "replicas" ? "Scale" : change === "park" ? "Park" : "Restore"} …`, ({ currentTarget }) =>
  (currentTarget.title ? announce(currentTarget.title) : plan(picked(), { change, amount: null })));
const actions = {
  number: h("span", { class: "picked" }), scale: doing("replicas"), park: doing("park"), restore: doing("restore"),
  clear: button("Clear", () => { table.selected.clear(); everything = true; drawActions(); }),
};
byId("actions").append(...Object.values(actions));

/** Say what can be done with what is selected. The buttons stay the same: one of them may have the focus. */
function drawActions() {
  const number = table.selected.size;
  all.checked = number > 0;
  all.indeterminate = number > 0 && number < table.rows.length;
  const { features } = about;
  const none = number ? "" : "Select Deployments first.";
  const several = number > 1 && !features.bulk ? "This kdm does not change several at once." : "";
  const most = number > MOST ? `One change can have at most ${count(MOST)} Deployments.` : "";
  const scaling = none || several || most;
  const parking = scaling || (features.parking ? "" : "This kdm does not offer parking.");
  say(actions.number, number ? `${count(number)} selected` : "");
  for (const [element, why] of [[actions.scale, scaling], [actions.park, parking], [actions.restore, parking], [actions.clear, none]]) {
    mark(element, "aria-disabled", why ? "true" : null);
    mark(element, "title", why || null);
  }
  document.body.toggleAttribute("data-picked", number > 0);
}

// How fresh it is

let health = { is: "waiting", since: Date.now(), retryAt: 0 };
let tryNow = () => {};

function turn(is, since = Date.now()) {
  if (health.is === is) return;
  const spoken = { stale: "The counts are stale: the cluster is not heard from.", lost: "Disconnected. What is shown may be old.", live: health.is === "waiting" ? "" : "Connected: the counts are live." };
  health = { is, since, retryAt: 0 };
  if (spoken[is]) announce(spoken[is]);
  drawHealth();
}

function drawHealth() {
  const { is, since, retryAt } = health;
  const again = is === "lost" && retryAt > Date.now() ? `, again in ${span((retryAt - Date.now()) / 1000)}` : "";
  const words = { waiting: "connecting", live: "live", stale: `stale since ${clock(since)}`, lost: `disconnected since ${clock(since)}${again}` };
  say(byId("health-words"), words[is]);
  mark(byId("health"), "data-is", is);
  byId("retry").hidden = is !== "lost";
}

byId("retry").addEventListener("click", () => tryNow());
setInterval(drawHealth, 1000);

const refusals = {
  401: "This browser is not let in. With kdm ui: start it again, and open the address that it prints.",
  403: "The policy lets you see no Deployment. Ask whoever runs this kdm for a grant.",
};

follow({
  connected(resumed) {
    if (!resumed) store.begin();
    refused = null;
    learn();
    if (store.ready) turn("live");
  },
  event(name, data) {
    store.take(name, data);
    if (name === "synced" || name === "bookmark") turn(JSON.parse(data).stale ? "stale" : "live");
    else if (name === "stale" || name === "fresh") turn(name === "stale" ? "stale" : "live");
    else if (name === "reset") access.forget();
    if (name === "synced") everything = true;
  },
  rests() {
    turn("waiting");
  },
  lost(problem, retryAt, again, since) {
    turn("lost", since);
    health.retryAt = retryAt;
    tryNow = again;
    if (problem?.status >= 400) {
      refused = refusals[problem.status] ?? `${plain(problem.message, 400)}.`;
      announce(`Disconnected. ${refused} What is shown may be old.`);
      everything = true;
    }
    drawHealth();
  },
});

async function learn() {
  const before = JSON.stringify(about.features);
  try {
    about = await read("");
  } catch {
    return; // the stream's loss says more
  }
  if (JSON.stringify(about.features) !== before) side.renew();
  const { name, groups } = about.user;
  say(byId("who"), [name, ...groups].map((each) => plain(each, 80)).join(" · "));
  mark(byId("who"), "title", `kdm ${about.version}`);
  everything = true;
  drawActions();
}

const context = document.querySelector("meta[name=kdm-context]").content || location.host;
say(byId("context"), plain(context, 80));
document.title = `kdm · ${plain(context, 80)}`;

/** Do something to the Deployment that has the focus: the one that is open, or the one of a row. */
function here(act) {
  const record = byId("side").contains(document.activeElement) ? store.records.get(state.open) : table.at();
  if (record) act(record);
  else announce("Choose a Deployment first: j and k go up and down the list.");
}

listen({
  search: () => byId("search").focus(),
  next: () => table.step(1),
  previous: () => table.step(-1),
  more: () => here((record) => writes.press(record, 1)),
  less: () => here((record) => writes.press(record, -1)),
  pick: () => here((record) => table.pick(record)),
  set: () => (table.selected.size ? actions.scale.click() : here((record) => plan([record], { change: "replicas" }))),
  undo: () => side.undo(),
  help: () => help(dialog, openDialog),
  leave(target) {
    if (target === byId("search") && state.q) go({ q: "" });
    else if (state.open) go({ open: "" });
    else if (target.closest?.("#body")) {
      writes.forget(table.current);
      table.release();
    } else target.blur?.();
  },
});

drawActions();
choose();
requestAnimationFrame(frame);
