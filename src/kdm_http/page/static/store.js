// What the page knows: one record for each Deployment, kept up to date by the stream, and numbers over all of them.

import { isAutoscaler, plain } from "./words.js";

export const TILES = ["all", "zero", "parked", "settling", "blocked", "owned"];

const COLUMNS = ["name", "desired", "available", "state", "owner", "change"];
export const SORTS = COLUMNS.flatMap((name) => [name, `-${name}`]);

const SAMPLES = 240; // of one Deployment's counts over the session
const SERIES = 400; // Deployments of which samples are kept: the newest to change, or to be looked at

const instant = (text) => (text ? Date.parse(text) : 0);

function recordOf(body, before) {
  const { namespace, name, replicas, rollout } = body;
  const labels = Object.entries(body.labels).map(([key, value]) => `${key}=${value}`).join(" ");
  const change = body.lastChange && { ...body.lastChange, at: instant(body.lastChange.at) }; // 0: nobody knows when
  const parked = body.parked && { ...body.parked, at: instant(body.parked.at) };
  const owners = body.owners ?? [];
  const same = before && before.state === rollout.state;
  return {
    key: `${namespace}/${name}`, namespace, name, labels, owners, change, parked,
    uid: body.uid, version: body.resourceVersion, paused: body.paused,
    desired: replicas.desired, current: replicas.current, updated: replicas.updated,
    ready: replicas.ready, available: replicas.available,
    state: rollout.state, message: rollout.message,
    since: same ? before.since : Date.now(),
    tiles: tilesOf(replicas, rollout, parked, owners),
    text: `${namespace}/${name} ${labels}`.toLowerCase(),
    gone: false, round: 0,
  };
}

function tilesOf(replicas, rollout, parked, owners) {
  let tiles = 1;
  if (replicas.desired === 0) tiles |= 2;
  if (parked) tiles |= 4;
  if (rollout.state === "settling" || rollout.state === "observing") tiles |= 8;
  if (rollout.state === "blocked" || rollout.state === "stalled") tiles |= 16;
  if (owners.some(isAutoscaler)) tiles |= 32;
  return tiles;
}

const before = (a, b) => a.namespace < b.namespace || (a.namespace === b.namespace && a.name < b.name);

export class Store {
  records = new Map();
  sorted = []; // by namespace, then name
  counts = Object.fromEntries(TILES.map((tile) => [tile, 0]));
  namespaces = new Map(); // how many Deployments each has
  version = 0; // grows with whatever can change which rows there are, and in which order
  changed = new Set(); // the keys of rows to draw again
  ready = false; // whether all that is present has come once
  series = new Map();
  own = new Map(); // the newest count that this page wrote, by key: {desired, actor, reason}
  #round = 0;

  /** Take an event of the stream. Returns its name. */
  take(name, data) {
    if (name === "present" || name === "added" || name === "modified") this.#put(JSON.parse(data));
    else if (name === "deleted") this.#remove(JSON.parse(data));
    else if (name === "reset") this.begin();
    else if (name === "synced") this.#finish();
    return name;
  }

  /** The present state comes again: what is not in it at its end is gone. Until then everything stays as it is. */
  begin() {
    this.#round += 1;
  }

  #finish() {
    for (const record of [...this.records.values()]) if (record.round !== this.#round) this.#drop(record);
    this.ready = true;
    this.version += 1;
  }

  #put(body) {
    const key = `${body.namespace}/${body.name}`;
    const old = this.records.get(key);
    const record = recordOf(body, old?.uid === body.uid ? old : null);
    record.round = this.#round;
    this.records.set(key, record);
    this.changed.add(key);
    if (old) {
      if (old.tiles !== record.tiles) this.#count(old, -1);
      if (old.tiles !== record.tiles) this.#count(record, 1);
      this.sorted[this.#place(record)] = record;
    } else {
      this.sorted.splice(this.#place(record), 0, record);
      this.namespaces.set(record.namespace, (this.namespaces.get(record.namespace) ?? 0) + 1);
      this.#count(record, 1);
    }
    this.version += 1;
    if (old && (old.desired !== record.desired || old.available !== record.available)) this.#sample(record, old);
  }

  #remove(body) {
    const record = this.records.get(`${body.namespace}/${body.name}`);
    if (record) this.#drop(record);
  }

  #drop(record) {
    record.gone = true; // a row that is held on screen still shows it, and says so
    this.records.delete(record.key);
    this.sorted.splice(this.#place(record), 1);
    const left = this.namespaces.get(record.namespace) - 1;
    if (left) this.namespaces.set(record.namespace, left);
    else this.namespaces.delete(record.namespace);
    this.#count(record, -1);
    this.series.delete(record.key);
    this.own.delete(record.key);
    this.changed.add(record.key);
    this.version += 1;
  }

  #place(record) {
    let low = 0;
    let high = this.sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (before(this.sorted[middle], record)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #count(record, by) {
    TILES.forEach((tile, bit) => {
      if (record.tiles & (1 << bit)) this.counts[tile] += by;
    });
  }

  /** The samples of a Deployment's counts, from now on at the latest. */
  watch(record) {
    const kept = this.series.get(record.key);
    const series = kept?.uid === record.uid ? kept : { uid: record.uid, samples: [sampleOf(record)], changes: [] };
    this.series.delete(record.key);
    this.series.set(record.key, series); // the last is the newest to be used
    if (this.series.size > SERIES) this.series.delete(this.series.keys().next().value);
    return series;
  }

  #sample(record, old) {
    const known = this.series.get(record.key)?.uid === record.uid;
    const series = known ? this.watch(record) : this.watch(old);
    series.samples.push(sampleOf(record));
    if (series.samples.length > SAMPLES) series.samples.shift();
    if (old.desired === record.desired) return;
    const own = this.own.get(record.key);
    const mine = own?.desired === record.desired;
    if (mine) this.own.delete(record.key); // once: the next change to this count may be somebody else's
    const { actor = "", manager = "", reason = "" } = mine ? own : record.change ?? {};
    series.changes.unshift({ at: Date.now(), previous: old.desired, desired: record.desired, actor, manager, reason });
    series.changes.length = Math.min(series.changes.length, 20);
  }

  /** The rows that a filter lets through, in an order. */
  rows({ query, namespace, tile, sort }) {
    const bit = 1 << TILES.indexOf(tile);
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.sorted.filter(
      (each) => each.tiles & bit && (!namespace || each.namespace === namespace) && words.every((word) => each.text.includes(word)),
    );
    const [column, direction] = sort.startsWith("-") ? [sort.slice(1), -1] : [sort, 1];
    const key = ORDERS[column];
    if (key) found.sort((a, b) => direction * compare(key(a), key(b)));
    else if (direction < 0) found.reverse();
    return found;
  }
}

const sampleOf = (record) => [Date.now(), record.desired, record.available];

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const URGENCY = { blocked: 0, stalled: 1, settling: 2, observing: 2, paused: 3, settled: 4 };

const ORDERS = {
  desired: (each) => each.desired,
  available: (each) => (each.desired ? each.available / each.desired : 1),
  state: (each) => URGENCY[each.state] ?? 5,
  owner: (each) => plain(each.owners[0]?.kind ?? "~", 60),
  change: (each) => -(each.change?.at ?? 0),
};
