"""The back doors to the Kubernetes repository that the contract asks for: a model API server's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from kdm_adapters.kubernetes import ClusterConfig, KubernetesDeploymentRepository
from kdm_core.errors import (
    ClusterOverloaded,
    ClusterTimeout,
    ClusterUnreachable,
    ClusterUnrecognized,
    KdmError,
    WriteConflict,
    WriteForbidden,
    WriteInvalid,
)
from kdm_core.model import DeploymentRef, SourceStatus
from kdm_core.owners import Owner
from kdm_core.testing.harness import ScopedRepositoryHarness
from unit.adapters.kubernetes.api_server import DEADLINE_S, Answer, Reply, answering, breaking, refusing
from unit.adapters.kubernetes.autoscaler_server import AutoscalerServer
from unit.adapters.kubernetes.owned import autoscaled

STALE_AFTER_S: Final = 1e6  # far beyond what backing off adds to the clock
_RBAC: Final = (
    'deployments.apps "web" is forbidden: User "kdm" cannot patch resource "deployments/scale" in API group "apps"'
)
_FAULTS: Final[Mapping[type[KdmError], Answer]] = {
    ClusterOverloaded: refusing(429, "TooManyRequests", "slow down"),
    ClusterTimeout: refusing(504, "Timeout", "it took too long"),
    ClusterUnreachable: refusing(503, "ServiceUnavailable", "not ready"),
    ClusterUnrecognized: answering(404, b"<html><h1>No such site</h1></html>"),
    WriteConflict: refusing(409, "Conflict", "the object has been modified"),
    WriteForbidden: refusing(403, "Forbidden", _RBAC),
    WriteInvalid: refusing(422, "Invalid", "spec.replicas: Invalid value"),
}


class KubernetesHarness(ScopedRepositoryHarness):
    """A model API server, and repositories on it.

    Args:
        server: It.
        directory: Where to write a kubeconfig.
        scoped: Whether the repositories watch ``namespaces`` only.
    """

    namespaces = ("one", "two")
    unwatched = "unwatched"
    buffer = 16
    repository: KubernetesDeploymentRepository

    def __init__(self, server: AutoscalerServer, directory: Path, *, scoped: bool = False) -> None:
        self._server = server
        self._config = ClusterConfig(kubeconfig=server.kubeconfig(directory))
        self._scope = self.namespaces if scoped else None
        self._ahead_s = 0.0
        self.repository = self.another()

    def another(self) -> KubernetesDeploymentRepository:
        return KubernetesDeploymentRepository(
            self._config,
            namespaces=self._scope,
            stale_after_s=STALE_AFTER_S,
            refuse_stale=True,
            owners=True,
            buffer=self.buffer,
            clock=lambda: time.monotonic() + self._ahead_s,
            sleep=self._sleep_briefly,
        )

    async def seed(
        self, ref: DeploymentRef, replicas: int, *, labels: Mapping[str, str] | None = None, paused: bool = False
    ) -> None:
        self._server.cluster.create(str(ref), (), desired=replicas, paused=paused, **(labels or {}))
        await self._server.notify()

    async def seed_owned(self, ref: DeploymentRef, replicas: int, owner: Owner) -> None:
        self._server.cluster.create(str(ref), [owner], desired=replicas)
        await self._server.notify()

    async def autoscale(self, ref: DeploymentRef, target: str, owner: Owner) -> None:
        await self._server.autoscale(ref, target, owner)

    async def end_autoscaling(self, ref: DeploymentRef) -> None:
        await self._server.end_autoscaling(ref)

    async def edit(
        self, ref: DeploymentRef, *, replicas: int | None = None, labels: Mapping[str, str] | None = None
    ) -> None:
        if replicas is not None:
            self._server.cluster.scale(str(ref), replicas)
        if labels is not None:
            self._server.cluster.relabel(str(ref), **labels)
        await self._server.notify()

    async def delete(self, ref: DeploymentRef) -> None:
        self._server.cluster.delete(str(ref))
        await self._server.notify()

    async def stored_replicas(self, ref: DeploymentRef) -> int | None:
        stored = self._server.cluster.state.get(str(ref))
        return None if stored is None else stored.replicas.desired

    async def settle(self) -> None:
        if "watch" in self._server.standing_faults:
            return
        version = self._server.cluster.version
        async with asyncio.timeout(DEADLINE_S):
            while not self._up_to_date(version):
                await self._server.notify()
                for watch in list(self._server.watches):
                    if watch.cursor >= version:
                        await watch.send(watch.format.bookmark(watch.cursor))
                await asyncio.sleep(0.001)  # a repository tells nobody that it has read a bookmark

    async def break_watch(self) -> None:
        self._server.standing_faults.update(watch=breaking, list=self._break_lists_of_all)
        for watch in [*self._server.watches, *self._server.autoscaler_watches]:
            watch.abort()
        async with asyncio.timeout(DEADLINE_S):
            while self.repository.sync_status().connected:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)

    async def heal_watch(self) -> None:
        for verb in ("watch", "list", "version"):
            self._server.standing_faults.pop(verb, None)

    async def break_watch_of(self, namespace: str) -> None:
        path = f"/namespaces/{namespace}/"

        async def break_it(reply: Reply) -> None:
            written = "fieldSelector" in reply.request.query
            await (breaking if path in reply.request.path and not written else self._server.answer)(reply)

        self._server.standing_faults.update(watch=break_it, list=break_it, version=break_it)
        watches = [*self._server.watches, *self._server.autoscaler_watches]
        for watch in [each for each in watches if path in each.request.path]:
            watch.abort()
        async with asyncio.timeout(DEADLINE_S):
            while self._source(namespace).connected:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)

    async def go_stale_in(self, namespace: str) -> None:
        await self.break_watch_of(namespace)
        self._ahead_s += STALE_AFTER_S + 1
        (other,) = set(self.namespaces) - {namespace}
        async with asyncio.timeout(DEADLINE_S):
            while self._source(other).stale:
                for watch in list(self._server.watches):
                    await watch.send(watch.format.bookmark(watch.cursor))
                await asyncio.sleep(0.001)  # a repository tells nobody that it has read a bookmark

    def _source(self, namespace: str) -> SourceStatus:
        return next(each for each in self.repository.sync_status().sources if each.source == namespace)

    async def go_stale(self) -> None:
        await self.break_watch()
        self._ahead_s += STALE_AFTER_S + 1

    async def fail(self, error: type[KdmError]) -> None:
        self._server.standing_faults["patch"] = _FAULTS[error]
        if error in {ClusterTimeout, ClusterUnreachable, ClusterUnrecognized}:
            self._server.standing_faults["get"] = _FAULTS[error]

    async def heal(self) -> None:
        self._server.standing_faults.pop("patch", None)
        self._server.standing_faults.pop("get", None)

    async def _break_lists_of_all(self, reply: Reply) -> None:
        """Break the cache's lists, but not a write's look at one Deployment."""
        await (self._server.answer if "fieldSelector" in reply.request.query else breaking)(reply)

    def _up_to_date(self, version: int) -> bool:
        status = self.repository.sync_status()
        seen = status.healthy and int(status.resource_version) >= version
        return seen and autoscaled(self.repository.list(), self._server.autoscalers)

    async def _sleep_briefly(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))
        self._ahead_s += seconds


@asynccontextmanager
async def kubernetes_harness(*, scoped: bool = False) -> AsyncIterator[KubernetesHarness]:
    """Make a harness whose repository is entered and synced."""
    with TemporaryDirectory() as directory:
        server = AutoscalerServer()
        async with server.running():
            harness = KubernetesHarness(server, Path(directory), scoped=scoped)
            async with harness.repository:
                await harness.repository.wait_synced(DEADLINE_S)
                await harness.settle()
                yield harness
