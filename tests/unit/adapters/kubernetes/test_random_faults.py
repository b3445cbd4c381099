"""A repository on a server that fails at random ends up with what the cluster has."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random

import pytest

from kdm_adapters.kubernetes import Tuning
from kdm_core.errors import KdmError
from kdm_core.model import DeploymentRef
from kdm_core.ports import DeploymentRepository
from unit.adapters.kubernetes.api_server import (
    Answer,
    ApiServer,
    Reply,
    answering,
    breaking,
    erring,
    hanging,
    refusing,
    streaming,
)
from unit.adapters.kubernetes.conftest import MakeRepository, until
from unit.adapters.kubernetes.objects import deployment
from unit.adapters.kubernetes.watch.state_machine_driver import Recorder

STEPS = 60
NAMES = ["a", "b", "c", "blog/a"]
FAULTS: list[Answer] = [
    refusing(429, "TooManyRequests"),
    refusing(500, "InternalError"),
    refusing(410, "Expired"),
    refusing(403, "Forbidden"),
    refusing(504, "Timeout", "Too large resource version: 9, current: 1"),
    answering(502, b"<html>Bad Gateway</html>"),
    answering(200, b"<html>Welcome</html>"),
    breaking,
    hanging,
    erring(500, "StoreReadError"),
    erring(410, "Expired"),
    streaming(lambda wire: wire.event("ADDED", deployment("web", 3))[:100]),
    streaming(lambda wire: wire.event("ADDED", deployment("web", 3))[7:]),
    streaming(end=False),
]


class Chaos:
    """Does one thing at random to a cluster, its server or a watch."""

    def __init__(self, server: ApiServer, rng: Random) -> None:
        self.server = server
        self.rng = rng

    async def step(self) -> None:
        steps: list[Callable[[str], object]] = [
            self.server.cluster.create,
            self.server.cluster.create,
            self.server.cluster.delete,
            lambda name: self.server.cluster.scale(name, self.rng.randrange(5)),
            lambda _: self.server.cluster.compact(),
            lambda _: self.fault("list"),
            lambda _: self.fault("watch"),
            lambda _: self.each_watch(Reply.abort),
        ]
        self.rng.choice(steps)(self.rng.choice(NAMES))
        if self.server.watches and self.rng.random() < 0.3:
            watch = self.rng.choice(self.server.watches)
            with suppress(ConnectionError):  # it may have been broken just now
                await self.rng.choice([Reply.end, self.bookmark, self.poison])(watch)
        await self.server.notify()

    def fault(self, verb: str) -> None:
        self.server.faults[verb].append(self.rng.choice(FAULTS))

    def each_watch(self, action: Callable[[Reply], object]) -> None:
        for watch in list(self.server.watches):
            action(watch)

    async def bookmark(self, watch: Reply) -> None:
        await watch.send(watch.format.bookmark(max(1, watch.cursor)))

    async def poison(self, watch: Reply) -> None:
        """Send the next event in a form that cannot be understood."""
        following = next(self.server.cluster.after(watch.cursor), None)
        if following is not None:
            watch.cursor, event = following
            await watch.send(watch.format.poisoned(event.kind, event.deployment))


@pytest.mark.parametrize("protobuf", [True, False], ids=["protobuf", "json"])
@pytest.mark.parametrize("seed", range(4))
async def test_what_is_held_equals_the_cluster_in_the_end(
    make: MakeRepository, server: ApiServer, seed: int, protobuf: bool
) -> None:
    """Whatever failed on the way, nothing is missing, left over or old in the end; and there was no busy loop."""
    rng = Random(seed)  # noqa: S311
    chaos, told = Chaos(server, rng), Recorder()
    server.watch_lists, server.protobuf = bool(seed % 2), protobuf
    tuning = Tuning(silence_s=0.1, watch_list_deadline_s=0.1, page_size=2)
    async with make(tuning=tuning, instrument=told, write_timeout_s=0.5) as repository:
        for _ in range(STEPS):
            await chaos.step()
            if rng.random() < 0.3:
                await write_if_possible(chaos, repository)
            if rng.random() < 0.5:
                await server.until_asked_or_watched(len(server.requests))
        server.faults.clear()
        chaos.each_watch(Reply.abort)
        await until(lambda: {str(d.ref): d for d in repository.list()} == cluster_state(server))
    assert len(server.requests) < 12 * STEPS


async def write_if_possible(chaos: Chaos, repository: DeploymentRepository) -> None:
    name = chaos.rng.choice(NAMES)
    namespace, _, bare = name.rpartition("/")
    with suppress(KdmError):
        await repository.set_replicas(DeploymentRef(namespace or "shop", bare), chaos.rng.randrange(5))


def cluster_state(server: ApiServer) -> dict[str, object]:
    return {str(d.ref): d for d in server.cluster.state.values()}
