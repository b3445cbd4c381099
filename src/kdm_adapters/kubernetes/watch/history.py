"""How far a source has come, and whether the cluster is still where it was: it may be restored from a backup."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

from kdm_adapters.kubernetes.watch.health import Health
from kdm_adapters.kubernetes.watch.plan import Plan
from kdm_adapters.kubernetes.watch.rules import Phase, Situation
from kdm_core.model import Trouble
from kdm_core.versions import older

_log = logging.getLogger(__name__)


class History:
    """The versions that a source has seen. What contradicts them leads to a relist.

    Args:
        source: What the source is called.
        plan: Which request is under way, and which comes next.
        health: How far the source can be trusted.

    Attributes:
        resource_version: The newest version seen, "" before the first.
        progress: Whether something arrived since the last list.
        on_reached: Called with each version that is reached.
    """

    def __init__(self, source: str, plan: Plan[Any], health: Health) -> None:
        self.resource_version = ""
        self.progress = False
        self.on_reached: Callable[[str], None] = lambda _version: None
        self._source = source
        self._plan = plan
        self._health = health

    @property
    def unproven(self) -> str:
        """The version that the open watch was resumed from, until it is known whether the cluster has come that far.

        A server accepts a version from its future and says nothing until it gets there: so does one whose etcd was
        restored from a backup. The cluster's newest version settles it, and so does anything that the watch brings.
        """
        request = self._plan.request
        opened = self._plan.phase is Phase.WATCH and request.wanted and request.opened_at < math.inf
        return request.unproven if opened else ""

    def newest(self, resource_version: str, unproven: str, now: float) -> None:
        """Take in the cluster's newest version.

        Args:
            resource_version: The version, by a consistent read.
            unproven: What ``unproven`` was before that read was sent.
            now: Seconds on the watch's clock.
        """
        if unproven != self.unproven:
            return
        if older(resource_version, unproven):
            self.went_back(f"the newest resourceVersion is {resource_version}", now)
        else:
            self.prove()

    def newest_unknown(self, why: str) -> None:
        """Note that the newest version cannot be read. Until it can, the watch is not known to be any good."""
        if self.unproven:
            problem = f"the watch is open, but may be ahead of the cluster: {why}"
            self._health.disconnect(problem, Trouble.INTERRUPTED)

    def prove(self) -> None:
        """Note that the watch under way begins where the published state ends."""
        self._plan.request.unproven = ""
        self._health.freshness.resumed(self._plan.request.opened_at)
        self._health.connect()

    def fits(self, resource_version: str, now: float) -> bool:
        """Take note of a version that the watch brings. Returns whether it fits what was seen before."""
        self.progress = True
        if older(resource_version, self.resource_version):
            self.went_back(f"the watch brings resourceVersion {resource_version}", now)
            return False
        if self._plan.request.unproven:
            self.prove()
        self._health.freshness.proven(now)
        return True

    def went_back(self, sign: str, now: float) -> None:
        """What is published is not the past of what the cluster has now: it was restored from a backup."""
        problem = (
            f"the cluster's state went back, as after a restore from a backup: {sign}, {self.resource_version} was held"
        )
        self._health.disconnect(problem, Trouble.WENT_BACK)
        self._plan.request.unproven = ""
        self._plan.follow(Situation.WENT_BACK, now)
        _log.warning("%s: %s; reading everything again", self._source, problem)

    def advance(self, resource_version: str, *, initial: bool = False) -> None:
        """Move on to a version.

        Args:
            resource_version: The version.
            initial: Whether it is an ADDED event's. Those that begin a watch from no version come in no order, and do
                not count.
        """
        if self._plan.request.from_zero and initial:
            return
        self._plan.request.from_zero = False
        if not older(resource_version, self.resource_version):
            self.resource_version = resource_version
            self.on_reached(resource_version)

    def published(self, resource_version: str) -> None:
        """Note that a complete state of this version is published."""
        self.resource_version, self.progress = resource_version, False
        self.on_reached(resource_version)
