"""The API in this process, over the memory adapter: a client that the TLS edge has already let in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import LOCAL, DeploymentRef, DeploymentService, Identity
from kdm_http.api.app import Api, create_app


class Admitted:
    """What the TLS edge does: it names the peer in the scope."""

    def __init__(self, app: Api, identity: Identity = LOCAL.identity) -> None:
        self._app = app
        self._peer = SimpleNamespace(identity=identity, not_after=datetime.max.replace(tzinfo=UTC))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope.setdefault("state", {})["peer"] = self._peer
        await self._app(scope, receive, send)


@pytest.fixture
async def repository() -> AsyncIterator[MemoryDeploymentRepository]:
    """RFD 001's two Deployments, and a name that two other namespaces have."""
    async with MemoryDeploymentRepository() as repository:
        for namespace, name, replicas in (
            ("default", "nginx-deployment", 3),
            ("default", "redis-deployment", 1),
            ("payments", "api", 4),
            ("shop", "api", 8),
        ):
            repository.cluster.create(DeploymentRef(namespace, name), replicas)
        yield repository


@pytest.fixture
def service(repository: MemoryDeploymentRepository) -> DeploymentService:
    return DeploymentService(repository)


@pytest.fixture
async def client(service: DeploymentService) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Admitted(create_app(service)), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://kdm.test") as client:
        yield client
