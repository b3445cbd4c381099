"""A repository that reads from memory what its sources put there."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, ClassVar

from kdm_adapters.cache.broadcast import Broadcaster
from kdm_adapters.cache.followed import AwaitedVersions, Followed
from kdm_adapters.cache.observing import Observing
from kdm_adapters.cache.sources import Sources, View
from kdm_adapters.cache.store import Store
from kdm_adapters.ending import stop
from kdm_core.errors import CacheNotSynced, DeploymentNotFound
from kdm_core.model import (
    ALL_NAMESPACES,
    ChangeKind,
    Deployment,
    DeploymentChange,
    DeploymentRef,
    Observation,
    SyncStatus,
)
from kdm_core.names import check_name, check_namespace
from kdm_core.ports import DeploymentRepository, OnSeen


class CachedRepository(Observing, DeploymentRepository):
    """The reads of a repository; a subclass keeps its sources up to date, and writes.

    Args:
        store: What is read. Its changes are published from here on.
        views: What has been seen of each source, by namespace; by None where one has all namespaces. Each has to call
            ``_on_synced`` when its first complete state is in the store, and ``_awaited`` when it gets further.
        stale_after_s: After how many seconds without proof of freshness a source is stale.
        refuse_stale: Whether reads are refused then (``CacheStale``).
        buffer: How many changes a follower may fall behind.
        on_lagged: Called when one falls further behind.
        clock: Monotonic seconds.

    Attributes:
        _far: Where its connections lead, for the log.
    """

    _far: ClassVar[str]

    def __init__(
        self,
        store: Store,
        views: Mapping[str | None, View],
        *,
        stale_after_s: float,
        refuse_stale: bool,
        buffer: int,
        on_lagged: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._all_views = views
        self._changes = Broadcaster(store.list, buffer=buffer, on_lagged=on_lagged)
        self._sources = Sources(views, stale_after_s=stale_after_s, refuse_stale=refuse_stale, clock=clock)
        self._followed = Followed(self._sources.said)
        self._store.on_change = self._on_change
        self._store.on_observed = self._followed.changed
        self._awaited = {each or ALL_NAMESPACES: AwaitedVersions() for each in views}
        # For whoever waits: set as well when there is nothing to wait for any more.
        self._synced_or_closed = {each: asyncio.Event() for each in {None, *views}}
        self._tasks: list[asyncio.Task[None]] = []
        self._entered = False

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None:
        """Stop, and close every connection, to the end, however often this is cancelled."""
        self._say_stopped()
        await stop(self._tasks, self._finish, self._far)

    async def _finish(self) -> None:
        self._say_stopped()  # whatever a task said last
        await self._close()

    @abstractmethod
    async def _close(self) -> None:
        """Close every connection. No task runs any more."""

    @property
    def _seen(self) -> Sources:
        return self._sources

    def get(self, ref: DeploymentRef) -> Deployment:
        """See the port."""
        sources = self._sources
        if not (sources.open and sources.synced):  # seen at once: this is the most frequent call of all
            sources.check_readable(ref.namespace)
        found = self._store.get(ref.namespace, ref.name)
        if found is None:
            raise DeploymentNotFound(ref)
        return found

    def find(self, name: str) -> tuple[Deployment, ...]:
        """See the port."""
        self._sources.check_readable(ALL_NAMESPACES)
        return self._store.find(name)

    def list(self, namespace: str = ALL_NAMESPACES) -> tuple[Deployment, ...]:
        """See the port. The same tuple again until something in the namespace changes."""
        self._sources.check_readable(namespace)
        return self._store.list(None if namespace == ALL_NAMESPACES else namespace)

    def sync_status(self) -> SyncStatus:
        """See the port."""
        return self._sources.status(len(self._store))

    async def wait_synced(self, timeout_s: float) -> None:
        """See the port."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._synced_or_closed[None].wait()
        except TimeoutError:
            raise CacheNotSynced(self._sources.why_not_synced()) from None
        if not self._sources.synced:
            raise CacheNotSynced(self._sources.why_not_synced())

    def changes(self, namespace: str = ALL_NAMESPACES) -> AsyncGenerator[DeploymentChange, None]:
        """See the port. Closing the iterator (``aclose``) ends the subscription."""
        if namespace != ALL_NAMESPACES:
            self._sources.check_watched(namespace)
        where = None if namespace == ALL_NAMESPACES else namespace
        return self._changes.follow(where, self._synced_or_closed[self._sources.of(namespace)])

    def observed(self, ref: DeploymentRef) -> Observation:
        """See the port."""
        self._sources.check_watched(ref.namespace)
        return self._sources.observed(ref)

    def follow_all(self, on_seen: OnSeen) -> Callable[[], None]:
        """See the port."""
        return self._followed.add_to_all(on_seen, [each.ref for each in self._store.list()])

    def _enter(self) -> None:
        """Note that it is entered.

        Raises:
            RuntimeError: It was entered before.
        """
        if self._entered:
            raise RuntimeError("a repository can be entered only once: make another one")
        self._entered = True

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    def _say_stopped(self) -> None:
        for view in self._all_views.values():
            view.stop()
        self._changes.close()
        for event in self._synced_or_closed.values():
            event.set()
        self._nobody_waits()

    def _check_ref(self, ref: DeploymentRef) -> None:
        check_name(ref.name)
        self._sources.check_watched(check_namespace(ref.namespace))

    def _on_change(self, kind: ChangeKind, deployment: Deployment) -> None:
        self._changes.publish(kind, deployment)
        self._followed.changed(deployment.ref)

    def _on_synced(self, source: str | None) -> None:
        self._synced_or_closed[source].set()
        self._sources.look()
        if self._sources.synced:
            self._synced_or_closed[None].set()

    def _unsynced(self) -> None:
        """Have everybody wait for complete states again: what is held is of no use any more."""
        self._sources.synced = False
        for event in self._synced_or_closed.values():
            event.clear()
        self._changes.restart()
