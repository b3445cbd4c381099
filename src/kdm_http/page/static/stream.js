// The one stream of this page: server-sent events by fetch, which shows errors that EventSource hides.

import { openStream } from "./api.js";

const SILENCE_MS = 40_000; // the server says something each 15 s
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const REST_MS = 10_000; // a tab that nobody sees for so long has no stream: a browser has six connections for all tabs

/** Split a stream's text into events. Keeps what is not whole yet. */
export class Events {
  #rest = "";
  id = "";

  /** Take a piece of text, and call `each(name, data)` for every event that is complete. */
  take(text, each) {
    const blocks = (this.#rest + text).split("\n\n");
    this.#rest = blocks.pop();
    for (const block of blocks) {
      let name = "";
      let data = "";
      for (const line of block.split("\n")) {
        if (line.startsWith("event: ")) name = line.slice(7);
        else if (line.startsWith("data: ")) data = line.slice(6);
        else if (line.startsWith("id: ")) this.id = line.slice(4);
        else if (line === "id:") this.id = "";
      }
      if (name) each(name, data);
    }
  }
}

/**
 * Follow the stream for as long as the page lives.
 *
 * `on.event(name, data)`, `on.connected(resumed)`, `on.rests()` while nobody sees the page, and
 * `on.lost(problem, retryAt, try, since)` when it is to be tried again.
 */
export async function follow(on) {
  let id = "";
  let wait = FIRST_WAIT_MS;
  let last = Date.now(); // when something came last
  for (;;) {
    await seen();
    let problem = null;
    const abort = new AbortController();
    let silence = 0;
    const ending = new AbortController();
    let rests = false;
    let taking = false;
    const rest = () => {
      rests = true;
      abort.abort();
    };
    whenUnseen(rest, ending.signal);
    const heard = () => {
      last = Date.now();
      clearTimeout(silence);
      silence = setTimeout(() => abort.abort(), SILENCE_MS);
    };
    try {
      silence = setTimeout(() => abort.abort(), SILENCE_MS);
      const body = await openStream(id, abort.signal);
      const events = new Events();
      events.id = id;
      const reader = body.pipeThrough(new TextDecoderStream()).getReader();
      on.connected(id !== "");
      heard();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        heard();
        taking = true;
        events.take(piece.value, on.event);
        taking = false;
        id = events.id;
        wait = FIRST_WAIT_MS;
      }
    } catch (error) {
      problem = error;
      if (taking) id = ""; // what came makes no sense: everything again, not the same again
    }
    ending.abort();
    clearTimeout(silence);
    abort.abort();
    if (rests) {
      on.rests();
      continue;
    }
    await new Promise((resolve) => {
      const pause = wait * (0.75 + Math.random() / 2);
      const timer = setTimeout(resolve, pause);
      on.lost(problem, Date.now() + pause, () => {
        clearTimeout(timer);
        resolve();
      }, last);
    });
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }
}

const unseen = () => document.visibilityState === "hidden";

/** Wait until somebody sees the page. */
async function seen() {
  while (unseen()) await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}

/** Call `rest` when nobody has seen the page for a while, until `signal` ends it. */
function whenUnseen(rest, signal) {
  let timer = 0;
  const look = () => {
    clearTimeout(timer);
    if (unseen()) timer = setTimeout(rest, REST_MS);
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  document.addEventListener("visibilitychange", look, { signal });
  look();
}
