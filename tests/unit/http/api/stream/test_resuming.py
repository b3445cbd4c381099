"""A stream that is cut again and again misses nothing and doubles nothing, or says that it begins again.

The oracle is the cluster's own history: what a client has put together from any number of connections is compared with
it, change by change.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import Deployment, DeploymentRef
from kdm_http.api.stream.hub import Pace
from unit.http.api.stream.history import History
from unit.http.api.stream.streaming import Stage, Stream

CUTS = 500
NAMES = [DeploymentRef("shop", f"d{number}") for number in range(12)]


class Watched(History):
    """What happened to Deployments that a selector matches, as the cluster in memory has it."""

    def __init__(self, repository: MemoryDeploymentRepository, matches: Callable[[Deployment], bool]) -> None:
        super().__init__()
        self._matches = matches
        self._last: dict[str, Deployment] = {}
        repository.cluster.watchers.append(self._note)

    def _note(self, ref: DeploymentRef, now: Deployment | None) -> None:
        before = self._last.get(ref.name)
        was = before is not None and self._matches(before)
        if now is None:
            self._last.pop(ref.name, None)
        else:
            self._last[ref.name] = now
        if now is not None and self._matches(now):
            self.add("modified" if was else "added", ref.name, now.resource_version)
        elif was and before is not None:
            self.add("deleted", ref.name, before.resource_version)


def change(chance: random.Random, stage: Stage) -> None:
    """Do something to some Deployment."""
    cluster, ref = stage.repository.cluster, chance.choice(NAMES)
    match chance.randrange(8):
        case 0 if ref in cluster.deployments:
            cluster.delete(ref)
        case 1 if ref in cluster.deployments:
            cluster.relabel(ref, {"tier": chance.choice(["web", "api"])})
        case 2:
            cluster.create(ref, chance.randrange(100), labels={"tier": chance.choice(["web", "api"])})
        case _ if ref in cluster.deployments:
            cluster.scale(ref, chance.randrange(10**6))


async def read(chance: random.Random, stream: Stream) -> None:
    """Read on and on, in pieces, each of which may be the last."""
    while data := await stream.chunk():
        at = chance.randrange(len(data) + 1)
        stream.take(data[:at])
        await asyncio.sleep(0)
        stream.take(data[at:])


async def live(chance: random.Random, stage: Stage, stream: Stream) -> None:
    """Keep one connection for a while, and lose it in the middle of whatever it brings."""
    for _ in range(chance.randrange(12)):
        change(chance, stage)
    await stream.open()
    reading = asyncio.create_task(read(chance, stream))
    for _ in range(chance.randrange(40)):
        if chance.random() < 0.2:
            change(chance, stage)
        await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    stream.cut()


@pytest.mark.parametrize(
    ("steps", "target"),
    [
        (8192, "/api/v2/deployments?watch=true"),
        (8192, "/api/v2/namespaces/shop/deployments?watch=true&labelSelector=tier%3Dweb"),
        (8, "/api/v2/deployments?watch=true"),
    ],
    ids=["everything", "by a selector", "with little kept"],
)
async def test_a_stream_that_is_cut_500_times_has_no_gap_and_no_duplicate(
    steps: int, target: str, stage: Any, open_stream: Any
) -> None:
    chance = random.Random(f"{steps}{target}")  # noqa: S311 - no secret
    running: Stage = await stage(
        pace=Pace(steps=steps, tick_s=0.01, heartbeat_ticks=10**9, bookmark_ticks=10**9), bare=True
    )
    selected = "labelSelector" in target
    history = Watched(running.repository, lambda each: not selected or each.labels.get("tier") == "web")
    stream: Stream = await open_stream(running, target)
    await stream.until("synced")
    for _ in range(CUTS):
        await live(chance, running, stream)
    await stream.open()
    last = 10**6  # which no count was before
    running.repository.cluster.create(NAMES[0], last, labels={"tier": "web"})
    await stream.until_shown(NAMES[0], last)
    if not stream.synced:  # it was part of a present state, which is not complete yet
        await stream.until("synced")

    began_again = history.check(stream)
    assert len(history.changes) > CUTS
    assert (began_again > 0) == (steps == 8)
    assert {name: each["resourceVersion"] for (_, name), each in stream.state.items()} == history.states[-1]
