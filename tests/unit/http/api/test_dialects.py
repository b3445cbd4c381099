"""Every example in both RFDs, to the letter."""

from __future__ import annotations

import httpx
import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import DeploymentRef


async def body(answer: httpx.Response, status: int = 200) -> bytes:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.content


async def test_rfd001_get_replica_count(client: httpx.AsyncClient) -> None:
    answer = await client.get("/deployments/nginx-deployment/replicas")
    assert await body(answer) == b'{"deploymentName":"nginx-deployment","replicaCount":3}'


async def test_rfd001_set_replica_count(client: httpx.AsyncClient, repository: MemoryDeploymentRepository) -> None:
    answer = await client.post("/deployments/nginx-deployment/replicas", json={"replicaCount": 5})
    assert await body(answer) == b'{"deploymentName":"nginx-deployment","updatedReplicaCount":5}'
    assert repository.cluster.deployments[DeploymentRef("default", "nginx-deployment")].replicas.desired == 5
    answer = await client.get("/deployments/nginx-deployment/replicas")
    assert await body(answer) == b'{"deploymentName":"nginx-deployment","replicaCount":5}'


async def test_rfd001_list_deployments(client: httpx.AsyncClient) -> None:
    answer = await client.get("/deployments", params={"namespace": "default"})
    assert await body(answer) == (
        b'[{"deploymentName":"nginx-deployment","replicaCount":3},{"deploymentName":"redis-deployment","replicaCount":1}]'
    )


async def test_rfd156_get_replica_count(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/deployments/nginx-deployment/replicas")
    assert await body(answer) == b'{"name":"nginx-deployment","replicaCount":3}'


async def test_rfd156_set_replica_count(client: httpx.AsyncClient, repository: MemoryDeploymentRepository) -> None:
    answer = await client.put("/api/v1/deployments/nginx-deployment/replicas", json={"replicaCount": 5})
    assert await body(answer) == b'{"message":"Replica count updated successfully."}'
    assert repository.cluster.deployments[DeploymentRef("default", "nginx-deployment")].replicas.desired == 5


async def test_rfd156_list_deployments(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/deployments", params={"namespace": "default"})
    assert await body(answer) == (
        b'[{"name":"nginx-deployment","replicaCount":3},{"name":"redis-deployment","replicaCount":1}]'
    )


@pytest.mark.parametrize("path", ["/health", "/api/v1/health"])
async def test_health_in_both(client: httpx.AsyncClient, path: str) -> None:
    assert await body(await client.get(path)) == b'{"status":"healthy","kubernetes":"connected"}'


@pytest.mark.parametrize("path", ["/health", "/api/v1/health"])
async def test_unhealthy_in_both(client: httpx.AsyncClient, repository: MemoryDeploymentRepository, path: str) -> None:
    repository.faults.unreachable = True
    answer = await client.get(path)
    assert await body(answer, 503) == b'{"status":"unhealthy","error":"the watch is broken"}'


@pytest.mark.parametrize("base", ["", "/api/v1"])
async def test_a_list_is_ordered_by_namespace_then_name(client: httpx.AsyncClient, base: str) -> None:
    answer = await client.get(f"{base}/deployments")
    names = [each.get("name") or each.get("deploymentName") for each in answer.json()]
    assert names == ["nginx-deployment", "redis-deployment", "api", "api"]
    assert [each["replicaCount"] for each in answer.json()] == [3, 1, 4, 8]


@pytest.mark.parametrize("base", ["", "/api/v1"])
async def test_a_namespace_without_deployments_is_an_empty_list(client: httpx.AsyncClient, base: str) -> None:
    assert await body(await client.get(f"{base}/deployments", params={"namespace": "nowhere"})) == b"[]"


@pytest.mark.parametrize(("base", "method"), [("", "POST"), ("/api/v1", "PUT")])
async def test_namespace_chooses_on_every_route(
    client: httpx.AsyncClient, repository: MemoryDeploymentRepository, base: str, method: str
) -> None:
    shop = {"namespace": "shop"}
    assert (await client.get(f"{base}/deployments/api/replicas", params=shop)).json()["replicaCount"] == 8
    answer = await client.request(method, f"{base}/deployments/api/replicas", params=shop, json={"replicaCount": 9})
    assert answer.status_code == 200
    assert repository.cluster.deployments[DeploymentRef("shop", "api")].replicas.desired == 9
    assert repository.cluster.deployments[DeploymentRef("payments", "api")].replicas.desired == 4
    assert len((await client.get(f"{base}/deployments", params=shop)).json()) == 1
    assert len((await client.get(f"{base}/deployments", params={"namespace": "*"})).json()) == 4
    assert (await client.get(f"{base}/health", params=shop)).status_code == 200


async def test_every_answer_carries_a_request_id_and_is_not_served_from_a_cache(client: httpx.AsyncClient) -> None:
    for path in ("/deployments", "/nowhere"):
        answer = await client.get(path)
        assert answer.headers["cache-control"] == "private, no-cache"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert len(answer.headers["x-request-id"]) == 16
    answer = await client.get("/deployments", headers={"X-Request-ID": "mine-1.2_3"})
    assert answer.headers["x-request-id"] == "mine-1.2_3"
    answer = await client.get("/deployments", headers={"X-Request-ID": "bad id\t"})
    assert answer.headers["x-request-id"] != "bad id\t"
