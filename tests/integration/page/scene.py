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
        desired=desired,
        current=min(desired, max(available, 1)),
        updated=available,
        ready=available,
        available=available,
    )


def fill(world: World) -> None:
    """Let it happen."""
    now = int(time.time())

    def change(minutes: int, manager: str, actor: str = "", reason: str = "") -> LastChange:
        return LastChange(now - minutes * _MINUTE, manager, actor, reason)

    flux = Owner("Kustomization", "apps", type=OwnerType.KUSTOMIZATION)

    def park(key: str, replicas: int, minutes: int, by: str, reason: str, park_id: str) -> None:
        parked = Parked(world.find(key).uid, replicas, now - minutes * _MINUTE, by, reason, park_id)
        world.lot.records.put(ref(key), parked)
        world.store(key, replicas=counts(0, 0), last_change=change(minutes, "kdm", by, reason))

    world.cluster.autoscalers.put(ref("shop/api"), "api", least=4, most=20)
    world.store("shop/api", last_change=change(2, "kdm", "alice", "sale starts"))
    world.store("shop/checkout", replicas=counts(8, 5), last_change=change(0, "kdm", "alice", "sale starts"))
    world.store("shop/storefront", last_change=change(14, "kubectl-scale"))
    world.store(
        "payments/fraud-scoring",
        replicas=counts(6, 2),
        replica_failure=DeploymentCondition("True", "FailedCreate", QUOTA),
        last_change=change(4, "kdm", "ci-deployer", "release 4.2"),
    )
    world.store("payments/api", owners=(flux,), last_change=change(1500, "kustomize-controller"))
    world.store("payments/ledger", last_change=change(4000, "helm"))
    world.cluster.expire(ref("default/nginx-deployment"))
    world.store("default/nginx-deployment", replicas=counts(3, 1), last_change=change(11, "argocd-controller"))
    park("default/report-generator", 3, 540, "schedule", "night", "night-2026-11-26")
    park("shop/search-indexer", 1, 540, "schedule", "night", "night-2026-11-26")
    park("payments/webhook-relay", 3, 61, "bob", "drain the queue", "drain")
    world.store("default/redis-deployment", last_change=change(9000, "helm"))
    world.store("default/session-store", last_change=change(200, "kdm", "alice"))
