// Reads and writes over mutual TLS with a client that is generated from kdm's description.
import { readFileSync } from "node:fs";
import createClient from "openapi-fetch";
import { Agent, fetch as undici } from "undici";
import type { components, paths } from "./kdm.js";

const [url, certs] = process.argv.slice(2) as [string, string];
const read = (name: string): string => readFileSync(`${certs}/${name}.pem`, "utf8");
const dispatcher = new Agent({ connect: { ca: read("dev-ca"), cert: read("dev-admin"), key: read("dev-admin-key") } });
const kdm = createClient<paths>({
  baseUrl: url,
  fetch: async (request: Request): Promise<Response> => {
    const { method, headers } = request;
    const body = method === "GET" ? undefined : await request.text();
    const answer = await undici(request.url, { method, headers: Object.fromEntries(headers), body, dispatcher });
    return new Response(await answer.text(), { status: answer.status, headers: Object.fromEntries(answer.headers) });
  },
});

const path = { namespace: "shop", name: "storefront" };
const before = await kdm.GET("/api/v2/namespaces/{namespace}/deployments/{name}", { params: { path } });
const written = await kdm.PUT("/api/v2/namespaces/{namespace}/deployments/{name}/replicas", {
  params: { path, query: { wait: "10s" } },
  body: { replicas: 7, currentReplicas: before.data?.replicas.desired ?? null },
});
const refused = await kdm.POST("/api/v2/namespaces/{namespace}/deployments/{name}/adjust", {
  params: { path },
  body: { delta: 1, max: 7 },
});
const problem = refused.error as components["schemas"]["Problem"];
console.log(written.data?.replicas.desired, written.data?.rollout?.outcome, problem.code, problem.written);
