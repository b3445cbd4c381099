"""What the in-memory repository has seen of its cluster, source by source."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self

from kdm_adapters.memory.faults import Faults
from kdm_core.model import ALL_NAMESPACES, Deployment, DeploymentRef, SourceStatus, Trouble


class Source:
    """A watched namespace, or all of them, and what has been seen of it.

    Args:
        namespace: The namespace; None for all.
        faults: What goes wrong.
        said: Returns what the cluster has said of a Deployment.
        clock: Monotonic seconds.

    Attributes:
        name: The namespace, or "*".
        resource_version: The newest version seen; "" before the first.
        running: Whether the repository runs.
        seeing: Whether what happens is seen.
    """

    def __init__(
        self,
        namespace: str | None,
        faults: Faults,
        said: Callable[[DeploymentRef], Deployment | None],
        clock: Callable[[], float],
    ) -> None:
        self.name = namespace or ALL_NAMESPACES
        self.resource_version = ""
        self.running = False
        self.seeing = False
        self._faults = faults
        self._said = said
        self._clock = clock
        self._fresh = False
        self._proof_at = -math.inf

    @property
    def synced(self) -> bool:
        """Whether a complete state has been seen."""
        return bool(self.resource_version) and not self._faults.not_synced

    @property
    def published(self) -> Self:
        """What it says: itself."""
        return self

    def observed(self, namespace: str, name: str) -> Deployment | None:
        """Return what the cluster has said of a Deployment."""
        return self._said(DeploymentRef(namespace, name))

    def covers(self, namespace: str) -> bool:
        """Return whether the namespace is this source's."""
        return self.name in {ALL_NAMESPACES, namespace}

    def look(self) -> bool:
        """Begin or cease to see what happens, as the faults have it.

        Returns:
            Whether there is something to catch up with.
        """
        faults = self._faults
        broken = faults.not_synced or faults.disconnected or faults.unreachable
        seeing = self.running and not (broken or self.name in faults.disconnected_namespaces)
        fresh = seeing and not faults.stale
        if self._fresh and not fresh:
            self._proof_at = self._clock()
        behind = seeing and not self.seeing
        self.seeing, self._fresh = seeing, fresh
        return behind

    def stop(self) -> None:
        """Note that the repository has stopped."""
        self.running = False
        self.look()

    def status(self, now: float, stale_after_s: float) -> SourceStatus:
        """Return how far it can be trusted."""
        age_s = 0.0 if self._fresh else now - self._proof_at
        stale = self.synced and (self._faults.stale or age_s > stale_after_s)
        reason, trouble = "", None
        if not self.synced:
            trouble = Trouble.NOT_READ
            reason = "the first list has not been read yet" if self.running else "the repository is not running"
        elif not self.seeing:
            trouble = Trouble.INTERRUPTED if self.running else Trouble.STOPPED
            reason = "the watch is broken" if self.running else "the repository has been stopped"
        elif stale:
            reason = f"nothing was heard from the cluster for {age_s:.0f} s, which is past the bound"
        version = self.resource_version if self.synced else ""
        return SourceStatus(self.name, self.synced, self.seeing, version, age_s, stale, reason, trouble)
