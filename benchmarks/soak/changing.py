"""Scales, creates and deletes Deployments at a fixed rate, in a process of its own, whatever the API server says."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from pathlib import Path

import aiohttp

from benchmarks.deployments import CONNECTIONS, Refused, Writer

SPARE = 0.1  # of the Deployments: so many more may exist for a while
CHURN = 0.03  # so many of the changes are creations, and as many deletions


class _Changing:
    """Which Deployments exist, as far as we know, and what became of the changes."""

    def __init__(self, writer: Writer, objects: int, dice: random.Random) -> None:
        self.outcomes: Counter[str] = Counter()
        self._writer = writer
        self._dice = dice
        self._present = list(range(objects))
        self._absent = list(range(objects, int(objects * (1 + SPARE)) + 1))
        self._turn = dice.randrange(1000, 1_000_000)

    async def one(self) -> None:
        """Make a change and count how it ended."""
        try:
            outcome = await self._one()
        except Refused as refused:
            outcome = f"refused ({str(refused).partition(': ')[2][:3]})"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            outcome = type(error).__name__
        self.outcomes[outcome] += 1

    async def _one(self) -> str:
        kind = self._dice.random()
        self._turn += 1
        if kind < CHURN and self._absent:
            self._present.append(number := _draw(self._absent, self._dice))
            await self._writer.create(number)
            return "created"
        if kind < 2 * CHURN:
            self._absent.append(number := _draw(self._present, self._dice))
            await self._writer.delete(number)
            return "deleted"
        await self._writer.scale(self._dice.choice(self._present), self._turn)
        return "scaled"


def _draw(numbers: list[int], dice: random.Random) -> int:
    drawn = dice.randrange(len(numbers))
    numbers[drawn], numbers[-1] = numbers[-1], numbers[drawn]
    return numbers.pop()


async def _run(kubeconfig: Path, objects: int, rate: float, seconds: float, seed: int) -> Counter[str]:
    async with Writer(kubeconfig) as writer, asyncio.TaskGroup() as tasks:
        changing = _Changing(writer, objects, random.Random(seed))  # noqa: S311 - dice
        started_s, in_flight = time.monotonic(), set[asyncio.Task[None]]()
        for turn in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, started_s + turn / rate - time.monotonic()))
            if len(in_flight) >= 2 * CONNECTIONS:
                changing.outcomes["skipped, none has answered"] += 1
                continue
            in_flight.add(task := tasks.create_task(changing.one()))
            task.add_done_callback(in_flight.discard)
    return changing.outcomes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--objects", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    print(json.dumps(asyncio.run(_run(**vars(parser.parse_args())))))
