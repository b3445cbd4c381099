"""The back doors to the in-memory repository that the contract asks for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_adapters.memory.cluster import MemoryCluster
from kdm_core import (
    ClusterOverloaded,
    ClusterTimeout,
    ClusterUnreachable,
    ClusterUnrecognized,
    DeploymentRef,
    KdmError,
    Owner,
    OwnerType,
    WriteConflict,
    WriteForbidden,
    WriteInvalid,
)
from kdm_core.testing.harness import ScopedRepositoryHarness

STALE_AFTER_S: Final = 60.0
_FAULTS: Final[Mapping[type[KdmError], str]] = {
    ClusterOverloaded: "overloaded",
    ClusterTimeout: "timeout",
    ClusterUnreachable: "unreachable",
    ClusterUnrecognized: "unrecognized",
    WriteConflict: "conflict",
    WriteForbidden: "forbidden",
    WriteInvalid: "invalid",
}


class MemoryHarness(ScopedRepositoryHarness):
    """One cluster in memory, and its repositories.

    Args:
        scoped: Whether they watch ``namespaces`` only.
    """

    namespaces = ("one", "two")
    unwatched = "unwatched"
    buffer = 16
    repository: MemoryDeploymentRepository
    kind = MemoryDeploymentRepository

    def __init__(self, *, scoped: bool = False) -> None:
        self.now_s = 1000.0
        self._watched = self.namespaces if scoped else ()
        self._cluster = MemoryCluster()
        self._repositories: list[MemoryDeploymentRepository] = []
        self._broken = False
        self._broken_namespaces: frozenset[str] = frozenset()
        self.repository = self.another()

    def another(self) -> MemoryDeploymentRepository:
        repository = self.kind(
            cluster=self._cluster,
            namespaces=self._watched,
            stale_after_s=STALE_AFTER_S,
            refuse_stale=True,
            owners=True,
            buffer=self.buffer,
            clock=lambda: self.now_s,
        )
        repository.faults.disconnected = self._broken
        repository.faults.disconnected_namespaces = self._broken_namespaces
        self._repositories.append(repository)
        return repository

    async def seed(
        self, ref: DeploymentRef, replicas: int, *, labels: Mapping[str, str] | None = None, paused: bool = False
    ) -> None:
        self._cluster.create(ref, replicas, labels=labels, paused=paused)

    async def seed_owned(self, ref: DeploymentRef, replicas: int, owner: Owner) -> None:
        self._cluster.create(ref, replicas, owners=[owner])

    async def autoscale(self, ref: DeploymentRef, target: str, owner: Owner) -> None:
        assert owner.max is not None
        scaled_object = owner.name if owner.type is OwnerType.SCALED_OBJECT else ""
        self._cluster.autoscalers.put(ref, target, least=owner.min, most=owner.max, scaled_object=scaled_object)

    async def end_autoscaling(self, ref: DeploymentRef) -> None:
        self._cluster.autoscalers.delete(ref)

    async def edit(
        self, ref: DeploymentRef, *, replicas: int | None = None, labels: Mapping[str, str] | None = None
    ) -> None:
        if replicas is not None:
            self._cluster.scale(ref, replicas)
        if labels is not None:
            self._cluster.relabel(ref, labels)

    async def delete(self, ref: DeploymentRef) -> None:
        self._cluster.delete(ref)

    async def stored_replicas(self, ref: DeploymentRef) -> int | None:
        stored = self._cluster.deployments.get(ref)
        return None if stored is None else stored.replicas.desired

    async def settle(self) -> None:
        await asyncio.sleep(0)  # the turn on which the status follows

    async def break_watch(self) -> None:
        self._disconnect(broken=True)

    async def heal_watch(self) -> None:
        self._disconnect(broken=False)

    async def break_watch_of(self, namespace: str) -> None:
        self._disconnect(broken=False, namespaces=frozenset({namespace}))

    async def go_stale_in(self, namespace: str) -> None:
        await self.break_watch_of(namespace)
        self.now_s += STALE_AFTER_S + 1

    async def go_stale(self) -> None:
        self._disconnect(broken=True)
        self.now_s += STALE_AFTER_S + 1

    async def fail(self, error: type[KdmError]) -> None:
        setattr(self.repository.faults, _FAULTS[error], True)

    async def heal(self) -> None:
        for fault in _FAULTS.values():
            setattr(self.repository.faults, fault, False)

    def _disconnect(self, *, broken: bool, namespaces: frozenset[str] = frozenset()) -> None:
        self._broken, self._broken_namespaces = broken, namespaces
        for repository in self._repositories:
            repository.faults.disconnected = broken
            repository.faults.disconnected_namespaces = namespaces


@asynccontextmanager
async def memory_harness(*, scoped: bool = False) -> AsyncIterator[MemoryHarness]:
    """Make a harness whose repository is entered and synced."""
    harness = MemoryHarness(scoped=scoped)
    async with harness.repository:
        await harness.repository.wait_synced(1)
        yield harness
