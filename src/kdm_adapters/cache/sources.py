"""The watched namespaces, each a source: which can be read, and why not."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, Protocol

from attrs import evolve

from kdm_core.errors import CacheNotSynced, CacheStale, NamespaceNotWatched
from kdm_core.model import ALL_NAMESPACES, Deployment, DeploymentRef, Observation, SourceStatus, SyncStatus
from kdm_core.versions import older

_NAMED: Final = 3
"""How many sources a message names."""


class Said(Protocol):
    """What a source says."""

    def observed(self, namespace: str, name: str) -> Deployment | None:
        """Return what the source itself has said of a Deployment, without own writes."""


class View(Protocol):
    """What has been seen of one source."""

    @property
    def published(self) -> Said:
        """What it says."""

    @property
    def synced(self) -> bool:
        """Whether a complete state is published."""

    @property
    def resource_version(self) -> str:
        """The newest version seen, "" before the first."""

    def status(self, now: float, stale_after_s: float) -> SourceStatus:
        """Return how far this source can be trusted.

        Args:
            now: Seconds on the repository's clock.
            stale_after_s: Past which age it is stale, in seconds.
        """

    def stop(self) -> None:
        """Say from now on that the repository has stopped."""


class Sources:
    """What can be read from the sources of one repository.

    Args:
        views: What has been seen of each, by namespace; by None where one has all namespaces.
        stale_after_s: After how many seconds without proof of freshness a source is stale.
        refuse_stale: Whether reads are refused then.
        clock: Monotonic seconds.

    Attributes:
        synced: Whether every source is.
        open: Whether nothing but that decides what can be read: all namespaces are watched, and stale ones are served.
    """

    def __init__(
        self,
        views: Mapping[str | None, View],
        *,
        stale_after_s: float,
        refuse_stale: bool,
        clock: Callable[[], float],
    ) -> None:
        self.synced = False
        self.open = None in views and not refuse_stale
        self._views = views
        self._namespaces = None if None in views else tuple(each for each in views if each is not None)
        self._stale_after_s = stale_after_s
        self._refuse_stale = refuse_stale
        self._clock = clock

    def of(self, namespace: str) -> str | None:
        """Return the key of the source that a watched namespace, or "*", is read from."""
        return None if self._namespaces is None or namespace == ALL_NAMESPACES else namespace

    def look(self) -> None:
        """Take note of which sources are synced."""
        self.synced = all(view.synced for view in self._views.values())

    def status(self, objects: int) -> SyncStatus:
        """Return how far reads can be trusted.

        Args:
            objects: How many Deployments are held.
        """
        sources = self._statuses(self._views.values())
        return SyncStatus(
            synced=all(each.synced for each in sources),
            connected=all(each.connected for each in sources),
            resource_version=functools.reduce(_oldest, (each.resource_version for each in sources)),
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
        if self._namespaces is not None and namespace not in self._namespaces:
            raise NamespaceNotWatched(namespace, self._namespaces)

    def check_readable(self, namespace: str) -> None:
        """Check that a namespace can be read, or all for "*".

        Raises:
            NamespaceNotWatched, CacheNotSynced, CacheStale: It cannot.
        """
        if namespace != ALL_NAMESPACES:
            self.check_watched(namespace)
        if not self.synced and not all(view.synced for view in self._views_of(namespace)):
            raise CacheNotSynced(self.why_not_synced(namespace))
        if self._refuse_stale and (stale := [s for s in self._statuses(self._views_of(namespace)) if s.stale]):
            raise CacheStale(f"the cache is stale: {_reasons(stale)}{self._choice(namespace, lambda s: not s.stale)}")

    def why_not_synced(self, namespace: str = ALL_NAMESPACES) -> str:
        """Return what is missing, for a person."""
        missing = [each for each in self._statuses(self._views_of(namespace)) if not each.synced]
        choice = self._choice(namespace, lambda each: each.synced)
        return f"the Deployments have not been read yet: {_reasons(missing)}{choice}"

    def observed(self, ref: DeploymentRef) -> Observation:
        """Return what the source of a watched namespace has said of a Deployment."""
        (source,) = self._statuses([self._views[self.of(ref.namespace)]])
        return Observation(self.said(ref), source)

    def said(self, ref: DeploymentRef) -> Deployment | None:
        """Return what the source of a watched namespace has said of a Deployment, without how far it can be trusted."""
        return self._views[self.of(ref.namespace)].published.observed(ref.namespace, ref.name)

    def have_seen(self, namespace: str, resource_version: str) -> bool:
        """Return whether a namespace, or all for "*", has been seen at a version."""
        return all(
            view.resource_version and not older(view.resource_version, resource_version)
            for view in self._views_of(namespace)
        )

    def names(self, namespace: str) -> list[str]:
        """Return the sources that a watched namespace, or "*", is read from: a namespace each, or "*" for all."""
        source = self.of(namespace)
        return [each or ALL_NAMESPACES for each in (self._views if source is None else [source])]

    def _views_of(self, namespace: str) -> Collection[View]:
        source = self.of(namespace)
        return self._views.values() if source is None else [self._views[source]]

    def _statuses(self, views: Iterable[View]) -> tuple[SourceStatus, ...]:
        now = self._clock()
        return tuple(
            evolve(each, reason=f"nothing heard from the cluster for {each.age_s:.0f} s, {self._allowed()}")
            if each.stale and not each.reason and math.isfinite(each.age_s)
            else each
            for each in (view.status(now, self._stale_after_s) for view in views)
        )

    def _allowed(self) -> str:
        return f"{self._stale_after_s:.0f} s are allowed"

    def _choice(self, namespace: str, readable: Callable[[SourceStatus], bool]) -> str:
        """Return what can be read instead of all namespaces, as the end of a message."""
        names = [each.source for each in self._statuses(self._views.values()) if each.synced and readable(each)]
        if namespace != ALL_NAMESPACES or not names:
            return ""
        return f" (name a namespace to read it alone; these can be read: {_shortened(names, ', ')})"


def _oldest(a: str, b: str) -> str:
    return a if not a or (b and older(a, b)) else b


def _reasons(sources: Iterable[SourceStatus]) -> str:
    """Return what is wrong with sources, as one line."""
    given = [(each.source, each.reason) for each in sources if each.reason]
    return _shortened([why if source == "*" else f"namespace '{source}': {why}" for source, why in given], "; ")


def _shortened(items: Sequence[str], separator: str) -> str:
    return separator.join([*items[:_NAMED], *([f"{len(items)} in all"] if len(items) > _NAMED else [])])
