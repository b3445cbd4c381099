"""The port to the Deployments, in parts: reading, writing, following, observing one of them, and annotating them."""

from __future__ import annotations

import asyncio
import functools
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from types import TracebackType
from typing import Self

from attrs import evolve

from kdm_core.errors import DeploymentNotFound, NamespaceNotWatched, NotSeenYet, Unavailable
from kdm_core.model import (
    ALL_NAMESPACES,
    Deployment,
    DeploymentChange,
    DeploymentRef,
    Observation,
    SyncStatus,
)
from kdm_core.parked import Parked
from kdm_core.ports.callbacks import OnSeen, call_on_changes, call_with_all
from kdm_core.scaling import ANY, Expect
from kdm_core.versions import older


class DeploymentReader(ABC):
    """Reads Deployments from memory."""

    @abstractmethod
    def get(self, ref: DeploymentRef) -> Deployment:
        """Return one Deployment.

        Args:
            ref: Which one.

        Returns:
            Its newest known state.

        Raises:
            DeploymentNotFound: It is not in the snapshot (``NamespaceNotWatched``: and could never be).
            CacheNotSynced: There is no complete snapshot of its namespace yet.
            CacheStale: The snapshot of its namespace is too old and the repository was configured to refuse it.
        """

    @abstractmethod
    def find(self, name: str) -> tuple[Deployment, ...]:
        """Return the Deployments of this name in every watched namespace.

        Args:
            name: The name to look for.

        Returns:
            All of them, ordered by namespace; empty when there is none. Costs the same however many there are in all.

        Raises:
            CacheNotSynced: There is no complete snapshot of every watched namespace yet; the message says which is
                missing and that the others can be read by naming one.
            CacheStale: One of them is too old and the repository was configured to refuse it.
        """

    @abstractmethod
    def list(self, namespace: str = ALL_NAMESPACES) -> tuple[Deployment, ...]:
        """Return all Deployments, or those of one namespace.

        Args:
            namespace: The namespace; "*" for every watched one.

        Returns:
            The Deployments, ordered by namespace, then name. The same tuple again where nothing has changed, as far as
            an adapter can tell cheaply.

        Raises:
            NamespaceNotWatched: The namespace lies outside the watched ones.
            CacheNotSynced: There is no complete snapshot of the namespace, or of every watched one, yet; for the latter
                the message says which is missing and that the others can be read by naming one.
            CacheStale: The snapshot is too old and the repository was configured to refuse it.
        """

    async def fetch(self, ref: DeploymentRef) -> Deployment:
        """Ask for one Deployment where it lives: for what the snapshot does not have yet.

        By default it is what ``get`` returns.

        Args:
            ref: Which one.

        Returns:
            Its newest state. Reads may show it later.

        Raises:
            DeploymentNotFound: It does not exist (``NamespaceNotWatched``: or lies outside the watched namespaces).
            Unavailable: The cluster could not be reached or could not serve.
        """
        return self.get(ref)

    @abstractmethod
    def sync_status(self) -> SyncStatus:
        """Return how far the snapshot can be trusted at this moment, in all and source by source. Never raises."""

    @abstractmethod
    async def wait_synced(self, timeout_s: float) -> None:
        """Wait until a complete snapshot of every source is there. Until then some may be readable: ``sync_status``.

        Args:
            timeout_s: How long to wait at most, in seconds.

        Raises:
            CacheNotSynced: It was not there in time; the message says which source is missing, and why.
        """


class DeploymentWriter(ABC):
    """Reaches the home of the Deployments."""

    @abstractmethod
    async def probe(self) -> None:
        """Ask the cluster whether it can serve at this moment. The one call besides writes that reaches it.

        Raises:
            ClusterUnreachable: It cannot be reached or says it is not ready.
            ClusterTimeout: It did not answer in time.
            ClusterUnrecognized: Something else answered in its place.
        """

    @abstractmethod
    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, expect: Expect = ANY, dry_run: bool = False
    ) -> Deployment:
        """Ask for another number of replicas, through the ``scale`` subresource alone.

        Returns as soon as the cluster has stored the count; Pods follow later. Setting the count it already has
        succeeds and changes nothing but, perhaps, the version.

        Args:
            ref: Which Deployment.
            replicas: How many, from 0 to 2**31 - 1.
            expect: What the Deployment must be like. The cluster judges it in one step with the write: of several
                writers that expect the same count, and set another, one succeeds.
            dry_run: Whether the cluster only tries: everything is judged, admission included, and nothing is stored.

        Returns:
            The Deployment as written: ``replicas.desired`` is what the cluster stored. In a dry run it is what it would
            have stored, and reads do not show it.

        Raises:
            InvalidReplicas: It is no count that Kubernetes could store.
            DeploymentNotFound: It does not exist (``NamespaceNotWatched``: or lies outside the watched namespaces).
            WriteConflict: It is not as expected, or the cluster gave up on concurrent writers. The error has the
                present state where the cluster was asked for it, as it is where a count or a uid was expected.
            WriteForbidden: The cluster does not let kdm scale here.
            WriteInvalid: The cluster, or an admission webhook or policy in it, refused the count.
            ClusterUnreachable: The cluster could not be reached; nothing was written.
            ClusterTimeout: No answer in time, or a failure half-way; it may have been written.
            ClusterUnrecognized: What answered is not the cluster's API; it may have been written.
            ClusterOverloaded: The cluster asked for fewer requests; nothing was written.
            OwnerConflict, OverrideForbidden: Its home judges owners itself, as another kdm does, and refuses the count.
        """


class DeploymentFeed(ABC):
    """Follows what happens to Deployments."""

    @abstractmethod
    def changes(self, namespace: str = ALL_NAMESPACES) -> AsyncGenerator[DeploymentChange, None]:
        """Follow what happens: first the present state, then each change once, in order per Deployment.

        The iterator yields ``PRESENT`` for each Deployment, then ``SYNCED``, then ``ADDED``, ``MODIFIED`` and
        ``DELETED`` as they come; one that was deleted and created again under the same name is both, seen or
        missed. Before the first sync of the namespace (of every watched one, for "*") it waits. A subscriber that is
        slower than the changes gets ``LAGGED`` and then the present state again; it never slows anybody else and costs
        a bounded amount of memory. It ends when the repository stops, and where waiting for a change is cancelled, as
        by a timeout. Close it (``aclose``) when done.

        Args:
            namespace: The namespace to follow; "*" for every watched one.

        Raises:
            NamespaceNotWatched: The namespace lies outside the watched ones.
        """


class DeploymentObserver(DeploymentReader, DeploymentFeed):
    """Observes single Deployments, for those who wait for something.

    Nothing here needs to be implemented: it rests on the other parts. An adapter can do each at less cost.
    """

    def observed(self, ref: DeploymentRef) -> Observation:
        """Return what the cluster itself has said of one Deployment, and how far its source can be trusted.

        Other than ``get`` it shows nothing of this repository's own writes before the cluster has delivered them, and
        it answers however old that is: ``source`` says it.

        Args:
            ref: Which one.

        Raises:
            NamespaceNotWatched: Its namespace lies outside the watched ones.
        """
        source = self.sync_status().of(ref.namespace)
        try:
            return Observation(self.get(ref), source)
        except NamespaceNotWatched:
            raise
        except DeploymentNotFound:
            return Observation(None, source)
        except Unavailable:
            return Observation(None, evolve(source, resource_version=""))

    def follow(self, ref: DeploymentRef, on_change: Callable[[], None]) -> Callable[[], None]:
        """Have a function called whenever ``observed`` may return something else of one Deployment.

        That its source gets older, or further without a change of this Deployment, is no reason to call.

        Args:
            ref: Which one.
            on_change: Called on the event loop's thread, in the middle of things: it must be quick; what it raises is
                logged. It is also called when the repository stops.

        Returns:
            Ends it; may be called twice.

        Raises:
            NamespaceNotWatched: Its namespace lies outside the watched ones.
        """
        task = asyncio.ensure_future(call_on_changes(self.changes(ref.namespace), ref, on_change))
        return functools.partial(_cancel, task)

    def follow_all(self, on_seen: OnSeen) -> Callable[[], None]:
        """Have a function called with each state of each Deployment that the cluster has said, in order for each one.

        Own writes are not among them before the cluster delivers them. By default they are: it rests on ``changes``.

        Args:
            on_seen: Called on the event loop's thread, in the middle of things, with the Deployment's name and its
                state, None once it is gone: first with what is there. It must be quick; what it raises is logged. A
                state may come twice.

        Returns:
            Ends it; may be called twice.
        """
        task = asyncio.ensure_future(call_with_all(self.changes(), on_seen))
        return functools.partial(_cancel, task)

    async def wait_seen(self, namespace: str, resource_version: str, timeout_s: float) -> None:
        """Wait until the cluster's state at a version has been seen: until reads are at least that new.

        Args:
            namespace: Of one namespace; "*" for every watched one.
            resource_version: The version. One that is no number has always been seen.
            timeout_s: How long to wait at most, in seconds.

        Raises:
            NamespaceNotWatched: The namespace lies outside the watched ones.
            NotSeenYet: It was not seen in time, or the repository stopped.
        """
        changes = self.changes(namespace)
        try:
            async with asyncio.timeout(timeout_s), aclosing(changes):
                while not self._has_seen(namespace, resource_version):
                    await anext(changes)
        except (TimeoutError, StopAsyncIteration):
            if not self._has_seen(namespace, resource_version):
                raise not_seen_yet(self.sync_status(), namespace, resource_version) from None

    def _has_seen(self, namespace: str, resource_version: str) -> bool:
        seen = self.sync_status().of(namespace).resource_version
        return bool(seen) and not older(seen, resource_version)


class DeploymentAnnotator:
    """Shows what only kdm knows of a Deployment together with it: in reads, and to followers as ``MODIFIED``.

    Nothing here needs to be implemented: by default it is not shown.
    """

    def annotate_parked(self, ref: DeploymentRef, parked: Parked | None) -> None:
        """Show that a Deployment is parked, from now on.

        Args:
            ref: Which one. It need not exist.
            parked: What is remembered of it; not shown with another object of its name. None where it is not parked.
        """

    def annotate_change(self, written: Deployment, actor: str, reason: str) -> None:
        """Show who asked for a count, and why, for as long as it is the newest change of the count.

        Args:
            written: What ``set_replicas`` returned, where it changed the count.
            actor: Who asked.
            reason: Why; "" where no reason was given.
        """


class DeploymentRepository(DeploymentObserver, DeploymentWriter, DeploymentAnnotator):
    """Deployments, read from memory and written to their home.

    A repository is an async context manager. Entering starts it and returns at once, before anything is synced;
    leaving stops it within a second. It belongs to the event loop it was entered on: call it from that loop's
    thread. What it returns is immutable and may go anywhere.

    Guarantees
        * A read never blocks and never reaches the cluster: it costs the cluster nothing.
        * One read is answered from one snapshot: a complete state that existed, never half of a relist.
        * Sources are judged one by one. Where some namespaces are watched, each is a source: a read of one needs that
          one alone, whether or not the others can be read; a read over all (``find``, ``list()``) needs them all.
        * Read-your-writes: once ``set_replicas`` has returned, reads through this repository show a version of that
          Deployment at least as new as the one it returned.
        * Per Deployment, ``changes`` and successive reads move forward only, unless the cluster itself goes back
          because it was restored from a backup: then they go back with it, once.
        * Staleness is never hidden: ``sync_status`` says how old the newest proof of freshness is.

    Not guaranteed
        * That a read is current. Between a change and its visibility lies the watch's delay, usually milliseconds,
          unbounded while disconnected.
        * Any order between changes of different Deployments.
        * That every intermediate state is seen. What happens while disconnected arrives as one difference.
    """

    async def __aenter__(self) -> Self:
        """Start. Returns before the first sync.

        Raises:
            RuntimeError: It was entered before. A repository runs once.
        """
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None:
        """Stop within a second; running ``changes`` iterators end. Called twice, it does nothing more.

        Every step is taken, however often the caller is cancelled meanwhile: afterwards ``sync_status`` says that it is
        stopped, and no task or connection is left. Reads go on from the last snapshot; writes and probes fail.
        """


def not_seen_yet(status: SyncStatus, namespace: str, resource_version: str) -> NotSeenYet:
    """Return the error that says how far a namespace has been seen, "*" for all of them."""
    seen = status.of(namespace).resource_version or "none"
    where = "the watched namespaces" if namespace == ALL_NAMESPACES else f"namespace '{namespace}'"
    return NotSeenYet(f"the cache of {where} is at resourceVersion {seen}, and not at {resource_version} yet")


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
