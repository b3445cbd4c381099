"""The Deployments that services are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from benchmarks.deployments import Writer, place
from integration.controlplane.cluster import ControlPlane

__all__ = ["one_by_one", "seed"]

PORTION = 10_000
"""After so many etcd forgets what they were before they had a status: it holds 2 GB, history included."""


def one_by_one(objects: int) -> list[str]:
    """Return the path of each Deployment's replicas."""
    return [
        f"/api/v1/deployments/{name}/replicas?namespace={namespace}" for namespace, name in map(place, range(objects))
    ]


def seed(plane: ControlPlane, objects: int, say: Callable[[str], None]) -> None:
    """Make Deployments until there are so many."""

    async def make() -> None:
        async with Writer(plane.kubeconfig) as writer:
            present = len(await writer.list())
            say(f"making Deployments: {present} to {objects}")
            for first in range(present, objects, PORTION):
                await writer.seed(range(first, min(first + PORTION, objects)))
                await asyncio.to_thread(plane.compact)

    asyncio.run(make())
