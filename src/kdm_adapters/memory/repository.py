"""Deployments in this process' memory: the fake for tests and the embedded default."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from operator import attrgetter
from types import TracebackType
from typing import Self

from attrs import evolve

from kdm_adapters.cache.followed import AwaitedVersions, Followed
from kdm_adapters.cache.joined import Joined, ShowsJoined
from kdm_adapters.cache.observing import Observing
from kdm_adapters.cache.sources import Sources
from kdm_adapters.memory.autoscalers import SeenAutoscalers
from kdm_adapters.memory.cluster import MemoryCluster
from kdm_adapters.memory.faults import Faults
from kdm_adapters.memory.sources import Source
from kdm_adapters.memory.subscriber import SUBSCRIBER_BUFFER, Subscriber
from kdm_core.attribution import FIELD_MANAGER
from kdm_core.errors import (
    CacheNotSynced,
    ClusterTimeout,
    ClusterUnreachable,
    DeploymentNotFound,
    WriteConflict,
)
from kdm_core.model import (
    ALL_NAMESPACES,
    ChangeKind,
    Deployment,
    DeploymentChange,
    DeploymentRef,
    Observation,
    SourceStatus,
    SyncStatus,
)
from kdm_core.names import check_namespace, check_replicas
from kdm_core.ports import DeploymentRepository, OnSeen, WatchInstrument
from kdm_core.scaling import ANY, Expect


class MemoryDeploymentRepository(ShowsJoined, Observing, DeploymentRepository):
    """A ``DeploymentRepository`` that is its own cluster.

    It behaves as a cluster does where a caller can tell: resourceVersions count up over all Deployments, ``generation``
    counts changes of the spec, a deleted and recreated Deployment has another uid, a precondition can fail, a write
    takes a turn of the event loop, and the status follows a scale on the loop's next turn, as if controllers were
    instant (a paused Deployment scales too, as it does in Kubernetes).

    ``cluster`` is the back door: what other clients of the cluster would do, and its controllers, which may also take
    their time, meet a quota or get stuck. ``faults`` makes things go wrong.

    It does not imitate:
        * a watch's delay: entering it syncs at once, and what happens in ``cluster`` is visible at once unless
          ``faults.disconnected``
        * that the answer to a write knows less than the watch: here it has the new generation already
        * resourceVersions that expire, bookmarks, pages: they never show through the port
        * that a Deployment created paused gets no Pods before it is resumed: here it is as if paused later
        * quotas; RBAC, but for a namespace that cannot be read (``faults.disconnected_namespaces``)
        * namespaces themselves: each name is one, and none can be deleted
        * finalizers: what is deleted is gone
        * ReplicaSets and Pods themselves; autoscalers at work: they are there, and change no count
        * several processes, or keeping anything when this one ends

    Args:
        deployments: What to create in the cluster; uids, versions and statuses are its own.
        cluster: The cluster, for several repositories of one; None for one of its own.
        namespaces: The namespaces to watch; empty for all of them.
        stale_after_s: After how many seconds without proof of freshness the snapshot counts as stale.
        refuse_stale: Whether reads of a stale snapshot are refused.
        owners: Whether to look for who else changes the counts: the cluster's autoscalers.
        buffer: How many changes a follower may fall behind.
        instrument: Counts the subscribers that lag.
        clock: Monotonic seconds, for the age.

    Raises:
        InvalidName: A namespace that can be none.
    """

    def __init__(
        self,
        deployments: Iterable[Deployment] = (),
        *,
        cluster: MemoryCluster | None = None,
        namespaces: Collection[str] = (),
        stale_after_s: float = math.inf,
        refuse_stale: bool = False,
        owners: bool = False,
        buffer: int = SUBSCRIBER_BUFFER,
        instrument: WatchInstrument | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.faults = Faults(self._look)
        self.cluster = cluster or MemoryCluster()
        self._buffer = buffer
        self._instrument = instrument or WatchInstrument()
        self._snapshot: dict[DeploymentRef, Deployment] = {}
        self._by_name: dict[str, set[DeploymentRef]] = {}
        self._views = {
            each: Source(each, self.faults, self._said, clock)
            for each in (sorted({check_namespace(each) for each in namespaces}) or (None,))
        }
        self._sources = Sources(self._views, stale_after_s=stale_after_s, refuse_stale=refuse_stale, clock=clock)
        # For whoever waits: set as well when there is nothing to wait for any more.
        self._synced_or_closed: dict[str | None, asyncio.Event] = {
            each: asyncio.Event() for each in (None, *self._views)
        }
        self._subscribers: set[Subscriber] = set()
        self._followed = Followed(self._said)
        self._awaited = {each.name: AwaitedVersions() for each in self._views.values()}
        # Of our own writes that the watch has not delivered: what it delivered last.
        self._beneath: dict[DeploymentRef, Deployment | None] = {}
        self._joined = Joined(self._snapshot.get, lambda held: self._apply(held.ref, held))
        seen = SeenAutoscalers(self.cluster.autoscalers, self._joined, self._views.values())
        self._autoscalers = seen if owners else None
        self._closed = False
        for each in deployments:
            self.cluster.create(each.ref, each.replicas.desired, labels=each.labels, paused=each.paused)

    async def __aenter__(self) -> Self:
        """Start, and read what is there unless a fault is in the way.

        Raises:
            RuntimeError: It was entered before.
        """
        if self._running or self._closed:
            raise RuntimeError("a repository can be entered only once: make another one")
        for view in self._views.values():
            view.running = True
        self.cluster.watchers.append(self._on_change)
        if self._autoscalers is not None:
            self.cluster.autoscalers.watchers.append(self._autoscalers)
        self._look()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None:
        """End the ``changes`` iterators."""
        if self._running:
            self.cluster.watchers.remove(self._on_change)
            if self._autoscalers is not None:
                self.cluster.autoscalers.watchers.remove(self._autoscalers)
        self._closed = True
        for view in self._views.values():
            view.stop()
        self._look()
        for subscriber in self._subscribers:
            subscriber.end()
        self._nobody_waits()

    @property
    def _seen(self) -> Sources:
        return self._sources

    @property
    def _running(self) -> bool:
        return any(each.running for each in self._views.values())

    def _said(self, ref: DeploymentRef) -> Deployment | None:
        return self._beneath.get(ref, self._snapshot.get(ref))

    def get(self, ref: DeploymentRef) -> Deployment:
        """See the port."""
        self._sources.check_readable(ref.namespace)
        try:
            return self._snapshot[ref]
        except KeyError:
            raise DeploymentNotFound(ref) from None

    def find(self, name: str) -> tuple[Deployment, ...]:
        """See the port."""
        self._sources.check_readable(ALL_NAMESPACES)
        return tuple(self._snapshot[ref] for ref in sorted(self._by_name.get(name, ())))

    def list(self, namespace: str = ALL_NAMESPACES) -> tuple[Deployment, ...]:
        """See the port."""
        self._sources.check_readable(namespace)
        return self._present(namespace)

    async def fetch(self, ref: DeploymentRef) -> Deployment:
        """See the port."""
        self._sources.check_watched(ref.namespace)
        await self._request(f"looking up Deployment '{ref}'")
        found = self.cluster.deployments.get(ref)
        if found is None:
            raise DeploymentNotFound(ref)
        return self._shown(found)

    def sync_status(self) -> SyncStatus:
        """See the port."""
        running = self._running
        watched = SourceStatus("horizontalpodautoscalers/*", running, running, "", 0.0)
        return evolve(self._sources.status(len(self._snapshot)), owners=() if self._autoscalers is None else (watched,))

    async def wait_synced(self, timeout_s: float) -> None:
        """See the port."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._synced_or_closed[None].wait()
        except TimeoutError:
            raise CacheNotSynced(self._sources.why_not_synced()) from None
        if not self._sources.synced:
            raise CacheNotSynced(self._sources.why_not_synced())

    async def probe(self) -> None:
        """See the port."""
        await self._request("asking the cluster whether it is ready")

    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, expect: Expect = ANY, dry_run: bool = False
    ) -> Deployment:
        """See the port."""
        check_replicas(replicas)
        self._sources.check_watched(ref.namespace)
        doing = f"scaling Deployment '{ref}'"
        await self._request(doing)
        self.faults.check_accepted(ref)
        held = self.cluster.deployments.get(ref)
        if held is None:
            raise DeploymentNotFound(ref)
        if self.faults.conflict:
            raise WriteConflict(f"Deployment '{ref}' has been changed by somebody else; read it again and retry")
        if unmet := expect.unmet(held):
            raise WriteConflict(f"Deployment '{ref}' is not as expected: {unmet}", held)
        scale = self.cluster.would_scale if dry_run else self.cluster.scale
        written = self._shown(scale(ref, replicas, manager=FIELD_MANAGER))
        if self.faults.answer_lost:
            raise ClusterTimeout(f"the cluster did not answer in time ({doing})")
        source = self._views[self._sources.of(ref.namespace)]
        if not dry_run and source.resource_version:
            if not source.seeing:
                self._beneath.setdefault(ref, self._snapshot.get(ref))
            self._apply(ref, written)  # read-your-writes, even while the watch is broken
        return written

    def changes(self, namespace: str = ALL_NAMESPACES) -> AsyncGenerator[DeploymentChange, None]:
        """See the port."""
        if namespace != ALL_NAMESPACES:
            self._sources.check_watched(namespace)
        return self._follow(namespace, self._synced_or_closed[self._sources.of(namespace)])

    def observed(self, ref: DeploymentRef) -> Observation:
        """See the port."""
        self._sources.check_watched(ref.namespace)
        return self._sources.observed(ref)

    def follow_all(self, on_seen: OnSeen) -> Callable[[], None]:
        """See the port."""
        return self._followed.add_to_all(on_seen, sorted(self._snapshot))

    def break_watch(self) -> None:
        """Stop seeing what happens in ``cluster``: ``faults.disconnected``."""
        self.faults.disconnected = True

    def heal_watch(self) -> None:
        """See again, and catch up."""
        self.faults.disconnected = False

    def _look(self) -> None:
        """Begin or cease to see the cluster, as the faults have it."""
        for namespace, source in self._views.items():
            if source.look():
                self._catch_up(source)
            self._wake(namespace, ready=source.synced)
        self._sources.look()
        self._wake(None, ready=self._sources.synced)

    def _catch_up(self, source: Source) -> None:
        source.resource_version = str(self.cluster.version)
        for ref in [ref for ref in self._beneath if source.covers(ref.namespace)]:
            del self._beneath[ref]
            self._followed.changed(ref)
        for ref in sorted(self._snapshot.keys() | self.cluster.deployments.keys()):
            if source.covers(ref.namespace):
                self._apply(ref, self.cluster.deployments.get(ref))
        if self._autoscalers is not None:
            self._autoscalers.catch_up(source)
        self._awaited[source.name].reached(source.resource_version)

    def _wake(self, source: str | None, *, ready: bool) -> None:
        event = self._synced_or_closed[source]
        event.set() if ready or self._closed else event.clear()

    async def _request(self, doing: str) -> None:
        """Reach the cluster, or fail to."""
        await asyncio.sleep(0)  # others get their turn meanwhile, as with any request
        if not self._running:
            raise ClusterUnreachable(f"the cluster cannot be reached ({doing})")
        self.faults.check_answered(doing)

    def _present(self, namespace: str) -> tuple[Deployment, ...]:
        everywhere = namespace == ALL_NAMESPACES
        present = (each for ref, each in self._snapshot.items() if everywhere or ref.namespace == namespace)
        return tuple(sorted(present, key=attrgetter("ref.namespace", "ref.name")))

    def _on_change(self, ref: DeploymentRef, deployment: Deployment | None) -> None:
        for source in self._views.values():
            if source.seeing:
                source.resource_version = str(self.cluster.version)
                if source.covers(ref.namespace):
                    self._apply(ref, deployment)
                self._awaited[source.name].reached(source.resource_version)

    def _shown(self, deployment: Deployment) -> Deployment:
        """Return a Deployment of the cluster with what is known of it, and without its owners where nobody looks."""
        if self._autoscalers is None and deployment.owners:
            deployment = evolve(deployment, owners=())
        return self._joined.join(deployment)

    def _apply(self, ref: DeploymentRef, deployment: Deployment | None) -> None:
        held = self._snapshot.get(ref)
        if deployment is not None:
            deployment = self._shown(deployment)
        if held == deployment:
            return
        if held is not None and (deployment is None or deployment.uid != held.uid):
            self._joined.forget(ref)
            del self._snapshot[ref]
            self._by_name[ref.name].discard(ref)
            self._publish(DeploymentChange(ChangeKind.DELETED, held))
            held = None
        if deployment is not None:
            self._snapshot[ref] = deployment
            self._by_name.setdefault(ref.name, set()).add(ref)
            self._publish(DeploymentChange(ChangeKind.MODIFIED if held else ChangeKind.ADDED, deployment))

    def _publish(self, change: DeploymentChange) -> None:
        for subscriber in self._subscribers:
            if subscriber.offer(change):
                self._instrument.subscriber_lagged()
        if change.deployment is not None:
            self._followed.changed(change.deployment.ref)

    async def _follow(self, namespace: str, synced_or_closed: asyncio.Event) -> AsyncGenerator[DeploymentChange, None]:
        await synced_or_closed.wait()
        if self._closed:
            return
        subscriber = Subscriber(self._buffer, namespace, self._present)
        self._subscribers.add(subscriber)
        try:
            while (change := await subscriber.next()) is not None:
                yield change
        finally:
            self._subscribers.discard(subscriber)
