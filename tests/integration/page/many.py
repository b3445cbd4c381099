"""Ten thousand Deployments that change a hundred times a second."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Final

from integration.page.world import World
from kdm_adapters.memory import MemoryCluster
from kdm_core import DeploymentRef

NUMBER: Final = 10_000
NAMESPACES: Final = 50
TICK_S: Final = 0.05


def name(number: int) -> DeploymentRef:
    """The Deployment of a number."""
    return DeploymentRef(f"team-{number % NAMESPACES:02}", f"service-{number:05}")


def fill(cluster: MemoryCluster) -> None:
    """Make them."""
    for number in range(NUMBER):
        ref = name(number)
        cluster.create(ref, 1 + number % 7, labels={"app": ref.name, "tier": ("web", "batch")[number % 2]})
        cluster.settle(ref)


@contextlib.asynccontextmanager
async def changing(world: World, a_second: int = 100, seed: int = 1) -> AsyncIterator[list[int]]:
    """Change them for as long as the context lasts.

    Args:
        world: Where they are.
        a_second: How many changes there are in a second.
        seed: Decides which.

    Yields:
        A list with one number: how many changes there were.
    """
    done, chosen = [0], random.Random(seed)  # noqa: S311 - no secret

    async def change() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            await asyncio.sleep(TICK_S)
            while done[0] < (loop.time() - began) * a_second:
                ref = name(chosen.randrange(NUMBER))
                world.cluster.scale(ref, 1 + chosen.randrange(9))
                done[0] += 1

    task = asyncio.create_task(change())
    try:
        yield done
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
