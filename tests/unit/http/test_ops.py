"""The plain listener: whether kdm lives, is ready, and what it counts. Nothing of the API."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import DeploymentRepository, DeploymentService, SourceStatus, SyncStatus, Trouble
from kdm_http.ops import create_ops_app


@pytest.fixture
def stopping() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def ops(service: DeploymentService, stopping: asyncio.Event) -> AsyncIterator[httpx.AsyncClient]:
    app = create_ops_app(
        service, lambda accept: (b"up 1\n", "text/plain; version=0.0.4; charset=utf-8" if accept != "x/y" else accept)
    )

    async def as_served(scope: Any, receive: Any, send: Any) -> None:
        scope["state"] = {"stopping": stopping}
        await app(scope, receive, send)

    transport = httpx.ASGITransport(as_served, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://ops.test") as client:
        yield client


@asynccontextmanager
async def _ops_of(repository: DeploymentRepository) -> AsyncIterator[httpx.AsyncClient]:
    app = create_ops_app(DeploymentService(repository), lambda _: (b"", ""))

    async def as_served(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    transport = httpx.ASGITransport(as_served, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://ops.test") as client:
        yield client


async def test_alive_whatever_the_cluster_does(ops: httpx.AsyncClient, repository: MemoryDeploymentRepository) -> None:
    repository.faults.unreachable = True
    repository.faults.not_synced = True
    assert (await ops.get("/livez")).status_code == 200


async def test_ready_once_synced_and_until_it_stops(
    ops: httpx.AsyncClient, repository: MemoryDeploymentRepository, stopping: asyncio.Event
) -> None:
    assert (await ops.get("/readyz")).status_code == 200
    repository.faults.unreachable = True  # the cache still answers reads
    assert (await ops.get("/readyz")).status_code == 200
    stopping.set()
    answer = await ops.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"error": "stopping"})


async def test_not_ready_before_the_first_sync_and_says_why(
    ops: httpx.AsyncClient, repository: MemoryDeploymentRepository
) -> None:
    repository.faults.not_synced = True
    answer = await ops.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"error": "not synced yet (all namespaces: it has not been read yet)"}


async def test_ready_once_one_of_the_namespaces_can_be_read() -> None:
    async with MemoryDeploymentRepository(namespaces=["blog", "shop"]) as repository, _ops_of(repository) as ops:
        assert (await ops.get("/readyz")).status_code == 200
    unsynced = MemoryDeploymentRepository(namespaces=["blog", "shop"])
    unsynced.faults.disconnected_namespaces = frozenset({"blog"})
    async with unsynced as repository, _ops_of(repository) as ops:
        assert (await ops.get("/readyz")).status_code == 200
    unsynced = MemoryDeploymentRepository(namespaces=["blog", "shop"])
    unsynced.faults.disconnected_namespaces = frozenset({"blog", "shop"})
    async with unsynced as repository, _ops_of(repository) as ops:
        answer = await ops.get("/readyz")
        assert answer.status_code == 503
        assert answer.json() == {
            "error": "not synced yet (namespace 'blog': it has not been read yet; "
            "namespace 'shop': it has not been read yet)"
        }


SECRET = "exec plugin said: token hunter2 for https://10.9.8.7:6443"


class Talkative(MemoryDeploymentRepository):
    """One that tells what others said, as a real one may."""

    def __init__(self, *sources: SourceStatus, synced: bool = False) -> None:
        super().__init__()
        self._told = SyncStatus(synced, synced, "", math.inf, reason=SECRET, sources=sources)

    def sync_status(self) -> SyncStatus:
        return self._told


@pytest.mark.parametrize("trouble", [None, *Trouble])
@pytest.mark.parametrize("number", [0, 1, 2, 30])
async def test_nothing_that_a_cluster_a_plugin_or_a_file_said_is_told_to_strangers(
    number: int, trouble: Trouble | None
) -> None:
    sources = [
        SourceStatus(f"ns-{n}", False, False, "", math.inf, reason=SECRET, trouble=trouble) for n in range(number)
    ]
    async with _ops_of(Talkative(*sources)) as ops:
        answer = await ops.get("/readyz")
    assert answer.status_code == 503
    assert not {"hunter2", "10.9.8.7", "plugin"} & set(re.split(r"[^\w.]", answer.text))
    assert answer.json()["error"].startswith("not synced yet")
    assert len(answer.text) < 500
    if number:
        assert "namespace 'ns-0'" in answer.text


async def test_a_repository_that_knows_no_sources_is_ready_when_it_is_synced() -> None:
    async with _ops_of(Talkative(synced=True)) as ops:
        assert (await ops.get("/readyz")).json() == {"status": "ready"}
    async with _ops_of(Talkative()) as ops:
        assert (await ops.get("/readyz")).json() == {"error": "not synced yet"}


async def test_metrics_are_what_they_are_rendered_as(ops: httpx.AsyncClient) -> None:
    answer = await ops.get("/metrics")
    assert (answer.content, answer.headers["content-type"]) == (b"up 1\n", "text/plain; version=0.0.4; charset=utf-8")
    assert (await ops.get("/metrics", headers={"accept": "x/y"})).headers["content-type"] == "x/y"


@pytest.mark.parametrize(
    "path", ["/deployments", "/api/v1/deployments", "/health", "/api/v1/openapi.json", "/", "/schema"]
)
async def test_no_route_of_the_api_is_here(ops: httpx.AsyncClient, path: str) -> None:
    answer = await ops.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"error": "no such route here; there are /livez, /readyz and /metrics"}


async def test_a_wrong_method_is_405_in_the_api_s_form(ops: httpx.AsyncClient) -> None:
    answer = await ops.post("/livez")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert answer.json().keys() == {"error"}


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/nowhere"])
async def test_head_is_answered_as_get_without_a_body(ops: httpx.AsyncClient, path: str) -> None:
    get, head = await ops.get(path), await ops.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers == get.headers
    assert (await ops.options("/livez")).headers["allow"] == "GET, HEAD, OPTIONS"


async def test_head_says_that_it_is_not_ready_too(
    ops: httpx.AsyncClient, repository: MemoryDeploymentRepository
) -> None:
    repository.faults.not_synced = True
    assert (await ops.head("/readyz")).status_code == 503
