"""A dozen believable Deployments in three namespaces, for trying kdm without a cluster."""

from __future__ import annotations

from typing import Final

from kdm_adapters.memory.cluster import MemoryCluster
from kdm_core.model import DeploymentRef

_DEMO: Final = (
    # namespace, name, replicas, labels, paused
    ("default", "nginx-deployment", 3, {"app": "nginx", "tier": "edge"}, False),
    ("default", "redis-deployment", 1, {"app": "redis", "tier": "cache"}, False),
    ("default", "report-generator", 0, {"app": "report-generator", "tier": "batch"}, False),
    ("default", "session-store", 2, {"app": "session-store", "tier": "cache"}, False),
    ("payments", "api", 4, {"app": "api", "team": "payments", "tier": "backend"}, False),
    ("payments", "fraud-scoring", 6, {"app": "fraud-scoring", "team": "payments", "tier": "backend"}, False),
    ("payments", "ledger", 2, {"app": "ledger", "team": "payments", "tier": "backend"}, True),
    ("payments", "webhook-relay", 3, {"app": "webhook-relay", "team": "payments", "tier": "edge"}, False),
    ("shop", "api", 8, {"app": "api", "team": "shop", "tier": "backend"}, False),
    ("shop", "checkout", 5, {"app": "checkout", "team": "shop", "tier": "backend"}, False),
    ("shop", "search-indexer", 1, {"app": "search-indexer", "team": "shop", "tier": "batch"}, False),
    ("shop", "storefront", 10, {"app": "storefront", "team": "shop", "tier": "edge"}, False),
)


def seed(cluster: MemoryCluster) -> None:
    """Create the demo Deployments, and an autoscaler. Two namespaces have an ``api``: to try an ambiguous name."""
    for namespace, name, replicas, labels, paused in _DEMO:
        ref = DeploymentRef(namespace, name)
        cluster.create(ref, replicas, labels=labels, paused=paused)
        cluster.settle(ref)
    cluster.autoscalers.put(DeploymentRef("shop", "storefront"), "storefront", least=4, most=20)
