"""Deployments in this process' memory: the fake for tests and the embedded default."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from types import TracebackType
from typing import Final, Self

from attrs import define

from kdm_adapters.memory.cluster import MemoryCluster
from kdm_core.errors import (
    CacheNotSynced,
    CacheStale,
    ClusterOverloaded,
    ClusterTimeout,
    ClusterUnreachable,
    ClusterUnrecognized,
    DeploymentNotFound,
    NamespaceNotWatched,
    WriteConflict,
    WriteForbidden,
    WriteInvalid,
)
from kdm_core.model import (
    ChangeKind,
    Deployment,
    DeploymentChange,
    DeploymentRef,
    SourceStatus,
    SyncStatus,
    Trouble,
    check_namespace,
    check_replicas,
)
from kdm_core.ports import DeploymentRepository, Instrument

_ALL: Final = "*"

SUBSCRIBER_BUFFER: Final = 1024
"""Changes a subscriber may be behind before it is told that it lagged."""


class Faults:
    """What can be made to go wrong. Each is off until set, works at once and stays until set back.

    Attributes:
        not_synced: There was no first list yet: reads are refused.
        disconnected: The watch is broken: reads go on from the snapshot, which ages; what happens is not seen. When
            healed, what was missed arrives as one difference.
        disconnected_namespaces: Of which of the watched namespaces alone this is so.
        stale: The snapshot counts as past its bound, and ages, whatever the clock says.
        unreachable: There is no cluster: ``disconnected``, and writes and probes fail.
        timeout: Writes and probes are not answered in time; nothing was written.
        answer_lost: Writes are stored, but the answer does not arrive in time: what makes a timeout ambiguous.
        unrecognized: A gateway answers writes and probes in the cluster's place; nothing was written.
        overloaded: Writes are turned away for a while.
        conflict: Writes meet a concurrent one.
        forbidden: Writes lack the RBAC permission.
        invalid: Writes are refused by an admission webhook.
    """

    not_synced = False
    disconnected = False
    disconnected_namespaces: frozenset[str] = frozenset()
    stale = False
    unreachable = False
    timeout = False
    answer_lost = False
    unrecognized = False
    overloaded = False
    conflict = False
    forbidden = False
    invalid = False

    def __init__(self, on_change: Callable[[], None]) -> None:
        object.__setattr__(self, "_on_change", on_change)

    def __setattr__(self, name: str, value: bool | frozenset[str]) -> None:
        if type(getattr(type(self), name, None)) is not type(value):
            raise AttributeError(f"there is no fault called {name!r}")
        object.__setattr__(self, name, value)
        self._on_change()

    _on_change: Callable[[], None]


class MemoryDeploymentRepository(DeploymentRepository):
    """A ``DeploymentRepository`` that is its own cluster.

    It behaves as a cluster does where a caller can tell: resourceVersions count up over all Deployments, ``generation``
    counts changes of the spec, a deleted and recreated Deployment has another uid, a precondition can fail, a write
    takes a turn of the event loop, and the status follows a scale on the loop's next turn, as if controllers were
    instant (a paused Deployment scales too, as it does in Kubernetes).

    ``cluster`` is the back door: what other clients of the cluster would do. ``faults`` makes things go wrong.

    It does not imitate:
        * a watch's delay: entering it syncs at once, and what happens in ``cluster`` is visible at once unless
          ``faults.disconnected``
        * that the answer to a write knows less than the watch: here it has the new generation already
        * resourceVersions that expire, bookmarks, pages: they never show through the port
        * quotas; RBAC, but for a namespace that cannot be read (``faults.disconnected_namespaces``)
        * namespaces themselves: each name is one, and none can be deleted
        * finalizers: what is deleted is gone
        * ReplicaSets and Pods, rollouts that take time or fail, autoscalers that fight over the count
        * several processes, or keeping anything when this one ends

    Args:
        deployments: What to create in the cluster; uids, versions and statuses are given anew.
        cluster: The cluster, for several repositories of one; None for one of its own.
        namespaces: The namespaces to watch; empty for all of them.
        stale_after_s: After how many seconds without proof of freshness the snapshot counts as stale.
        refuse_stale: Whether reads of a stale snapshot are refused.
        buffer: How many changes a follower may fall behind.
        instrument: Told of subscribers that lag.
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
        buffer: int = SUBSCRIBER_BUFFER,
        instrument: Instrument | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.faults = Faults(self._look)
        self.cluster = cluster or MemoryCluster()
        self._namespaces = tuple(sorted({check_namespace(each) for each in namespaces}))
        self._stale_after_s = stale_after_s
        self._refuse_stale = refuse_stale
        self._buffer = buffer
        self._instrument = instrument or Instrument()
        self._clock = clock
        self._snapshot: dict[DeploymentRef, Deployment] = {}
        self._by_name: dict[str, set[DeploymentRef]] = {}
        self._sources = [_Source(each) for each in self._namespaces or (_ALL,)]
        # For whoever waits: set as well when there is nothing to wait for any more.
        self._synced_or_closed = {each.name: asyncio.Event() for each in (_Source(_ALL), *self._sources)}
        self._subscribers: set[_Subscriber] = set()
        self._running = False
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
        self._running = True
        self.cluster.watchers.append(self._on_change)
        self._look()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None:
        """End the ``changes`` iterators."""
        if self._running:
            self.cluster.watchers.remove(self._on_change)
        self._running, self._closed = False, True
        self._look()
        for subscriber in self._subscribers:
            subscriber.end()

    def get(self, ref: DeploymentRef) -> Deployment:
        """See the port."""
        self._check_readable(ref.namespace)
        try:
            return self._snapshot[ref]
        except KeyError:
            raise DeploymentNotFound(ref) from None

    def find(self, name: str) -> tuple[Deployment, ...]:
        """See the port."""
        self._check_readable()
        return tuple(self._snapshot[ref] for ref in sorted(self._by_name.get(name, ())))

    def list(self, namespace: str | None = None) -> tuple[Deployment, ...]:
        """See the port."""
        self._check_readable(namespace)
        return self._present(namespace)

    def sync_status(self) -> SyncStatus:
        """See the port."""
        sources = tuple(self._status(each) for each in self._sources)
        return SyncStatus(
            synced=all(each.synced for each in sources),
            connected=all(each.connected for each in sources),
            resource_version=min((each.resource_version for each in sources), key=lambda v: int(v or 0)),
            age_s=max(each.age_s for each in sources),
            stale=any(each.stale for each in sources),
            objects=len(self._snapshot),
            reason=_reasons(sources),
            sources=sources,
        )

    async def wait_synced(self, timeout_s: float) -> None:
        """See the port."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._synced_or_closed[_ALL].wait()
        except TimeoutError as error:
            raise CacheNotSynced(f"not synced within {timeout_s:g} s: {self.sync_status().reason}") from error
        if not self.sync_status().synced:
            raise CacheNotSynced(f"not synced: {self.sync_status().reason}")

    async def probe(self) -> None:
        """See the port."""
        await self._request("asking the cluster whether it is ready")

    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, resource_version: str | None = None
    ) -> Deployment:
        """See the port."""
        check_replicas(replicas)
        self._check_watched(ref.namespace)
        doing = f"scaling Deployment '{ref}'"
        await self._request(doing)
        self._check_accepted(ref)
        held = self.cluster.deployments.get(ref)
        if held is None:
            raise DeploymentNotFound(ref)
        if self.faults.conflict or resource_version not in {None, held.resource_version}:
            raise WriteConflict(f"Deployment '{ref}' has been changed by somebody else; read it again and retry")
        written = self.cluster.scale(ref, replicas)
        if self.faults.answer_lost:
            raise ClusterTimeout(f"the cluster did not answer in time ({doing})")
        if self._source(ref.namespace).version:
            self._apply(ref, written)  # read-your-writes, even while the watch is broken
        return written

    def changes(self, namespace: str | None = None) -> AsyncGenerator[DeploymentChange, None]:
        """See the port."""
        if namespace is not None:
            self._check_watched(namespace)
        source = _ALL if namespace is None else self._source(namespace).name
        return self._follow(namespace, self._synced_or_closed[source])

    def break_watch(self) -> None:
        """Stop seeing what happens in ``cluster``: ``faults.disconnected``."""
        self.faults.disconnected = True

    def heal_watch(self) -> None:
        """See again, and catch up."""
        self.faults.disconnected = False

    def _look(self) -> None:
        """Begin or cease to see the cluster, as the faults have it."""
        faults = self.faults
        for source in self._sources:
            broken = faults.not_synced or faults.disconnected or faults.unreachable
            seeing = self._running and not (broken or source.name in faults.disconnected_namespaces)
            fresh = seeing and not faults.stale
            if source.fresh and not fresh:
                source.proof_at = self._clock()
            caught_up = source.seeing or not seeing
            source.seeing, source.fresh = seeing, fresh
            if not caught_up:
                self._catch_up(source)
            self._wake(source.name, ready=self._synced(source))
        self._wake(_ALL, ready=all(self._synced(each) for each in self._sources))

    def _catch_up(self, source: _Source) -> None:
        source.version = str(self.cluster.version)
        for ref in sorted(self._snapshot.keys() | self.cluster.deployments.keys()):
            if source.name in {_ALL, ref.namespace}:
                self._apply(ref, self.cluster.deployments.get(ref))

    def _wake(self, source: str, *, ready: bool) -> None:
        event = self._synced_or_closed[source]
        event.set() if ready or self._closed else event.clear()

    def _synced(self, source: _Source) -> bool:
        return bool(source.version) and not self.faults.not_synced

    def _source(self, namespace: str) -> _Source:
        return next(each for each in self._sources if each.name in {_ALL, namespace})

    def _status(self, source: _Source) -> SourceStatus:
        synced = self._synced(source)
        age_s = 0.0 if source.fresh else self._clock() - source.proof_at
        stale = synced and (self.faults.stale or age_s > self._stale_after_s)
        reason, trouble = "", None
        if not synced:
            trouble = Trouble.NOT_READ
            reason = "the first list has not been read yet" if self._running else "the repository is not running"
        elif not source.seeing:
            trouble = Trouble.INTERRUPTED if self._running else Trouble.STOPPED
            reason = "the watch is broken" if self._running else "the repository has been stopped"
        elif stale:
            reason = f"nothing was heard from the cluster for {age_s:.0f} s, which is past the bound"
        version = source.version if synced else ""
        return SourceStatus(source.name, synced, source.seeing, version, age_s, stale, reason, trouble)

    def _check_watched(self, namespace: str) -> None:
        if self._namespaces and namespace not in self._namespaces:
            raise NamespaceNotWatched(namespace, self._namespaces)

    def _check_readable(self, namespace: str | None = None) -> None:
        if namespace is not None:
            self._check_watched(namespace)
        sources = self._sources if namespace is None else [self._source(namespace)]
        if missing := [self._status(each) for each in sources if not self._synced(each)]:
            message = f"no complete state has been read from the cluster yet: {_reasons(missing)}"
            raise CacheNotSynced(message + self._choice(namespace))
        if self._refuse_stale and (stale := [each for each in map(self._status, sources) if each.stale]):
            age_s = max(each.age_s for each in stale)
            message = f"the cached state is {age_s:.0f} s old, past its bound: {_reasons(stale)}"
            raise CacheStale(message + self._choice(namespace))

    def _choice(self, namespace: str | None) -> str:
        readable = [each.source for each in map(self._status, self._sources) if each.synced and not each.stale]
        if namespace is not None or not readable:
            return ""
        return f" (name a namespace to read it alone; these can be read: {', '.join(readable)})"

    async def _request(self, doing: str) -> None:
        """Reach the cluster, or fail to."""
        await asyncio.sleep(0)  # others get their turn meanwhile, as with any request
        if self.faults.unreachable or not self._running:
            raise ClusterUnreachable(f"the cluster cannot be reached ({doing})")
        if self.faults.timeout:
            raise ClusterTimeout(f"the cluster did not answer in time ({doing})")
        if self.faults.unrecognized:
            raise ClusterUnrecognized(
                "the answer is not the Kubernetes API's (404): Not Found; it may have been written: "
                "read before trying again"
            )

    def _check_accepted(self, ref: DeploymentRef) -> None:
        if self.faults.overloaded:
            raise ClusterOverloaded(f"the cluster asks for fewer requests (scaling Deployment '{ref}')")
        if self.faults.forbidden:
            raise WriteForbidden(
                "kdm's identity lacks the RBAC permission 'patch' on 'deployments/scale' "
                f"in namespace '{ref.namespace}'"
            )
        if self.faults.invalid:
            raise WriteInvalid(f"an admission webhook refused to scale Deployment '{ref}'")

    def _present(self, namespace: str | None) -> tuple[Deployment, ...]:
        return tuple(d for ref, d in sorted(self._snapshot.items()) if namespace in {None, ref.namespace})

    def _on_change(self, ref: DeploymentRef, deployment: Deployment | None) -> None:
        for source in self._sources:
            if source.seeing:
                source.version = str(self.cluster.version)
                if source.name in {_ALL, ref.namespace}:
                    self._apply(ref, deployment)

    def _apply(self, ref: DeploymentRef, deployment: Deployment | None) -> None:
        held = self._snapshot.get(ref)
        if held == deployment:
            return
        if held is not None and (deployment is None or deployment.uid != held.uid):
            del self._snapshot[ref]
            self._by_name[ref.name].discard(ref)
            self._tell(DeploymentChange(ChangeKind.DELETED, held))
            held = None
        if deployment is not None:
            self._snapshot[ref] = deployment
            self._by_name.setdefault(ref.name, set()).add(ref)
            self._tell(DeploymentChange(ChangeKind.MODIFIED if held else ChangeKind.ADDED, deployment))

    def _tell(self, change: DeploymentChange) -> None:
        for subscriber in self._subscribers:
            if subscriber.offer(change):
                self._instrument.subscriber_lagged()

    async def _follow(
        self, namespace: str | None, synced_or_closed: asyncio.Event
    ) -> AsyncGenerator[DeploymentChange, None]:
        await synced_or_closed.wait()
        if self._closed:
            return
        subscriber = _Subscriber(self._buffer, namespace, self._present)
        self._subscribers.add(subscriber)
        try:
            while (change := await subscriber.next()) is not None:
                yield change
        finally:
            self._subscribers.discard(subscriber)


@define
class _Source:
    """A watched namespace, or all of them, and what has been seen of it."""

    name: str
    version: str = ""
    seeing: bool = False
    fresh: bool = False
    proof_at: float = -math.inf


def _reasons(sources: Iterable[SourceStatus]) -> str:
    told = [(each.source, each.reason) for each in sources if each.reason]
    return "; ".join(why if source == _ALL else f"namespace '{source}': {why}" for source, why in told)


class _Subscriber:
    """One follower of ``changes``, with a queue of bounded length."""

    def __init__(
        self, buffer: int, namespace: str | None, present: Callable[[str | None], tuple[Deployment, ...]]
    ) -> None:
        self._buffer = buffer
        self._namespace = namespace
        self._present = present
        self._queue: deque[DeploymentChange] = deque()
        self._behind = 0
        self._news = asyncio.Event()
        self._ended = False
        self._begin()

    def _begin(self) -> None:
        self._behind = 0
        self._queue.extend(DeploymentChange(ChangeKind.PRESENT, d) for d in self._present(self._namespace))
        self._queue.append(DeploymentChange(ChangeKind.SYNCED))
        self._news.set()

    def offer(self, change: DeploymentChange) -> bool:
        """Queue a change; where there is no room, start over.

        Returns:
            Whether the subscriber lagged.
        """
        if change.deployment is not None and self._namespace not in {None, change.deployment.ref.namespace}:
            return False
        self._behind += 1
        if self._behind > self._buffer:
            self._queue.clear()
            self._queue.append(DeploymentChange(ChangeKind.LAGGED))
            self._begin()
            return True
        self._queue.append(change)
        self._news.set()
        return False

    async def next(self) -> DeploymentChange | None:
        """Return the next change; None when there will be no more."""
        while not self._queue:
            if self._ended:
                return None
            self._news.clear()
            await self._news.wait()
        change = self._queue.popleft()
        if change.kind in _COUNTED:
            self._behind -= 1
        return change

    def end(self) -> None:
        """Tell nothing more."""
        self._ended = True
        self._queue.clear()
        self._news.set()


_COUNTED: Final = frozenset({ChangeKind.ADDED, ChangeKind.MODIFIED, ChangeKind.DELETED})
