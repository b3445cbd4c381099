// The one stream of this page: server-sent events by fetch, which shows errors that EventSource hides.

import { openStream } from "./api.js";

const SILENCE_MS = 40_000; // the server says something each 15 s
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;

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
 * `on.event(name, data)`, `on.connected(resumed)`, and `on.lost(problem, retryAt, try)` when it is to be tried again.
 */
export async function follow(on) {
  let id = "";
  let wait = FIRST_WAIT_MS;
  for (;;) {
    let problem = null;
    const abort = new AbortController();
    let silence = 0;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => abort.abort(), SILENCE_MS);
    };
    try {
      heard();
      const body = await openStream(id, abort.signal);
      const events = new Events();
      events.id = id;
      const reader = body.pipeThrough(new TextDecoderStream()).getReader();
      on.connected(id !== "");
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        heard();
        events.take(piece.value, on.event);
        id = events.id;
        wait = FIRST_WAIT_MS;
      }
    } catch (error) {
      problem = error;
    }
    clearTimeout(silence);
    abort.abort();
    await new Promise((resolve) => {
      const pause = wait * (0.75 + Math.random() / 2);
      const timer = setTimeout(resolve, pause);
      on.lost(problem, Date.now() + pause, () => {
        clearTimeout(timer);
        resolve();
      });
    });
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }
}
