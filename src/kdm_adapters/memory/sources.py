"""What the in-memory repository has seen of its cluster, source by source."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

from attrs import define

from kdm_adapters.memory.faults import Faults
from kdm_core.errors import CacheNotSynced, CacheStale, NamespaceNotWatched
from kdm_core.model import (
    ALL_NAMESPACES,
    Deployment,
    DeploymentRef,
    Observation,
    SourceStatus,
    SyncStatus,
    Trouble,
)
from kdm_core.versions import older


@define
class Source:
    """A watched namespace, or all of them, and what has been seen of it.

    Attributes:
        name: The namespace, or "*".
        version: The newest version seen; "" before the first.
        seeing: Whether what happens is seen.
        fresh: Whether what was seen counts as current.
        proof_at: When it was current last, in seconds on the repository's clock.
    """

    name: str
    version: str = ""
    seeing: bool = False
    fresh: bool = False
    proof_at: float = -math.inf

    def covers(self, namespace: str) -> bool:
        """Return whether the namespace is this source's."""
        return self.name in {ALL_NAMESPACES, namespace}


class Sources:
    """The sources of one repository, and what can be read from them.

    Args:
        namespaces: The watched ones, sorted; empty for all.
        faults: What goes wrong.
        stale_after_s: After how many seconds without proof of freshness a source is stale.
        refuse_stale: Whether reads are refused then.
        clock: Monotonic seconds.

    Attributes:
        running: Whether the repository runs.
    """

    def __init__(
        self,
        namespaces: tuple[str, ...],
        faults: Faults,
        *,
        stale_after_s: float,
        refuse_stale: bool,
        clock: Callable[[], float],
    ) -> None:
        self.running = False
        self._all = [Source(each) for each in namespaces or (ALL_NAMESPACES,)]
        self._namespaces = namespaces
        self._faults = faults
        self._stale_after_s = stale_after_s
        self._refuse_stale = refuse_stale
        self._clock = clock

    def __iter__(self) -> Iterator[Source]:
        return iter(self._all)

    def of(self, namespace: str) -> Source:
        """Return the source of a watched namespace."""
        return next(each for each in self._all if each.covers(namespace))

    def synced(self, source: Source) -> bool:
        """Return whether a complete state of a source has been seen."""
        return bool(source.version) and not self._faults.not_synced

    def look(self, source: Source) -> bool:
        """Begin or cease to see what happens, as the faults have it.

        Returns:
            Whether there is something to catch up with.
        """
        faults = self._faults
        broken = faults.not_synced or faults.disconnected or faults.unreachable
        seeing = self.running and not (broken or source.name in faults.disconnected_namespaces)
        fresh = seeing and not faults.stale
        if source.fresh and not fresh:
            source.proof_at = self._clock()
        behind = seeing and not source.seeing
        source.seeing, source.fresh = seeing, fresh
        return behind

    def status(self, objects: int) -> SyncStatus:
        """Return how far what was seen can be trusted.

        Args:
            objects: How many Deployments are held.
        """
        sources = tuple(self._status(each) for each in self._all)
        return SyncStatus(
            synced=all(each.synced for each in sources),
            connected=all(each.connected for each in sources),
            resource_version=min((each.resource_version for each in sources), key=lambda v: int(v or 0)),
            age_s=max(each.age_s for each in sources),
            stale=any(each.stale for each in sources),
            objects=objects,
            reason=_reasons(sources),
            sources=sources,
        )

    def check_watched(self, namespace: str) -> None:
        """Check that a namespace is watched.

        Raises:
            NamespaceNotWatched: It is not.
        """
        if self._namespaces and namespace not in self._namespaces:
            raise NamespaceNotWatched(namespace, self._namespaces)

    def check_readable(self, namespace: str) -> None:
        """Check that a namespace can be read, or all for "*".

        Raises:
            NamespaceNotWatched, CacheNotSynced, CacheStale: It cannot.
        """
        if namespace != ALL_NAMESPACES:
            self.check_watched(namespace)
        sources = self._all if namespace == ALL_NAMESPACES else [self.of(namespace)]
        if missing := [self._status(each) for each in sources if not self.synced(each)]:
            message = f"no complete state has been read from the cluster yet: {_reasons(missing)}"
            raise CacheNotSynced(message + self._choice(namespace))
        if self._refuse_stale and (stale := [each for each in map(self._status, sources) if each.stale]):
            age_s = max(each.age_s for each in stale)
            message = f"the cached state is {age_s:.0f} s old, past its bound: {_reasons(stale)}"
            raise CacheStale(message + self._choice(namespace))

    def observed(self, ref: DeploymentRef, deployment: Deployment | None) -> Observation:
        """Return what the source of a watched namespace has said of a Deployment."""
        return Observation(deployment, self._status(self.of(ref.namespace)))

    def have_seen(self, namespace: str, resource_version: str) -> bool:
        """Return whether a namespace, or all for "*", has been seen at a version."""
        return all(
            each.version and not older(each.version, resource_version)
            for each in self._all
            if namespace == ALL_NAMESPACES or each.covers(namespace)
        )

    def names(self, namespace: str) -> list[str]:
        """Return the sources that a watched namespace, or "*", is read from: a namespace each, or "*" for all."""
        return [each.name for each in self._all if namespace == ALL_NAMESPACES or each.covers(namespace)]

    def _status(self, source: Source) -> SourceStatus:
        synced = self.synced(source)
        age_s = 0.0 if source.fresh else self._clock() - source.proof_at
        stale = synced and (self._faults.stale or age_s > self._stale_after_s)
        reason, trouble = "", None
        if not synced:
            trouble = Trouble.NOT_READ
            reason = "the first list has not been read yet" if self.running else "the repository is not running"
        elif not source.seeing:
            trouble = Trouble.INTERRUPTED if self.running else Trouble.STOPPED
            reason = "the watch is broken" if self.running else "the repository has been stopped"
        elif stale:
            reason = f"nothing was heard from the cluster for {age_s:.0f} s, which is past the bound"
        version = source.version if synced else ""
        return SourceStatus(source.name, synced, source.seeing, version, age_s, stale, reason, trouble)

    def _choice(self, namespace: str) -> str:
        readable = [each.source for each in map(self._status, self._all) if each.synced and not each.stale]
        if namespace != ALL_NAMESPACES or not readable:
            return ""
        return f" (name a namespace to read it alone; these can be read: {', '.join(readable)})"


def _reasons(sources: Iterable[SourceStatus]) -> str:
    given = [(each.source, each.reason) for each in sources if each.reason]
    return "; ".join(why if source == ALL_NAMESPACES else f"namespace '{source}': {why}" for source, why in given)
