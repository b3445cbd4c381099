"""Some of the watched namespaces can be read, and some cannot: in both dialects the former are served."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import DeploymentRef, DeploymentService
from kdm_http.api.app import create_app
from unit.http.conftest import Admitted

EVERYWHERE: tuple[dict[str, str], ...] = ({}, {"namespace": "*"})


@pytest.fixture
async def repository() -> AsyncIterator[MemoryDeploymentRepository]:
    """Two namespaces are watched, of which "blog" cannot be read."""
    repository = MemoryDeploymentRepository(namespaces=["blog", "shop"])
    repository.faults.disconnected_namespaces = frozenset({"blog"})
    async with repository:
        for namespace in ("blog", "shop"):
            repository.cluster.create(DeploymentRef(namespace, "web"), 2)
        yield repository


@pytest.fixture(params=["", "/api/v1"], ids=["rfd001", "rfd156"])
def base(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_the_one_that_can_be_read_is_served(client: httpx.AsyncClient, base: str) -> None:
    shop = {"namespace": "shop"}
    assert (await client.get(f"{base}/deployments", params=shop)).status_code == 200
    assert (await client.get(f"{base}/deployments/web/replicas", params=shop)).json()["replicaCount"] == 2


async def test_the_other_is_503_and_says_why(client: httpx.AsyncClient, base: str) -> None:
    for path in (f"{base}/deployments", f"{base}/deployments/web/replicas"):
        answer = await client.get(path, params={"namespace": "blog"})
        assert answer.status_code == 503
        assert "namespace 'blog': the first list has not been read yet" in answer.json()["error"]
        assert "retry-after" in answer.headers


@pytest.mark.parametrize("everywhere", EVERYWHERE)
async def test_reads_over_all_name_the_missing_one_and_what_can_be_read(
    client: httpx.AsyncClient, base: str, everywhere: dict[str, str]
) -> None:
    for path in (f"{base}/deployments", f"{base}/deployments/web/replicas"):
        answer = await client.get(path, params=everywhere)
        assert answer.status_code == 503
        error = answer.json()["error"]
        assert "namespace 'blog'" in error
        assert "name a namespace to read it alone; these can be read: shop" in error


async def test_writes_to_the_one_that_can_be_read_work(
    client: httpx.AsyncClient, repository: MemoryDeploymentRepository
) -> None:
    answer = await client.post("/deployments/web/replicas", params={"namespace": "shop"}, json={"replicaCount": 5})
    assert answer.status_code == 200
    assert repository.cluster.deployments[DeploymentRef("shop", "web")].replicas.desired == 5


async def test_health_names_the_missing_one(client: httpx.AsyncClient, base: str) -> None:
    answer = await client.get(f"{base}/health")
    assert answer.status_code == 503
    assert "namespace 'blog'" in answer.json()["error"]


async def test_a_default_namespace_that_can_be_read_is_served_without_naming_it(
    repository: MemoryDeploymentRepository, base: str
) -> None:
    app = create_app(DeploymentService(repository, namespace="shop"))
    transport = httpx.ASGITransport(Admitted(app), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://kdm.test") as client:
        assert (await client.get(f"{base}/deployments/web/replicas")).json()["replicaCount"] == 2


async def test_once_it_can_be_read_everything_is(
    client: httpx.AsyncClient, repository: MemoryDeploymentRepository, base: str
) -> None:
    repository.faults.disconnected_namespaces = frozenset()
    assert len((await client.get("/api/v1/deployments")).json()) == 2
    assert (await client.get(f"{base}/health")).status_code == 200
