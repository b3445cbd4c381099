// Calls every route of the RFDs with the same client.
import { agent, dataOf, kdm } from "./client.js";

const path = { name: "nginx-deployment" };
const params = { path, query: { namespace: "default" } };

const counts1 = dataOf(await kdm.GET("/deployments", { params: { query: { namespace: "default" } } }));
console.log(`RFD 001: ${counts1.map((each) => `${each.deploymentName} ${each.replicaCount}`).join(", ")}`);
const updated1 = dataOf(await kdm.POST("/deployments/{name}/replicas", { params, body: { replicaCount: 4 } }));
console.log(`set: ${updated1.updatedReplicaCount}`);
console.log(`get: ${dataOf(await kdm.GET("/deployments/{name}/replicas", { params })).replicaCount}`);
console.log(`health: ${dataOf(await kdm.GET("/health")).status}`);

const counts156 = dataOf(await kdm.GET("/api/v1/deployments", { params: { query: { namespace: "default" } } }));
console.log(`RFD 156: ${counts156.map((each) => `${each.name} ${each.replicaCount}`).join(", ")}`);
const updated156 = dataOf(await kdm.PUT("/api/v1/deployments/{name}/replicas", { params, body: { replicaCount: 3 } }));
console.log(`set: ${updated156.message}`);
console.log(`get: ${dataOf(await kdm.GET("/api/v1/deployments/{name}/replicas", { params })).replicaCount}`);
console.log(`health: ${dataOf(await kdm.GET("/api/v1/health")).status}`);

await agent.close();
