// What is refused has the type that the description says, whether the API refuses it or the server before it.
import { agent, kdm } from "./client.js";

const path = { namespace: "shop", name: "nowhere" };
const one = "/api/v2/namespaces/{namespace}/deployments/{name}";

const missing = await kdm.GET(one, { params: { path } });
if (missing.error !== undefined && "code" in missing.error) {
  console.log(`${missing.error.status} ${missing.error.code}: ${missing.error.detail}`);
}
const headers = { "X-Long": "x".repeat(100_000) };
const long = await kdm.GET(one, { params: { path }, headers });
if (long.error !== undefined && "error" in long.error) console.log(`${long.response.status}: ${long.error.error}`);

const rfd = await kdm.GET("/api/v1/deployments/{name}/replicas", { params: { path: { name: "nowhere" } } });
if (rfd.error !== undefined) console.log(`${rfd.response.status}: ${rfd.error.error}`);

await agent.close();
