"""A repository around another one, to be subclassed by whatever adds to some of its methods."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from types import TracebackType
from typing import Self

from kdm_core.model import ALL_NAMESPACES, Deployment, DeploymentChange, DeploymentRef, Observation, SyncStatus
from kdm_core.parked import Parked
from kdm_core.ports.callbacks import OnSeen
from kdm_core.ports.repository import DeploymentRepository
from kdm_core.scaling import ANY, Expect


class WrappedRepository(DeploymentRepository):
    """Does everything that the other repository does. Entering and leaving it enters and leaves the other.

    Args:
        repository: The other one, which does the work.
    """

    def __init__(self, repository: DeploymentRepository) -> None:
        self._repository = repository

    async def __aenter__(self) -> Self:
        await self._repository.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None:
        await self._repository.__aexit__(exc_type, exc, tb)

    def get(self, ref: DeploymentRef) -> Deployment:
        return self._repository.get(ref)

    def find(self, name: str) -> tuple[Deployment, ...]:
        return self._repository.find(name)

    def list(self, namespace: str = ALL_NAMESPACES) -> tuple[Deployment, ...]:
        return self._repository.list(namespace)

    async def fetch(self, ref: DeploymentRef) -> Deployment:
        return await self._repository.fetch(ref)

    def sync_status(self) -> SyncStatus:
        return self._repository.sync_status()

    async def wait_synced(self, timeout_s: float) -> None:
        await self._repository.wait_synced(timeout_s)

    async def probe(self) -> None:
        await self._repository.probe()

    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, expect: Expect = ANY, dry_run: bool = False
    ) -> Deployment:
        return await self._repository.set_replicas(ref, replicas, expect=expect, dry_run=dry_run)

    def changes(self, namespace: str = ALL_NAMESPACES) -> AsyncGenerator[DeploymentChange, None]:
        return self._repository.changes(namespace)

    def observed(self, ref: DeploymentRef) -> Observation:
        return self._repository.observed(ref)

    def follow(self, ref: DeploymentRef, on_change: Callable[[], None]) -> Callable[[], None]:
        return self._repository.follow(ref, on_change)

    def follow_all(self, on_seen: OnSeen) -> Callable[[], None]:
        return self._repository.follow_all(on_seen)

    async def wait_seen(self, namespace: str, resource_version: str, timeout_s: float) -> None:
        await self._repository.wait_seen(namespace, resource_version, timeout_s)

    def annotate_parked(self, ref: DeploymentRef, parked: Parked | None) -> None:
        self._repository.annotate_parked(ref, parked)

    def annotate_change(self, written: Deployment, actor: str, reason: str) -> None:
        self._repository.annotate_change(written, actor, reason)
