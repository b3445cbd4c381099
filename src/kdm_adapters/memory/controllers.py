"""What the controllers of a cluster do to a Deployment's status, one step at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from attrs import evolve, frozen

from kdm_core.model import Deployment, DeploymentCondition, DeploymentRef, ReplicaStatus
from kdm_core.rollout import DEADLINE_EXCEEDED, RolloutState, state_of
from kdm_core.timers import CallLater

# The words are those of the controllers (pkg/controller/deployment and replicaset in Kubernetes).
AVAILABLE: Final = DeploymentCondition("True", "NewReplicaSetAvailable")
UPDATED: Final = DeploymentCondition("True", "ReplicaSetUpdated")
PAUSED: Final = DeploymentCondition("Unknown", "DeploymentPaused", "Deployment is paused")


@frozen
class Pace:
    """How fast controllers work.

    Attributes:
        observe_s: How long until a new spec is seen, and until Pods are created or removed, in seconds.
        ready_s: How long until one more Pod is ready, in seconds; a fourth of them, where many are missing.
    """

    observe_s: float = 0.3
    ready_s: float = 1.0

    def seconds(self, deployment: Deployment) -> float:
        """Return how long the next step takes."""
        unseen = deployment.observed_generation < deployment.generation
        wrong = deployment.replicas.current != deployment.replicas.desired
        return self.observe_s if unseen or wrong else self.ready_s


def settled(deployment: Deployment) -> Deployment:
    """Return a Deployment as the controllers leave it when they are done."""
    n = deployment.replicas.desired
    counts = ReplicaStatus(desired=n, current=n, updated=n, ready=n, available=n)
    return evolve(
        deployment,
        observed_generation=deployment.generation,
        replicas=counts,
        progressing=PAUSED if deployment.paused else AVAILABLE,
        replica_failure=None,
    )


def step(deployment: Deployment, room: int | None, *, starting: bool) -> Deployment:
    """Return a Deployment one step further; the same object where nothing is to be done.

    Args:
        deployment: As it is.
        room: How many more Pods its namespace may have; None for any number.
        starting: Whether its Pods become ready.
    """
    after = _step(deployment, room, starting=starting)
    if after.paused:
        after = evolve(after, progressing=PAUSED)
    elif state_of(after) is RolloutState.SETTLED:
        after = evolve(after, progressing=AVAILABLE)
    elif after.replicas.ready > deployment.replicas.ready or after.replicas.updated > deployment.replicas.updated:
        after = evolve(after, progressing=UPDATED)
    return deployment if after == deployment else after


def _step(deployment: Deployment, room: int | None, *, starting: bool) -> Deployment:
    if deployment.observed_generation < deployment.generation:
        return evolve(deployment, observed_generation=deployment.generation)
    replicas = deployment.replicas
    n, current, updated, ready = replicas.desired, replicas.current, replicas.updated, replicas.ready
    if current > n:
        return _counted(deployment, n, min(updated, n), min(ready, n))
    created = n - current if room is None else min(n - current, room)
    failure = None if created == n - current else _quota(deployment)
    if created or failure != deployment.replica_failure:
        newest = 0 if deployment.paused and updated < current else created
        return evolve(_counted(deployment, current + created, updated + newest, ready), replica_failure=failure)
    if ready < current and starting:
        return _counted(deployment, current, updated, ready + _some(current - ready))
    if updated < current and not deployment.paused and starting:
        return _counted(deployment, current, updated + _some(current - updated), ready)
    return deployment


def _some(missing: int) -> int:
    """Return how many Pods of those that are missing come at once: one, where they are few."""
    return max(1, missing // 4)


def _counted(deployment: Deployment, current: int, updated: int, ready: int) -> Deployment:
    counts = ReplicaStatus(deployment.replicas.desired, current, updated, ready, ready)
    return evolve(deployment, replicas=counts)


def _quota(deployment: Deployment) -> DeploymentCondition:
    message = f'pods "{deployment.ref.name}-..." is forbidden: exceeded quota: pods, requested: pods=1'
    return DeploymentCondition("True", "FailedCreate", message)


def stalled(deployment: Deployment) -> Deployment:
    """Return a Deployment whose progress deadline has passed."""
    message = f'ReplicaSet "{deployment.ref.name}-..." has timed out progressing.'
    return evolve(deployment, progressing=DeploymentCondition("False", DEADLINE_EXCEEDED, message))


def room_in(namespace: str, pods: int | None, deployments: Iterable[Deployment]) -> int | None:
    """Return how many more Pods a namespace may have, of so many in all; None for any number."""
    if pods is None:
        return None
    return max(0, pods - sum(each.replicas.current for each in deployments if each.ref.namespace == namespace))


class Controllers:
    """Do what is to be done at a pace. Where nothing is, nothing happens.

    Args:
        pace: How fast.
        call_later: Calls a function after so many seconds.
        take_step: Takes the next step of a Deployment, if there is one, and returns it.
    """

    def __init__(
        self, pace: Pace, call_later: CallLater, take_step: Callable[[DeploymentRef], Deployment | None]
    ) -> None:
        self._pace = pace
        self._call_later = call_later
        self._take_step = take_step
        self._at_work: set[DeploymentRef] = set()

    def look(self, deployment: Deployment) -> None:
        """Begin to work on a Deployment, if nobody does."""
        ref = deployment.ref
        if ref not in self._at_work:
            self._call_later(self._pace.seconds(deployment), lambda: self._work(ref))
            self._at_work.add(ref)

    def _work(self, ref: DeploymentRef) -> None:
        self._at_work.discard(ref)
        after = self._take_step(ref)
        if after is not None:
            self.look(after)
