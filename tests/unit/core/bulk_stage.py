"""What the tests of batches stand on: a cluster that counts what is under way, and fails where a test says so."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Literal

from attrs import evolve

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_adapters.memory.cluster import MemoryCluster
from kdm_core import (
    ANY,
    Bulk,
    BulkResult,
    ClusterOverloaded,
    ClusterTimeout,
    ClusterUnreachable,
    Deployment,
    DeploymentRef,
    Expect,
    LabelSelector,
    OnError,
    Selection,
    WriteInvalid,
)
from kdm_core.bulk import BulkChange

Fault = Literal["refused", "lost before", "lost after", "unreachable", "webhook", "overloaded", "defect", "overtaken"]
"""What happens to the write of a Deployment: an admission webhook refuses it; no answer comes, and it is not stored, or
is; the cluster is not there, or a webhook of this one is not; the cluster asks for fewer requests; kdm has a defect;
somebody else writes just before it."""


class NamingCluster(MemoryCluster):
    """Gives each object the uid that it would have in any other cluster: its name, and how often it was made."""

    def __init__(self) -> None:
        super().__init__(settle=False)
        self._made: Counter[DeploymentRef] = Counter()

    def _store(self, deployment: Deployment, *, by_controllers: bool = False) -> Deployment:
        if not deployment.resource_version:
            self._made[deployment.ref] += 1
            deployment = evolve(deployment, uid=f"{deployment.ref}#{self._made[deployment.ref]}")
        return super()._store(deployment, by_controllers=by_controllers)


class CountingRepository(MemoryDeploymentRepository):
    """Counts the writes under way, each of which takes a few turns of the event loop."""

    def __init__(self, faults: Mapping[DeploymentRef, Fault] | None = None) -> None:
        super().__init__(cluster=NamingCluster(), owners=True)
        self.fails = dict(faults or {})
        self.under_way = self.most = self.sent = 0
        self.before_write: Callable[[DeploymentRef], object] = lambda _: None

    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, expect: Expect = ANY, dry_run: bool = False
    ) -> Deployment:
        self.sent += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            for _ in range(3):
                await asyncio.sleep(0)
            self.before_write(ref)
            fault = self.fails.get(ref)
            if fault is not None:
                self._fail(ref, fault)
            written = await super().set_replicas(ref, replicas, expect=expect, dry_run=dry_run)
            if fault == "lost after":
                raise ClusterTimeout("the cluster did not answer in time")
            return written
        finally:
            self.under_way -= 1

    def _fail(self, ref: DeploymentRef, fault: Fault) -> None:
        match fault:
            case "refused":
                raise WriteInvalid("an admission webhook refused it")
            case "lost before":
                raise ClusterTimeout("the cluster did not answer in time")
            case "unreachable":
                raise ClusterUnreachable("the cluster cannot be reached")
            case "webhook":
                error = ClusterUnreachable("a webhook cannot be asked")
                error.of_one = True
                raise error
            case "overloaded":
                raise ClusterOverloaded("the cluster asks for fewer requests")
            case "defect":
                raise RuntimeError("a secret")
            case "overtaken" if ref in self.cluster.deployments:
                self.cluster.scale(ref, 77)

    def create(self, name: str, replicas: int, namespace: str = "shop", **labels: str) -> DeploymentRef:
        """Create a Deployment, of tier web unless a label says otherwise."""
        ref = DeploymentRef(namespace, name)
        self.cluster.create(ref, replicas, labels={"tier": "web"} | labels)
        return ref

    def counts(self) -> dict[str, int]:
        """The counts that the cluster has, by name."""
        return {each.ref.name: each.replicas.desired for each in self.cluster.deployments.values()}


def of_tier(change: BulkChange, tier: str = "web", *, on_error: OnError = OnError.ABORT, reason: str = "") -> Bulk:
    """Ask for a change of all of a tier."""
    return Bulk(Selection(change, selector=LabelSelector.parse(f"tier={tier}")), reason, on_error)


def outcomes(result: BulkResult) -> dict[str, str]:
    """What came of each item, by its name."""
    return {each.ref.name: each.outcome.value for each in result.items}


def written(result: BulkResult) -> dict[str, bool | None]:
    """What is said to be written, by name."""
    return {each.ref.name: each.written for each in result.items}
