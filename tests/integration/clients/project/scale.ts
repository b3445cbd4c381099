// Reads and changes a replica count with API v2, and waits for the Pods.
import { agent, dataOf, kdm } from "./client.js";

const path = { namespace: "shop", name: "storefront" };
const one = "/api/v2/namespaces/{namespace}/deployments/{name}";

const deployment = dataOf(await kdm.GET(one, { params: { path } }));
console.log(`${deployment.name}: ${deployment.replicas.desired} desired, ${deployment.rollout.state}`);

const list = dataOf(await kdm.GET("/api/v2/deployments", { params: { query: { labelSelector: "tier=edge" } } }));
console.log(`tier=edge: ${list.items.map((each) => `${each.namespace}/${each.name}`).join(", ")}`);

const body = { replicas: 12, currentReplicas: 10, reason: "sale" };
const written = dataOf(await kdm.PUT(`${one}/replicas`, { params: { path }, body }));
console.log(`set: ${written.replicas.previous} -> ${written.replicas.desired}`);

const { error, response } = await kdm.PUT(`${one}/replicas`, { params: { path }, body });
if (response.status === 409 && error !== undefined && "code" in error) {
  console.log(`${error.code}: expected ${error.expected?.currentReplicas}, found ${error.current?.replicas}`);
}

const adjusted = dataOf(
  await kdm.POST(`${one}/adjust`, {
    params: { path, header: { "Idempotency-Key": `"${crypto.randomUUID()}"` } },
    body: { delta: -2, min: 1 },
  }),
);
console.log(`adjusted: ${adjusted.replicas.previous} -> ${adjusted.replicas.desired}`);

const target = { uid: adjusted.uid, resourceVersion: adjusted.resourceVersion, replicas: adjusted.replicas.desired };
const rollout = dataOf(await kdm.GET(`${one}/rollout`, { params: { path, query: { wait: "60s", ...target } } }));
console.log(`rollout: ${rollout.outcome}, ${rollout.replicas?.available} available`);

await agent.close();
