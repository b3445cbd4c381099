"""What stands in for the cluster behind the in-memory repository."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from attrs import evolve

from kdm_adapters.memory import controllers
from kdm_adapters.memory.autoscalers import MemoryAutoscalers
from kdm_adapters.memory.controllers import Controllers, Pace
from kdm_core.attribution import LastChange
from kdm_core.labels import Labels
from kdm_core.model import Deployment, DeploymentCondition, DeploymentRef, ReplicaStatus
from kdm_core.names import check_replicas
from kdm_core.owners import Owner, released
from kdm_core.timers import CallLater, call_later

CLIENT: Final = "kubectl"
"""Who changes the cluster where nobody is named."""


class MemoryCluster:
    """Every Deployment there is, and what anybody but kdm does to them. Call it on the repository's event loop.

    By default the status follows the spec at once. With a pace it takes its time, as in a cluster. With
    ``settle=False`` it moves when ``step``, ``report`` or ``settle`` is called and not otherwise: so a test can write a
    rollout down.

    Args:
        settle: Whether the status follows the spec by itself: on the event loop's next turn, or at once without a loop.
        pace: How fast it does; None for at once.
        call_later: Calls a function after so many seconds: the clock of the pace. By default it is the event loop's.
        clock: Seconds since 1970: when a count was changed.

    Attributes:
        deployments: All there are.
        version: The newest resourceVersion.
        watchers: Called with every change; None for a deletion.
        autoscalers: The HorizontalPodAutoscalers there are.
    """

    def __init__(
        self,
        *,
        settle: bool = True,
        pace: Pace | None = None,
        call_later: CallLater = call_later,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.deployments: dict[DeploymentRef, Deployment] = {}
        self.version = 0
        self.watchers: list[Callable[[DeploymentRef, Deployment | None], None]] = []
        self.autoscalers = MemoryAutoscalers()
        self._settle = settle
        self._clock = clock
        self._controllers = None if pace is None else Controllers(pace, call_later, self._take_step)
        self._quotas: dict[str, int] = {}
        self._broken: set[DeploymentRef] = set()
        self._stored: Callable[[int], int] = int

    def create(
        self,
        ref: DeploymentRef,
        replicas: int,
        *,
        labels: Mapping[str, str] | None = None,
        paused: bool = False,
        manager: str = CLIENT,
        owners: Iterable[Owner] = (),
    ) -> Deployment:
        """Create a Deployment; replace one of the same name by a new object.

        Args:
            ref: Its namespace and name.
            replicas: How many are desired.
            labels: Its labels; copied.
            paused: Whether its rollouts are paused.
            manager: Who does it: the field manager that the cluster notes.
            owners: Those that have left their marks on it. Who of them ``holds`` the count does so until it is changed.

        Returns:
            The Deployment, settled (see ``settle``) or not.
        """
        if ref in self.deployments:
            self.delete(ref)
        fresh = Deployment(
            ref=ref,
            uid=str(uuid.uuid4()),
            resource_version="",
            generation=1,
            observed_generation=0,
            replicas=ReplicaStatus(desired=check_replicas(replicas)),
            paused=paused,
            labels=Labels(labels or {}),
            last_change=LastChange(int(self._clock()), manager),
            owners=tuple(owners),
        )
        return self._store(fresh)

    # What users do

    def scale(self, ref: DeploymentRef, replicas: int, *, manager: str = CLIENT) -> Deployment:
        """Change how many are desired. The same number again changes nothing, not even the resourceVersion.

        Args:
            ref: Of which Deployment.
            replicas: How many.
            manager: Who does it: the field manager that the cluster notes.
        """
        scaled = self.would_scale(ref, replicas, manager=manager)
        return scaled if scaled is self.deployments[ref] else self._store(scaled)

    def would_scale(self, ref: DeploymentRef, replicas: int, *, manager: str = CLIENT) -> Deployment:
        """Return what ``scale`` would make of a Deployment, without doing it."""
        held = self.deployments[ref]
        replicas = self._stored(replicas)
        if held.replicas.desired == replicas:
            return held
        return evolve(
            held,
            generation=held.generation + 1,
            replicas=evolve(held.replicas, desired=replicas),
            last_change=LastChange(int(self._clock()), manager),
            owners=released(held.owners),
        )

    def admit(self, stored: Callable[[int], int]) -> None:
        """Have an admission webhook change the counts that are written from now on.

        Args:
            stored: Returns the count that is stored in place of one that is written.
        """
        self._stored = stored

    def relabel(self, ref: DeploymentRef, labels: Mapping[str, str]) -> Deployment:
        """Replace the labels: a change that is none of the spec. The same labels again change nothing."""
        held = self.deployments[ref]
        if held.labels == labels:
            return held
        return self._store(evolve(held, labels=Labels(labels)))

    def pause(self, ref: DeploymentRef, *, paused: bool = True) -> Deployment:
        """Pause its rollouts, or resume them: a change of the spec."""
        held = self.deployments[ref]
        if held.paused == paused:
            return held
        return self._store(evolve(held, generation=held.generation + 1, paused=paused))

    def roll_out(self, ref: DeploymentRef) -> Deployment:
        """Change its Pods' template: all that run are of an older revision now."""
        held = self.deployments[ref]
        return self._store(evolve(held, generation=held.generation + 1, replicas=evolve(held.replicas, updated=0)))

    def delete(self, ref: DeploymentRef) -> None:
        """Delete a Deployment."""
        del self.deployments[ref]
        self.version += 1
        self._broken.discard(ref)
        self._publish(ref, None)
        self._make_room(ref.namespace)

    # What the cluster does

    def settle(self, ref: DeploymentRef) -> None:
        """Let the status follow the spec, as the controllers would. Does nothing to one that is settled or gone."""
        held = self.deployments.get(ref)
        if held is None:
            return
        after = controllers.settled(held)
        if held != after:
            self._store(after, by_controllers=True)

    def step(self, ref: DeploymentRef) -> bool:
        """Let the controllers do the next thing: see the new spec, create or remove Pods, make one more Pod ready.

        Returns:
            Whether there was something to do.
        """
        return self._take_step(ref) is not None

    def report(
        self,
        ref: DeploymentRef,
        *,
        current: int | None = None,
        updated: int | None = None,
        ready: int | None = None,
        available: int | None = None,
        observed: bool = True,
        progressing: DeploymentCondition | None = None,
        replica_failure: DeploymentCondition | None = None,
    ) -> Deployment:
        """Write a status, as a controller does: whatever it says, and the conditions that are given and no others.

        Args:
            ref: Of which Deployment.
            current: How many Pods exist; None for as many as before, as for the other counts.
            updated: How many are of the newest revision.
            ready: How many are ready.
            available: How many are available.
            observed: Whether the controller has seen the newest spec.
            progressing: The condition of this name.
            replica_failure: The condition of this name.
        """
        held = self.deployments[ref]
        given = {"current": current, "updated": updated, "ready": ready, "available": available}
        counts = evolve(held.replicas, **{key: value for key, value in given.items() if value is not None})
        seen = held.generation if observed else held.observed_generation
        after = evolve(
            held, replicas=counts, observed_generation=seen, progressing=progressing, replica_failure=replica_failure
        )
        return self._store(after, by_controllers=True)

    def expire(self, ref: DeploymentRef) -> Deployment:
        """Let its progress deadline pass."""
        return self._store(controllers.stalled(self.deployments[ref]), by_controllers=True)

    def set_quota(self, namespace: str, pods: int | None) -> None:
        """Allow a namespace so many Pods; None for any number."""
        self._quotas.pop(namespace, None)
        if pods is not None:
            self._quotas[namespace] = pods
        self._make_room(namespace)

    def break_pods(self, ref: DeploymentRef, *, broken: bool = True) -> None:
        """See that Pods of a Deployment that are not ready do not become ready; or let them."""
        (self._broken.add if broken else self._broken.discard)(ref)
        self._wake(self.deployments[ref])

    def _take_step(self, ref: DeploymentRef) -> Deployment | None:
        held = self.deployments.get(ref)
        if held is None:
            return None
        room = controllers.room_in(ref.namespace, self._quotas.get(ref.namespace), self.deployments.values())
        after = controllers.step(held, room, starting=ref not in self._broken)
        if after is held:
            return None
        stored = self._store(after, by_controllers=True)
        if after.replicas.current < held.replicas.current:
            self._make_room(ref.namespace)
        return stored

    def _make_room(self, namespace: str) -> None:
        for each in list(self.deployments.values()):
            if each.ref.namespace == namespace and each.replica_failure is not None:
                self._wake(each)

    def _wake(self, deployment: Deployment) -> None:
        if self._controllers is not None:
            self._controllers.look(deployment)

    def _store(self, deployment: Deployment, *, by_controllers: bool = False) -> Deployment:
        self.version += 1
        ref = deployment.ref
        self.deployments[ref] = stored = evolve(deployment, resource_version=str(self.version))
        self._publish(ref, stored)
        if not by_controllers:
            try:
                if self._controllers is not None:
                    self._controllers.look(stored)
                elif self._settle:
                    asyncio.get_running_loop().call_soon(self.settle, ref)
            except RuntimeError:  # no loop: a program that only reads, or is being set up
                self.settle(ref)
        return self.deployments[ref]

    def _publish(self, ref: DeploymentRef, deployment: Deployment | None) -> None:
        for watcher in self.watchers:
            watcher(ref, deployment)
