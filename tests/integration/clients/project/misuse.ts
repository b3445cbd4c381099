// What must not compile: a line that does makes tsc fail.
import { dataOf, kdm } from "./client.js";

const path = { namespace: "shop", name: "storefront" };
const one = "/api/v2/namespaces/{namespace}/deployments/{name}";

export async function misuse(): Promise<void> {
  // @ts-expect-error: no such route
  await kdm.GET("/api/v2/deployment");
  // @ts-expect-error: no namespace in the path
  await kdm.GET(one, { params: { path: { name: "storefront" } } });
  // @ts-expect-error: a misspelt parameter
  await kdm.GET("/api/v2/deployments", { params: { query: { labelselector: "tier=edge" } } });
  // @ts-expect-error: a value that a parameter cannot have
  await kdm.PUT(`${one}/replicas`, { params: { path, query: { dryRun: "true" } }, body: { replicas: 1 } });
  // @ts-expect-error: no count
  await kdm.PUT(`${one}/replicas`, { params: { path }, body: { reason: "sale" } });
  const written = dataOf(await kdm.PUT(`${one}/replicas`, { params: { path }, body: { replicas: 1 } }));
  // @ts-expect-error: the count before is not always known
  written.replicas.previous.toFixed();
}
