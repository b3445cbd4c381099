// Calls of kdm's API. Every write has a key of its own, so sending it again cannot do it twice.

import { heed } from "./words.js";

const BASE = "/api/v2";
const TRIES = 3;
const PATIENCE_MS = 90_000; // then nobody will answer any more: the server ends every call sooner

/** What the API answered instead of what was asked for (RFC 9457), or that nobody answered: then `status` is 0. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.error || `the server answered ${status}`);
    Object.assign(this, { status, code: body.code ?? "", written: body.written ?? null, body });
  }
}

export const pathOf = (record) =>
  `/namespaces/${encodeURIComponent(record.namespace)}/deployments/${encodeURIComponent(record.name)}`;

const parameters = (query) => {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
};

async function answerOf(response) {
  const text = await response.text();
  let body = {};
  try {
    body = text ? JSON.parse(text) : {};
  } catch {
    body = null;
  }
  if (body === null || typeof body !== "object") {
    // A gateway's page: of a write, it does not say whether it was done.
    throw new Problem(response.ok ? 0 : response.status, { detail: `the server answered ${response.status}, and not in JSON` });
  }
  if (!response.ok) throw new Problem(response.status, body);
  return { body, tag: response.headers.get("etag") };
}

async function call(path, options) {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  try {
    const response = await fetch(BASE + path, { credentials: "same-origin", cache: "no-store", signal, ...options });
    if (response.ok) heed(response.headers.get("date")); // a refusal may be from something between
    return await answerOf(response);
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem(0, { detail: "kdm does not answer" }); // nor where an answer breaks off
  }
}

export const read = async (path, query = {}, options = {}) => (await call(path + parameters(query), options)).body;

/** Write, and send it again under the same key where nobody answered. */
export async function write(method, path, body, { query = {}, match = "" } = {}) {
  const headers = { "content-type": "application/json", "idempotency-key": `"${key()}"` };
  if (match) headers["if-match"] = match;
  for (let tries = 1; ; tries += 1) {
    try {
      return await call(path + parameters(query), { method, headers, body: JSON.stringify(body) });
    } catch (error) {
      const again = error.status === 0 || error.code === "idempotency-key-in-flight";
      if (!again || tries === TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, 400 * 2 ** tries));
    }
  }
}

function key() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (each) => each.toString(16).padStart(2, "0")).join("");
}

/** Open the stream of everything the caller may see. */
export async function openStream(lastEventId, signal) {
  const headers = { accept: "text/event-stream" };
  if (lastEventId) headers["last-event-id"] = lastEventId;
  const options = { headers, signal, credentials: "same-origin", cache: "no-store" };
  const response = await fetch(`${BASE}/deployments?watch=true`, options);
  if (!response.ok) await answerOf(response);
  heed(response.headers.get("date"));
  return response.body;
}
