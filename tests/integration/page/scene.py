"""A cluster in which something of everything happens: what pictures show, and what is judged by axe."""

from __future__ import annotations

import time
from typing import Final

from integration.page.world import World, ref
from kdm_core import LastChange, Owner
from kdm_core.model import DeploymentCondition, ReplicaStatus
from kdm_core.owners import OwnerType
from kdm_core.parked import Parked

QUOTA: Final = "exceeded quota: compute, requested: pods=1, used: pods=40, limited: pods=40"
_MINUTE: Final = 60


def counts(desired: int, available: int) -> ReplicaStatus:
    """So many desired, and so many of them available."""
    return ReplicaStatus(
        desired=desired, current=max(available, 1), updated=available, ready=available, available=available
    )


def fill(world: World) -> None:
    """Let it happen."""
    now = int(time.time())

    def change(minutes: int, manager: str, actor: str = "", reason: str = "") -> LastChange:
        return LastChange(now - minutes * _MINUTE, manager, actor, reason)

    hpa = Owner("HorizontalPodAutoscaler", "api", 4, 20, OwnerType.AUTOSCALER)
    flux = Owner("Kustomization", "apps", type=OwnerType.KUSTOMIZATION)
    night = Parked("", 3, now - 540 * _MINUTE, "schedule", "night", "night-2026-11-26")
    world.store("shop/api", owners=(hpa,), last_change=change(2, "kdm", "alice", "sale starts"))
    world.store("shop/checkout", replicas=counts(8, 5), last_change=change(0, "kdm", "alice", "sale starts"))
    world.store("shop/storefront", last_change=change(14, "kubectl-scale"))
    world.store("shop/search-indexer", last_change=change(90, "kdm", "bob"))
    world.store(
        "payments/fraud-scoring",
        replicas=counts(6, 2),
        replica_failure=DeploymentCondition("True", "FailedCreate", QUOTA),
        last_change=change(4, "kdm", "ci-deployer", "release 4.2"),
    )
    world.store("payments/api", owners=(flux,), last_change=change(1500, "kustomize-controller"))
    world.store("payments/ledger", last_change=change(4000, "helm"))
    world.store("payments/webhook-relay", last_change=change(61, "kdm", "bob", "drain the queue"))
    world.cluster.expire(ref("default/nginx-deployment"))
    world.store("default/nginx-deployment", replicas=counts(3, 1), last_change=change(11, "argocd-controller"))
    world.store("default/report-generator", parked=night, last_change=change(540, "kdm", "schedule", "night"))
    world.store("default/redis-deployment", last_change=change(9000, "helm"))
    world.store("default/session-store", last_change=change(200, "kdm", "alice"))
