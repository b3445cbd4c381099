// What is shown is in the address, behind its #: it can be shared and kept, and the server never sees it.

import { SORTS, TILES } from "./store.js";

const USUAL = { q: "", ns: "", tile: "all", sort: "name", open: "" };

export const state = { ...USUAL };
const listeners = [];

export const onChange = (listener) => listeners.push(listener);

function parse() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(USUAL)) state[name] = (given.get(name) ?? USUAL[name]).slice(0, 400);
  if (!TILES.includes(state.tile)) state.tile = USUAL.tile;
  if (!SORTS.includes(state.sort)) state.sort = USUAL.sort;
}

/** Show something else. `push` makes it a step that the browser's Back takes back. */
export function go(changes, { push = false } = {}) {
  Object.assign(state, changes);
  const given = Object.entries(state).filter(([name, value]) => value !== USUAL[name]);
  const hash = new URLSearchParams(given).toString();
  const address = location.pathname + location.search + (hash ? `#${hash}` : "");
  if (push) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
  for (const listener of listeners) listener(state);
}

parse();
addEventListener("popstate", () => {
  parse();
  for (const listener of listeners) listener(state);
});
