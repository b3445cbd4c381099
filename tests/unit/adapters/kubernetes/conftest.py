"""A model API server and repositories on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kdm_adapters.kubernetes import ClusterConfig, KubernetesDeploymentRepository
from kdm_core.model import ChangeKind, DeploymentChange
from unit.adapters.kubernetes.api_server import DEADLINE_S, ApiServer


class HurriedTime:
    """The real clock, but sleeping takes no time: it moves the clock."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.slept_s: list[float] = []

    def now(self) -> float:
        return time.monotonic() + self.ahead_s

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.ahead_s += seconds
        await asyncio.sleep(0)


async def until(happened: Callable[[], object]) -> None:
    """Wait until something is so, of which nobody tells."""
    async with asyncio.timeout(DEADLINE_S):
        while not happened():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)


@asynccontextmanager
async def following(
    repository: KubernetesDeploymentRepository, namespace: str = "*"
) -> AsyncIterator[AsyncIterator[DeploymentChange]]:
    """Follow a repository's changes, and close the iterator in the end."""
    changes = repository.changes(namespace)
    async with asyncio.timeout(DEADLINE_S), aclosing(changes):
        yield changes


async def until_held(repository: KubernetesDeploymentRepository, **expected: int) -> None:
    """Wait until exactly these Deployments have these counts."""
    async with following(repository) as changes:
        async for change in changes:
            if change.kind is not ChangeKind.PRESENT:
                held = {each.ref.name: each.replicas.desired for each in repository.list()}
                if held == expected:
                    return


MakeRepository = Callable[..., KubernetesDeploymentRepository]


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer().running() as running:
        yield running


@pytest.fixture
def hurried() -> HurriedTime:
    return HurriedTime()


@pytest.fixture
def make(server: ApiServer, tmp_path: Path, hurried: HurriedTime) -> MakeRepository:
    """Returns a function that makes a repository on the server, to be entered by the test."""

    def make(**options: Any) -> KubernetesDeploymentRepository:
        config = ClusterConfig(kubeconfig=server.kubeconfig(tmp_path))
        return KubernetesDeploymentRepository(config, **{"clock": hurried.now, "sleep": hurried.sleep} | options)

    return make
