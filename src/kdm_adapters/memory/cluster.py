"""What stands in for the cluster behind the in-memory repository."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping

from attrs import evolve

from kdm_core.labels import Labels
from kdm_core.model import Deployment, DeploymentRef, ReplicaStatus
from kdm_core.names import check_replicas


class MemoryCluster:
    """Every Deployment there is, and what anybody but kdm does to them. Call it on the repository's event loop.

    Args:
        settle: Whether the status follows the spec by itself: on the event loop's next turn, or at once without a loop.
            If not, it stays until ``settle`` is called.

    Attributes:
        deployments: All there are.
        version: The newest resourceVersion.
        watchers: Called with every change; None for a deletion.
    """

    def __init__(self, *, settle: bool = True) -> None:
        self.deployments: dict[DeploymentRef, Deployment] = {}
        self.version = 0
        self.watchers: list[Callable[[DeploymentRef, Deployment | None], None]] = []
        self._settle = settle

    def create(
        self, ref: DeploymentRef, replicas: int, *, labels: Mapping[str, str] | None = None, paused: bool = False
    ) -> Deployment:
        """Create a Deployment; replace one of the same name by a new object.

        Args:
            ref: Its namespace and name.
            replicas: How many are desired.
            labels: Its labels; copied.
            paused: Whether its rollouts are paused.

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
        )
        return self._store(fresh)

    def scale(self, ref: DeploymentRef, replicas: int) -> Deployment:
        """Change how many are desired. The same number again changes nothing, not even the resourceVersion."""
        scaled = self.would_scale(ref, replicas)
        return scaled if scaled is self.deployments[ref] else self._store(scaled)

    def would_scale(self, ref: DeploymentRef, replicas: int) -> Deployment:
        """Return what ``scale`` would make of a Deployment, without doing it."""
        held = self.deployments[ref]
        if held.replicas.desired == replicas:
            return held
        return evolve(held, generation=held.generation + 1, replicas=evolve(held.replicas, desired=replicas))

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

    def delete(self, ref: DeploymentRef) -> None:
        """Delete a Deployment."""
        del self.deployments[ref]
        self.version += 1
        self._publish(ref, None)

    def settle(self, ref: DeploymentRef) -> None:
        """Let the status follow the spec, as the controllers would. Does nothing to one that is settled or gone."""
        held = self.deployments.get(ref)
        if held is None:
            return
        n = held.replicas.desired
        counts = ReplicaStatus(desired=n, current=n, updated=n, ready=n, available=n)
        if held.replicas != counts or held.observed_generation != held.generation:
            self._store(evolve(held, observed_generation=held.generation, replicas=counts), settled=True)

    def _store(self, deployment: Deployment, *, settled: bool = False) -> Deployment:
        self.version += 1
        ref = deployment.ref
        self.deployments[ref] = stored = evolve(deployment, resource_version=str(self.version))
        self._publish(ref, stored)
        if self._settle and not settled:
            try:
                asyncio.get_running_loop().call_soon(self.settle, ref)
            except RuntimeError:  # no loop: a program that only reads, or is being set up
                self.settle(ref)
        return self.deployments[ref]

    def _publish(self, ref: DeploymentRef, deployment: Deployment | None) -> None:
        for watcher in self.watchers:
            watcher(ref, deployment)
