"""Following single Deployments and waiting for versions, for every repository that learns what happens by itself."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Protocol

from kdm_adapters.cache.followed import AwaitedVersions, Followed
from kdm_core.model import ALL_NAMESPACES, DeploymentRef
from kdm_core.ports import DeploymentObserver, not_seen_yet


class Seen(Protocol):
    """How far the sources of a repository have been seen."""

    def check_watched(self, namespace: str) -> None:
        """Raise NamespaceNotWatched where a namespace is not watched."""

    def have_seen(self, namespace: str, resource_version: str) -> bool:
        """Return whether a namespace, or all for "*", has been seen at a version."""

    def names(self, namespace: str) -> Iterable[str]:
        """Return the sources that a watched namespace, or "*", is read from: a namespace each, or "*" for all."""


class Observing(DeploymentObserver):
    """The part of a repository that lets others follow single Deployments, and wait for versions.

    Whoever uses it calls ``_followed`` where a Deployment has changed and ``_awaited`` where a source got further, and
    ends both when it stops: ``_nobody_waits``.
    """

    _followed: Followed
    _awaited: Mapping[str, AwaitedVersions]

    @property
    @abstractmethod
    def _seen(self) -> Seen:
        """How far the sources have been seen."""

    def follow(self, ref: DeploymentRef, on_change: Callable[[], None]) -> Callable[[], None]:
        """See the port. Costs nothing until this Deployment changes."""
        self._seen.check_watched(ref.namespace)
        return self._followed.add(ref, on_change)

    async def wait_seen(self, namespace: str, resource_version: str, timeout_s: float) -> None:
        """See the port. Where there are several sources, each has to come that far by itself."""
        seen = self._seen
        if namespace != ALL_NAMESPACES:
            seen.check_watched(namespace)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                for source in seen.names(namespace):
                    if not seen.have_seen(source, resource_version):
                        await self._awaited[source].wait(resource_version)
        if not seen.have_seen(namespace, resource_version):
            raise not_seen_yet(self.sync_status(), namespace, resource_version)

    def _nobody_waits(self) -> None:
        """Let everybody go on: the repository has stopped."""
        for awaited in self._awaited.values():
            awaited.release()
        self._followed.all_changed()
