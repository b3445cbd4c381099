"""Waiting for a rollout, as a state machine without clock or I/O: the decision table of ADR 0029.

Feed it what the cluster says of the Deployment on each change and when :attr:`RolloutWait.next_look_at` has come
(:meth:`RolloutWait.observe`), and ask it at the deadline what to make of that (:meth:`RolloutWait.time_up`). Times are
seconds on any monotonic clock.
"""

from __future__ import annotations

import math
from typing import Final

from attrs import frozen

from kdm_core.attribution import LastChange, moment
from kdm_core.model import Deployment, Observation, ReplicaStatus
from kdm_core.rollout import (
    RolloutOutcome,
    Target,
    WaitFor,
    blocked_words,
    counts_in_words,
    has_stalled,
    is_blocked,
    rollout_of,
    stalled_words,
)
from kdm_core.versions import older

HOLD_S: Final = 5.0
"""How long a bad sign must hold before it counts, in seconds. The conditions lag behind the counts: after a new count
they speak of the old one until the controller has written its next status."""


@frozen
class Verdict:
    """How waiting ended.

    Attributes:
        outcome: How.
        message: Why, for a person; "" where it is done.
        warnings: What is not as it should be although it is done.
        superseded_by: Who set another count, where somebody did and it is known.
    """

    outcome: RolloutOutcome
    message: str = ""
    warnings: tuple[str, ...] = ()
    superseded_by: LastChange | None = None


_DONE: Final = Verdict(RolloutOutcome.DONE)
_DONE_BUT_PAUSED: Final = Verdict(
    RolloutOutcome.DONE, warnings=("its rollouts are paused, and Pods of an older revision run",)
)
_GONE: Final = Verdict(RolloutOutcome.DELETED, "the Deployment was deleted")
_REPLACED: Final = Verdict(RolloutOutcome.DELETED, "the Deployment was deleted, and another one has its name")


class RolloutWait:
    """One wait. Only states at least as new as the write are judged, and the first row that fits decides.

    Args:
        target: What is waited for.
        wait_for: How far it must have come.

    Attributes:
        verdict: How waiting ended; None while it goes on.
    """

    def __init__(self, target: Target, wait_for: WaitFor = WaitFor.AVAILABLE) -> None:
        self.target = target
        self.wait_for = wait_for
        self.verdict: Verdict | None = None
        self._blocked_since = math.inf
        self._stalled_since = math.inf
        self._stalled_at: object = None

    @property
    def next_look_at(self) -> float:
        """When to look again although nothing has changed, in seconds; ``inf`` for never."""
        return math.inf if self.verdict else min(self._blocked_since, self._stalled_since) + HOLD_S

    def observe(self, seen: Observation, now: float) -> Verdict | None:
        """Take in what the cluster says now, changed or not. Returns how waiting ended, if it did."""
        if self.verdict is None:
            self.verdict = self._judge(seen, now)
        return self.verdict

    def time_up(self, seen: Observation, now: float) -> Verdict:
        """Take in what the cluster says at a deadline. Returns what waiting came to by then; it may go on."""
        return self.observe(seen, now) or self._late(seen)

    def _judge(self, seen: Observation, now: float) -> Verdict | None:  # noqa: PLR0911 - a table
        found, target = seen.deployment, self.target
        if self._is_behind(seen):
            self._forget_signs()
            return None
        if found is None:
            return _GONE
        if found.uid != target.uid:
            return _REPLACED
        replicas = found.replicas
        desired = replicas.desired
        if desired != target.desired:
            return _superseded(found, target)
        if found.observed_generation < found.generation:
            self._forget_signs()
            return None
        if replicas.current == desired:
            if self._is_reached(replicas):
                return _DONE
            if found.paused and replicas.available == desired and replicas.updated != desired:
                return _DONE_BUT_PAUSED
        return self._stuck(found, now, trusted=_is_trusted(seen))

    def _is_behind(self, seen: Observation) -> bool:
        """Whether what is seen may be older than the write."""
        found, version = seen.deployment, self.target.resource_version
        if found is not None and not older(found.resource_version, version):
            return False
        return not seen.source.resource_version or older(seen.source.resource_version, version)

    def _is_reached(self, replicas: ReplicaStatus) -> bool:
        match self.wait_for:
            case WaitFor.SCALED:
                return True
            case WaitFor.READY:
                return replicas.updated == replicas.ready == replicas.desired
            case WaitFor.AVAILABLE:
                return replicas.updated == replicas.available == replicas.desired

    def _forget_signs(self) -> None:
        self._blocked_since = self._stalled_since = math.inf

    def _stuck(self, found: Deployment, now: float, *, trusted: bool) -> Verdict | None:
        """Judge the bad signs: they must hold for a while, a stalled rollout without a count moving."""
        stalled, blocked = has_stalled(found), is_blocked(found)
        if not stalled:
            self._stalled_since = math.inf
        elif self._stalled_since == math.inf or self._stalled_at != found.replicas or not trusted:
            self._stalled_since, self._stalled_at = now, found.replicas
        if not blocked:
            self._blocked_since = math.inf
        elif self._blocked_since == math.inf or not trusted:
            self._blocked_since = now
        if now - self._stalled_since >= HOLD_S:
            return Verdict(RolloutOutcome.STALLED, stalled_words(found))
        if now - self._blocked_since >= HOLD_S:
            return Verdict(RolloutOutcome.BLOCKED, blocked_words(found))
        return None

    def _late(self, seen: Observation) -> Verdict:
        source, found = seen.source, seen.deployment
        if not _is_trusted(seen):
            return Verdict(RolloutOutcome.UNKNOWN, f"what is known may be old: {source.reason or 'it is stale'}")
        if self._is_behind(seen) or found is None:
            return Verdict(RolloutOutcome.UNKNOWN, "the watch has not brought the write yet")
        return Verdict(RolloutOutcome.TIMEOUT, rollout_of(found).message or counts_in_words(found))


def _superseded(found: Deployment, target: Target) -> Verdict:
    by = found.last_change
    who, when = ("somebody", "") if by is None else (by.who, f" at {moment(by.at)}" if by.at else "")
    message = f"{who} set {found.replicas.desired} replicas{when}, where {target.desired} were waited for"
    return Verdict(RolloutOutcome.SUPERSEDED, message, superseded_by=by)


def _is_trusted(seen: Observation) -> bool:
    return seen.source.connected and not seen.source.stale
