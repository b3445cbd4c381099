"""A server of API v2 under test, and a client that asks it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest

from kdm_adapters.memory import MemoryDeploymentRepository, MemoryParkingLot
from kdm_adapters.memory.cluster import MemoryCluster
from kdm_core import (
    ChangeTracker,
    Deployment,
    DeploymentRef,
    DeploymentRepository,
    DeploymentService,
    RolloutResult,
    parse_policy,
)
from kdm_http.api.answered import Answered
from kdm_http.api.app import create_app
from unit.core.fixtures import ListedAudit
from unit.http.client import Client, Response
from unit.http.running import Running

WEB: Final = DeploymentRef("shop", "web")
URL: Final = "/api/v2/namespaces/shop/deployments/web"
REPLICAS: Final = f"{URL}/replicas"
ADJUST: Final = f"{URL}/adjust"

POLICY: Final = """
version = 1
[[grant]]
users = ["alice"]
verbs = ["read", "scale"]
namespaces = ["shop", "batch"]
replicas = {min = 1, max = 500, allow_zero = true}
[[grant]]
users = ["bob"]
verbs = ["read", "scale"]
namespaces = ["shop"]
replicas = {max = 20}
"""


class Held(MemoryDeploymentRepository):
    """A cluster whose writes can be held back until a test lets them go on."""

    def __init__(self) -> None:
        super().__init__()
        self.hold = False
        self.arrived = asyncio.Event()
        self.release = asyncio.Event()
        self.awaited = asyncio.Event()
        self.stored = 0

    async def set_replicas(self, ref: DeploymentRef, replicas: int, **how: Any) -> Deployment:
        self.arrived.set()
        if self.hold:
            await self.release.wait()
        self.stored += 1
        return await super().set_replicas(ref, replicas, **how)

    async def wait_seen(self, namespace: str, resource_version: str, timeout_s: float) -> None:
        self.awaited.set()  # whoever waits for this runs when the version is waited for
        await super().wait_seen(namespace, resource_version, timeout_s)


class Watched(DeploymentService):
    """Lets a test know that somebody begins to wait for a rollout."""

    def __init__(self, repository: DeploymentRepository, **how: Any) -> None:
        super().__init__(repository, **how)
        self.waiting = asyncio.Event()

    async def rollout(self, *args: Any, **how: Any) -> RolloutResult:
        self.waiting.set()  # whoever waits for this runs when the rollout is waited for
        return await super().rollout(*args, **how)


class Stage:
    """A running server over the memory adapter, and what it made known."""

    def __init__(self, repository: Held, connect: Callable[..., Awaitable[Client]]) -> None:
        self.repository = repository
        self.audit = ListedAudit()
        self.answered: list[Answered] = []
        self.lot = MemoryParkingLot()
        self.service = Watched(
            repository, policy=parse_policy(POLICY), audit=self.audit, parking=self.lot, tracker=ChangeTracker()
        )
        self.server: Running
        self._connect = connect
        self._client: Client | None = None

    async def serve(self, start: Any, **settings: Any) -> None:
        """Serve, from now on by a server with these settings."""
        self.server = await start(app=create_app(self.service, observers=[self.answered.append]), **settings)

    @property
    def cluster(self) -> MemoryCluster:
        return self.repository.cluster

    @property
    def web(self) -> Deployment:
        """The Deployment as the cluster has it."""
        found: Deployment = self.repository.cluster.deployments[WEB]
        return found

    async def client(self, **how: Any) -> Client:
        """Open another connection."""
        return await self._connect(self.server, **how)

    async def ask(
        self, method: str, target: str, body: object = None, *, client: Client | None = None, **headers: str
    ) -> Response:
        """Ask over the connection that is kept, or over another one; header names with "_" for "-"."""
        if client is None:
            client = self._client = self._client or await self.client()
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        content = b"" if body is None else json.dumps(body).encode()
        if body is not None:
            lines += "content-type: application/json\r\n"
        if method == "HEAD":
            await client.handshake()
        return await client.request(target, method=method, body=content, headers=lines)

    async def at_once(self, count: int, method: str, target: str, body: object, **headers: str) -> list[Response]:
        """Ask the same over many connections at once."""
        clients = await asyncio.gather(*(self.client() for _ in range(count)))
        await asyncio.gather(*(each.handshake() for each in clients))
        return await asyncio.gather(*(self.ask(method, target, body, client=each, **headers) for each in clients))


@pytest.fixture
async def stage(start: Any, connect: Any) -> AsyncIterator[Stage]:
    """A server with three Deployments that alice may scale, of which bob may scale two, and one that nobody may."""
    async with Held() as repository, AsyncExitStack() as stack:
        for namespace, name, count in (("shop", "web", 3), ("shop", "api", 8), ("batch", "job", 0), ("kube", "dns", 2)):
            ref = DeploymentRef(namespace, name)
            repository.cluster.create(ref, count, labels={"app": name})
            repository.cluster.settle(ref)
        staged = Stage(repository, connect)
        await stack.enter_async_context(staged.lot)
        await staged.serve(start)
        async with staged.service.remembering():
            yield staged


def problem(answer: Response, status: int, code: str) -> Any:
    """Check the form of an error, and return its body."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json
    assert body["type"] == f"/problems/{code}"
    assert (body["code"], body["status"]) == (code, status)
    assert body["requestId"] == answer.headers["x-request-id"]
    assert body["title"]
    assert body["detail"]
    assert "Traceback" not in body["detail"]
    return body
