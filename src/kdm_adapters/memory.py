"""Deployments in this process' memory: the fake for tests and the embedded default."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from types import MappingProxyType, TracebackType
from typing import Final

from attrs import evolve

from kdm_core.errors import (
    CacheNotSynced,
    CacheStale,
    ClusterTimeout,
    ClusterUnreachable,
    DeploymentNotFound,
    NamespaceNotWatched,
    WriteConflict,
    WriteForbidden,
)
from kdm_core.model import (
    ChangeKind,
    Deployment,
    DeploymentChange,
    DeploymentRef,
    ReplicaStatus,
    SyncStatus,
    check_namespace,
    check_replicas,
)
from kdm_core.ports import DeploymentRepository, Instrument

SUBSCRIBER_BUFFER: Final = 1024
"""Changes a subscriber may be behind before it is told that it lagged."""


class Faults:
    """What can be made to go wrong. Each is off until set, and stays until cleared.

    Attributes:
        not_synced: Reads are refused as before the first list.
        stale: The snapshot counts as past its bound; reads are refused too where the repository refuses stale reads.
        unreachable: Writes and probes find no cluster; reads go on from the snapshot.
        timeout: Writes and probes are not answered in time. A write may have happened: here it has not.
        conflict: Writes meet a concurrent one.
        forbidden: Writes lack the RBAC permission.
    """

    def __init__(self) -> None:
        self.synced = asyncio.Event()
        self.synced.set()
        self.stale = False
        self.unreachable = False
        self.timeout = False
        self.conflict = False
        self.forbidden = False

    @property
    def not_synced(self) -> bool:  # a property so that waiters wake
        return not self.synced.is_set()

    @not_synced.setter
    def not_synced(self, value: bool) -> None:
        if value:
            self.synced.clear()
        else:
            self.synced.set()


class MemoryDeploymentRepository(DeploymentRepository):
    """A ``DeploymentRepository`` that is its own cluster.

    It behaves as a cluster does where a caller can tell: resourceVersions count up over all Deployments, ``generation``
    counts changes of the spec, a deleted and recreated Deployment has another uid, a precondition can fail, and the
    status follows a scale on the loop's next turn, as if controllers were instant (a paused Deployment scales too, as
    it does in Kubernetes).

    ``cluster`` is the back door: what other clients of the cluster would do. While the watch is broken
    (``break_watch``) what happens there is not seen by reads, as with a real watch.

    It does not imitate: admission webhooks and quotas, Pods and rollouts that take time or fail, RBAC per namespace,
    resourceVersions that expire, other objects, several processes, or keeping anything when the process ends.

    Args:
        deployments: What is there in the beginning; uids and versions are given anew.
        namespaces: The namespaces to watch; empty for all of them.
        refuse_stale: Whether reads of a stale snapshot are refused.
        settle: Whether the status follows a scale by itself. If not, it stays until ``cluster.settle`` is called.
        instrument: Told of subscribers that lag.
        clock: Monotonic seconds, for the age.
    """

    def __init__(
        self,
        deployments: Iterable[Deployment] = (),
        *,
        namespaces: Collection[str] = (),
        refuse_stale: bool = False,
        settle: bool = True,
        instrument: Instrument | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.faults = Faults()
        self.cluster = MemoryCluster(settle=settle)
        self._namespaces = tuple(sorted(check_namespace(each) for each in namespaces))
        self._refuse_stale = refuse_stale
        self._instrument = instrument or Instrument()
        self._clock = clock
        self._snapshot: dict[DeploymentRef, Deployment] = {}
        self._by_name: dict[str, set[DeploymentRef]] = {}
        self._version = 0
        self._connected = True
        self._proof_at = clock()
        self._subscribers: set[_Subscriber] = set()
        self._closed = False
        self.cluster.on_change = self._on_change
        for deployment in deployments:
            self.cluster.create(
                deployment.ref,
                deployment.replicas.desired,
                labels=deployment.labels,
                paused=deployment.paused,
            )

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None:
        """End the ``changes`` iterators."""
        self._closed = True
        for subscriber in self._subscribers:
            subscriber.end()

    def get(self, ref: DeploymentRef) -> Deployment:
        self._check_readable(ref.namespace)
        try:
            return self._snapshot[ref]
        except KeyError:
            raise DeploymentNotFound(ref) from None

    def find(self, name: str) -> tuple[Deployment, ...]:
        self._check_readable()
        return tuple(self._snapshot[ref] for ref in sorted(self._by_name.get(name, ())))

    def list(self, namespace: str | None = None) -> tuple[Deployment, ...]:
        self._check_readable(namespace)
        return self._present(namespace)

    def sync_status(self) -> SyncStatus:
        faults = self.faults
        connected = self._connected and not (faults.unreachable or faults.not_synced)
        if connected and not faults.stale:
            self._proof_at = self._clock()
        reason = ""
        if faults.not_synced:
            reason = "the first list has not been read yet"
        elif not connected:
            reason = "the watch is broken"
        elif faults.stale:
            reason = "the newest proof of freshness is past the bound"
        return SyncStatus(
            synced=not faults.not_synced,
            connected=connected,
            resource_version="" if faults.not_synced else str(self._version),
            age_s=self._clock() - self._proof_at,
            stale=faults.stale,
            objects=len(self._snapshot),
            reason=reason,
        )

    async def wait_synced(self, timeout_s: float) -> None:
        try:
            await asyncio.wait_for(self.faults.synced.wait(), timeout_s)
        except TimeoutError as error:
            raise CacheNotSynced(f"not synced within {timeout_s:g} s: {self.sync_status().reason}") from error

    async def probe(self) -> None:
        self._check_reachable("the cluster was asked whether it is ready")

    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, resource_version: str | None = None
    ) -> Deployment:
        check_replicas(replicas)
        self._check_watched(ref.namespace)
        self._check_reachable(f"scaling Deployment '{ref}'")
        if self.faults.forbidden:
            raise WriteForbidden(
                "kdm's identity lacks the RBAC permission 'patch' on 'deployments/scale' "
                f"in namespace '{ref.namespace}'"
            )
        held = self.cluster.deployments.get(ref)
        if held is None:
            raise DeploymentNotFound(ref)
        if self.faults.conflict or resource_version not in {None, held.resource_version}:
            raise WriteConflict(f"Deployment '{ref}' has been changed by somebody else; read it again and retry")
        written = self.cluster.scale(ref, replicas)
        self._apply(ref, written)  # read-your-writes, even while the watch is broken
        return written

    async def changes(self, namespace: str | None = None) -> AsyncIterator[DeploymentChange]:
        if namespace is not None:
            self._check_watched(namespace)
        await self.faults.synced.wait()
        subscriber = _Subscriber(namespace, self._present)
        self._subscribers.add(subscriber)
        try:
            if self._closed:
                return
            while (change := await subscriber.next()) is not None:
                yield change
        finally:
            self._subscribers.discard(subscriber)

    def break_watch(self) -> None:
        """Stop seeing what happens in ``cluster``. Reads go on from the snapshot, and age."""
        self.sync_status()
        self._connected = False

    def heal_watch(self) -> None:
        """See again, and catch up: what was missed arrives as one difference."""
        self._connected = True
        for ref in sorted(self._snapshot.keys() | self.cluster.deployments.keys()):
            self._apply(ref, self.cluster.deployments.get(ref))

    def _check_watched(self, namespace: str) -> None:
        if self._namespaces and namespace not in self._namespaces:
            raise NamespaceNotWatched(namespace, self._namespaces)

    def _check_readable(self, namespace: str | None = None) -> None:
        if self.faults.not_synced:
            raise CacheNotSynced("no complete state has been read from the cluster yet")
        if self.faults.stale and self._refuse_stale:
            raise CacheStale(f"the cached state is {self.sync_status().age_s:.0f} s old, past its bound")
        if namespace is not None:
            self._check_watched(namespace)

    def _check_reachable(self, doing: str) -> None:
        if self.faults.unreachable:
            raise ClusterUnreachable(f"the cluster cannot be reached ({doing})")
        if self.faults.timeout:
            raise ClusterTimeout(f"the cluster did not answer in time ({doing})")

    def _present(self, namespace: str | None) -> tuple[Deployment, ...]:
        return tuple(d for ref, d in sorted(self._snapshot.items()) if namespace in {None, ref.namespace})

    def _on_change(self, ref: DeploymentRef, deployment: Deployment | None) -> None:
        if self._connected and not self.faults.unreachable:
            self._apply(ref, deployment)

    def _apply(self, ref: DeploymentRef, deployment: Deployment | None) -> None:
        if self._namespaces and ref.namespace not in self._namespaces:
            return
        held = self._snapshot.get(ref)
        if held == deployment:
            return
        self._version = max(self._version, self.cluster.version)
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


class MemoryCluster:
    """What stands in for the cluster: the truth, and what anybody but kdm does to it.

    Args:
        settle: Whether the status follows the spec by itself: on the event loop's next turn, or at once without a loop.
    """

    def __init__(self, *, settle: bool = True) -> None:
        self.deployments: dict[DeploymentRef, Deployment] = {}
        self.version = 0
        self.on_change: Callable[[DeploymentRef, Deployment | None], None] = lambda _ref, _deployment: None
        self._settle = settle

    def create(
        self, ref: DeploymentRef, replicas: int, *, labels: Mapping[str, str] | None = None, paused: bool = False
    ) -> Deployment:
        """Create a Deployment; replace one of the same name by a new object.

        Args:
            ref: Its namespace and name.
            replicas: How many are desired.
            labels: Its labels; copied.
            paused: Whether its rollouts are paused.

        Returns:
            It, settled (see ``settle``) or not.
        """
        if ref in self.deployments:
            self.delete(ref)
        fresh = Deployment(
            ref=ref,
            uid=str(uuid.uuid4()),
            resource_version="",
            generation=1,
            observed_generation=0,
            replicas=ReplicaStatus(desired=check_replicas(replicas)),
            paused=paused,
            labels=MappingProxyType(dict(labels or {})),
        )
        return self._store(fresh)

    def scale(self, ref: DeploymentRef, replicas: int) -> Deployment:
        """Change how many are desired. The same number again changes nothing, not even the resourceVersion."""
        held = self.deployments[ref]
        if held.replicas.desired == replicas:
            return held
        return self._store(
            evolve(held, generation=held.generation + 1, replicas=evolve(held.replicas, desired=replicas))
        )

    def relabel(self, ref: DeploymentRef, labels: Mapping[str, str]) -> Deployment:
        """Replace the labels: a change that is none of the spec."""
        return self._store(evolve(self.deployments[ref], labels=MappingProxyType(dict(labels))))

    def delete(self, ref: DeploymentRef) -> None:
        """Delete a Deployment."""
        del self.deployments[ref]
        self.version += 1
        self.on_change(ref, None)

    def settle(self, ref: DeploymentRef) -> None:
        """Let the status follow the spec, as the controllers would. Does nothing to one that is settled or gone."""
        held = self.deployments.get(ref)
        if held is None:
            return
        n = held.replicas.desired
        counts = ReplicaStatus(desired=n, current=n, updated=n, ready=n, available=n)
        if held.replicas != counts or held.observed_generation != held.generation:
            self._store(evolve(held, observed_generation=held.generation, replicas=counts), settled=True)

    def _store(self, deployment: Deployment, *, settled: bool = False) -> Deployment:
        self.version += 1
        ref = deployment.ref
        self.deployments[ref] = stored = evolve(deployment, resource_version=str(self.version))
        self.on_change(ref, stored)
        if self._settle and not settled:
            try:
                asyncio.get_running_loop().call_soon(self.settle, ref)
            except RuntimeError:  # no loop: a program that only reads, or is being set up
                self.settle(ref)
        return self.deployments[ref]


class _Subscriber:
    """One follower of ``changes``: a queue of at most ``SUBSCRIBER_BUFFER`` changes."""

    def __init__(self, namespace: str | None, present: Callable[[str | None], tuple[Deployment, ...]]) -> None:
        self._namespace = namespace
        self._present = present
        self._queue: deque[DeploymentChange] = deque()
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
        if self._namespace is not None and change.deployment and change.deployment.ref.namespace != self._namespace:
            return False
        self._behind += 1
        if self._behind > SUBSCRIBER_BUFFER:
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
        self._behind = max(0, self._behind - 1) if change.kind in _COUNTED else self._behind
        return change

    def end(self) -> None:
        self._ended = True
        self._queue.clear()
        self._news.set()


_COUNTED: Final = frozenset({ChangeKind.ADDED, ChangeKind.MODIFIED, ChangeKind.DELETED})
