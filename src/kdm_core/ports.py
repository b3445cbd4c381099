"""The ports: what the domain needs from the outside, as protocols that adapters subclass explicitly."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Literal, Protocol, Self

from kdm_core.model import AuditEvent, Deployment, DeploymentChange, DeploymentRef, SyncStatus


class DeploymentRepository(Protocol):
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
        * Staleness is told, not hidden: ``sync_status`` says how old the newest proof of freshness is.

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
        return None  # noqa: RET501 - a body that does nothing makes a method of a protocol abstract

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
    def list(self, namespace: str | None = None) -> tuple[Deployment, ...]:
        """Return all Deployments, or those of one namespace.

        Args:
            namespace: The namespace, or None for every watched one.

        Returns:
            They, ordered by namespace, then name.

        Raises:
            NamespaceNotWatched: The namespace lies outside the watched ones.
            CacheNotSynced: There is no complete snapshot of the namespace, or of every watched one, yet; for the latter
                the message says which is missing and that the others can be read by naming one.
            CacheStale: The snapshot is too old and the repository was configured to refuse it.
        """

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
        self, ref: DeploymentRef, replicas: int, *, resource_version: str | None = None
    ) -> Deployment:
        """Ask for another number of replicas, through the ``scale`` subresource alone.

        Returns as soon as the cluster has stored the wish; Pods follow later. Setting the count it already has
        succeeds and changes nothing but, perhaps, the version.

        Args:
            ref: Which Deployment.
            replicas: How many, from 0 to 2**31 - 1.
            resource_version: Succeed only if the Deployment is still at this version; None for any version.

        Returns:
            The Deployment as written: ``replicas.desired`` is what the cluster stored.

        Raises:
            InvalidReplicas: It is no count that Kubernetes could store.
            DeploymentNotFound: It does not exist (``NamespaceNotWatched``: or lies outside the watched namespaces).
            WriteConflict: It is no longer at ``resource_version``, or the cluster gave up on concurrent writers.
            WriteForbidden: The cluster does not let kdm scale here.
            WriteInvalid: The cluster, or an admission webhook or policy in it, refused the count.
            ClusterUnreachable: The cluster could not be reached; nothing was written.
            ClusterTimeout: No answer in time, or a failure half-way; it may have been written.
            ClusterUnrecognized: What answered is not the cluster's API; it may have been written.
            ClusterOverloaded: The cluster asked for fewer requests; nothing was written.
        """

    @abstractmethod
    def changes(self, namespace: str | None = None) -> AsyncGenerator[DeploymentChange, None]:
        """Follow what happens: first the present state, then each change once, in order per Deployment.

        The iterator yields ``PRESENT`` for each Deployment, then ``SYNCED``, then ``ADDED``, ``MODIFIED`` and
        ``DELETED`` as they come; one that was deleted and created anew under the same name is told as both, seen or
        missed. Before the first sync of the namespace (of every watched one, for None) it waits. A subscriber that is
        slower than the changes gets ``LAGGED`` and then the present state anew; it never slows anybody else and costs a
        bounded amount of memory.
        It ends when the repository stops. Close it (``aclose``) when done.

        Args:
            namespace: The namespace to follow, or None for every watched one.

        Raises:
            NamespaceNotWatched: The namespace lies outside the watched ones.
        """


class AuditSink(Protocol):
    """Where the audit trail goes."""

    @abstractmethod
    def check(self) -> None:
        """Make sure that an event could be recorded now. Called before a write is sent to the cluster.

        Raises:
            AuditUnavailable: It could not, and the sink was configured to be required.
        """

    @abstractmethod
    def record(self, event: AuditEvent) -> None:
        """Record one event, durably, before returning.

        Raises:
            AuditUnavailable: It could not be recorded, and the sink was configured to be required.
        """


class Instrument:
    """What kdm tells about itself while it runs. Every method does nothing; a metrics adapter overrides them.

    Called on the event loop's thread, from hot paths: an implementation must be quick and must not raise.
    ``source`` is the namespace a watch covers, or "*" for all of them.
    """

    def read_served(self, kind: Literal["get", "find", "list"]) -> None:
        """A read was answered from memory: a cluster call that was not made."""

    def watch_event(self, source: str, kind: str) -> None:
        """A watch event arrived: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""

    def event_undecodable(self, source: str) -> None:
        """A watch event or a listed object could not be understood and was left out; a relist follows."""

    def listed(self, source: str, mode: Literal["list", "watch-list"], reason: str, seconds: float) -> None:
        """A complete state was read. ``reason`` says why: initial, expired, error, undecodable, went-back, ..."""

    def watch_ended(self, source: str, reason: str) -> None:
        """A watch stream ended: timeout, expired, error, silent, went-back, ..."""

    def backed_off(self, source: str, seconds: float) -> None:
        """The next attempt waits this long, in seconds."""

    def api_request(self, verb: str, code: int, seconds: float) -> None:
        """A request to the cluster was answered with this status code (0: not at all) after this many seconds.

        ``verb`` is RBAC's: list, watch, patch, get. For a watch the seconds are those until it opened.
        """

    def write(self, outcome: str, seconds: float) -> None:
        """A ``set_replicas`` ended; ``outcome`` is a value of :class:`~kdm_core.model.Outcome`."""

    def subscriber_lagged(self) -> None:
        """A follower of ``changes`` fell behind."""

    def audit_lost(self) -> None:
        """An audit event could not be recorded."""
