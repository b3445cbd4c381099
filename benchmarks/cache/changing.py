"""Changes Deployments, in a process of its own, and tells when each change was sent and acknowledged."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from pathlib import Path

from benchmarks.deployments import Writer


async def change(kubeconfig: Path, objects: int, changes: int, rate_per_s: float) -> list[tuple[int, int, int]]:
    """Scale one Deployment after the other, in a random order, on schedule however slow the answers are.

    Args:
        kubeconfig: The cluster.
        objects: How many Deployments there are.
        changes: How many changes to make.
        rate_per_s: How many a second; infinity for as many as the connections carry.

    Returns:
        Of each change the resourceVersion, and when it was sent and acknowledged, in nanoseconds of CLOCK_MONOTONIC.
    """
    dice = random.SystemRandom()
    first = dice.randrange(1000, 1_000_000)  # no count that is there already: it would change nothing
    order = dice.sample(range(objects), objects)
    done: list[tuple[int, int, int]] = []

    async def scale(turn: int) -> None:
        sent = time.monotonic_ns()
        version = await writer.scale(order[turn % objects], first + turn)
        done.append((version, sent, time.monotonic_ns()))

    async with Writer(kubeconfig) as writer:
        await asyncio.gather(*(writer.size_bytes(number) for number in range(8)))  # connect
        started_s = time.monotonic()
        async with asyncio.TaskGroup() as changing:
            for turn in range(changes):
                await asyncio.sleep(max(0.0, started_s + turn / rate_per_s - time.monotonic()))
                changing.create_task(scale(turn))
    return done


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--objects", type=int, required=True)
    parser.add_argument("--changes", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    print(json.dumps(asyncio.run(change(*vars(parser.parse_args()).values()))))
