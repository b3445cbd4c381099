// A client of kdm that shows a certificate.
import { readFileSync } from "node:fs";
import createClient from "openapi-fetch";
import { Agent } from "undici";
import type { components, paths } from "./kdm.js";

const [baseUrl = "https://localhost:8443", certs = "certs"] = process.argv.slice(2);

export const agent = new Agent({
  connect: {
    ca: readFileSync(`${certs}/dev-ca.pem`),
    cert: readFileSync(`${certs}/dev-admin.pem`),
    key: readFileSync(`${certs}/dev-admin-key.pem`),
  },
  headersTimeout: 11 * 60_000, // in ms: a wait takes up to 10 minutes
});

export const kdm = createClient<paths>({ baseUrl, requestInitExt: { dispatcher: agent } });

type Failure = components["schemas"]["Problem"] | components["schemas"]["Error"];

/** Returns the data of an answer, or throws what went wrong. */
export function dataOf<T>(answer: { data?: T; error?: Failure; response: Response }): T {
  const { data, error, response } = answer;
  if (data !== undefined) return data;
  throw new Error(error === undefined ? response.statusText : "detail" in error ? error.detail : error.error);
}
