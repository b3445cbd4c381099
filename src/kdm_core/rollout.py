"""How far a Deployment is on its way to the count that is desired, and what came of waiting for it."""

from __future__ import annotations

import enum
from typing import Final

from attrs import frozen

from kdm_core.attribution import LastChange
from kdm_core.model import Deployment

DEADLINE_EXCEEDED: Final = "ProgressDeadlineExceeded"
"""The reason of ``Progressing=False`` where a rollout took longer than ``spec.progressDeadlineSeconds`` (apps/v1)."""


class RolloutState(enum.StrEnum):
    """Where a Deployment stands."""

    OBSERVING = "observing"
    """Its controller has not seen the newest spec yet: the counts are those of an older one."""
    SETTLING = "settling"
    """Pods are being created, started or removed."""
    SETTLED = "settled"
    """Exactly the desired Pods exist; all are of the newest revision, and available."""
    BLOCKED = "blocked"
    """Pods are missing and cannot be created: a quota, an admission webhook, a missing service account."""
    STALLED = "stalled"
    """Its rollout took longer than its progress deadline."""
    PAUSED = "paused"
    """No Pod is missing, but some are of an older revision, and its rollouts are paused."""


@frozen
class Rollout:
    """Where a Deployment stands, in kind and in words.

    Attributes:
        state: Where.
        message: In words, for a person; the cluster's own where it is blocked or stalled. "" where it is settled.
    """

    state: RolloutState
    message: str = ""


def rollout_of(deployment: Deployment) -> Rollout:
    """Return where a Deployment stands."""
    state = state_of(deployment)
    return Rollout(state, _message(deployment, state))


def state_of(deployment: Deployment) -> RolloutState:
    """Return where a Deployment stands, without the words."""
    replicas = deployment.replicas
    desired = replicas.desired
    if deployment.observed_generation < deployment.generation:
        return RolloutState.OBSERVING
    if replicas.current == replicas.updated == replicas.available == desired:
        return RolloutState.SETTLED
    missing = replicas.current < desired or replicas.available < desired
    if deployment.paused and not missing and replicas.updated < replicas.current:
        return RolloutState.PAUSED
    if has_stalled(deployment):
        return RolloutState.STALLED
    if is_blocked(deployment):
        return RolloutState.BLOCKED
    return RolloutState.SETTLING


def has_stalled(deployment: Deployment) -> bool:
    """Return whether the controller says that the progress deadline passed. It means nothing while paused."""
    progressing = deployment.progressing
    return (
        progressing is not None
        and progressing.status == "False"
        and progressing.reason == DEADLINE_EXCEEDED
        and not deployment.paused
    )


def is_blocked(deployment: Deployment) -> bool:
    """Return whether Pods are missing and the controller says that it cannot create them."""
    failure = deployment.replica_failure
    return (
        failure is not None and failure.status == "True" and deployment.replicas.current < deployment.replicas.desired
    )


def counts_in_words(deployment: Deployment) -> str:
    """Return the counts for a person: "5 Pods desired, 5 created, 0 ready, 0 available"."""
    replicas = deployment.replicas
    old = replicas.current - replicas.updated
    of_old = f" ({old} of an older revision)" if old > 0 else ""
    pods = "Pod" if replicas.desired == 1 else "Pods"
    return (
        f"{replicas.desired} {pods} desired, {replicas.current} created{of_old}, "
        f"{replicas.ready} ready, {replicas.available} available"
    )


def stalled_words(deployment: Deployment) -> str:
    """Return what the cluster says of a rollout that stalled, and the counts."""
    progressing = deployment.progressing
    return _with_counts((progressing and progressing.message) or "the progress deadline passed", deployment)


def blocked_words(deployment: Deployment) -> str:
    """Return what the cluster says of why Pods cannot be created, and the counts."""
    failure = deployment.replica_failure
    return _with_counts((failure and failure.message) or "Pods cannot be created", deployment)


def _with_counts(message: str, deployment: Deployment) -> str:
    return f"{message} ({counts_in_words(deployment)})"


def _message(deployment: Deployment, state: RolloutState) -> str:
    match state:
        case RolloutState.SETTLED:
            return ""
        case RolloutState.OBSERVING:
            return "the controller has not seen the newest spec yet"
        case RolloutState.PAUSED:
            return _with_counts("its rollouts are paused", deployment)
        case RolloutState.STALLED:
            return stalled_words(deployment)
        case RolloutState.BLOCKED:
            return blocked_words(deployment)
        case RolloutState.SETTLING:
            return counts_in_words(deployment)


class WaitFor(enum.StrEnum):
    """What is waited for. Each is an equality: 5 to 3 is not done before two Pods are gone."""

    SCALED = "scaled"
    """As many Pods exist as are desired."""
    READY = "ready"
    """And all of them are of the newest revision, and ready."""
    AVAILABLE = "available"
    """And all of them are available: ready for ``minReadySeconds``."""


class RolloutOutcome(enum.StrEnum):
    """What came of waiting."""

    DONE = "done"
    """What was waited for is so."""
    DELETED = "deleted"
    """The Deployment is gone, or another one has its name."""
    SUPERSEDED = "superseded"
    """Somebody set another count."""
    STALLED = "stalled"
    """The rollout passed its progress deadline."""
    BLOCKED = "blocked"
    """Pods cannot be created."""
    UNKNOWN = "unknown"
    """Time is up, and kdm does not know: it has not seen the write yet, or what it sees may be old."""
    TIMEOUT = "timeout"
    """Time is up, and Pods are missing or left over."""
    INTERRUPTED = "interrupted"
    """Waiting ended before its time: kdm stops, or the caller may not read the Deployment any more. Wait again."""


@frozen
class Target:
    """What a wait is for: the write of a count, or the state that somebody has seen.

    Attributes:
        uid: Of which object.
        resource_version: The version of the write: older states say nothing about it.
        desired: The count.
    """

    uid: str
    resource_version: str
    desired: int

    @classmethod
    def of(cls, deployment: Deployment) -> Target:
        """Return the target that is reached when a Deployment, as it is desired now, is settled."""
        return cls(deployment.uid, deployment.resource_version, deployment.replicas.desired)


@frozen
class RolloutResult:
    """What came of waiting for a rollout.

    Attributes:
        outcome: What.
        target: What was waited for: wait for it again, where it makes sense.
        wait_for: How far it should have come.
        elapsed_s: How long it took, in seconds.
        message: Why, for a person; "" where it is done. The cluster's own words where it is blocked or stalled.
        warnings: What is not as it should be although it is done, for a person.
        deployment: The newest state that the cluster has reported; None where there is none.
        superseded_by: Who set another count, where somebody did and it is known.
    """

    outcome: RolloutOutcome
    target: Target
    wait_for: WaitFor = WaitFor.AVAILABLE
    elapsed_s: float = 0.0
    message: str = ""
    warnings: tuple[str, ...] = ()
    deployment: Deployment | None = None
    superseded_by: LastChange | None = None
