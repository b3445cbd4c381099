"""The comparison: every service, every way to ask, in rounds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.http.contestants import READS_THROUGH, Server, Services
from benchmarks.http.cores import Busy, Layout, pin
from benchmarks.http.load import Client, Generator, Load, Outcome
from integration.controlplane.cluster import ControlPlane

__all__ = ["SCENARIOS", "Bench", "Sample", "Scenario", "samples"]

QUIET_CORES = 0.2  # everything else may keep busy


@dataclass(frozen=True)
class Scenario:
    """A way to ask.

    Attributes:
        name: What to call it.
        load: The load; its paths are still to be told.
        many: Whether all Deployments are asked for, at once, and not one after the other.
    """

    name: str
    load: Load
    many: bool = False


def _one(clients: int, *, fresh: bool = False) -> Scenario:
    name = f"GET, {clients} client{'s' * (clients > 1)}, {'fresh' if fresh else 'kept'}"
    return Scenario(name, Load((), clients, fresh=fresh))


LIST = Scenario("list, 1 client, kept", Load(("/api/v1/deployments",)), many=True)
SCENARIOS = (*(_one(clients, fresh=fresh) for fresh in (False, True) for clients in (1, 32, 256)), LIST)


@dataclass(frozen=True)
class Sample:
    """One measurement.

    Attributes:
        contestant: Whose.
        scenario: The scenario's name.
        turn: Which round.
        others: How many cores everything else on the machine kept busy.
        outcome: What was measured.
    """

    contestant: str
    scenario: str
    turn: int
    others: float
    outcome: Outcome

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Sample:
        """Make it of what `asdict` made of it."""
        return cls(**{**kept, "outcome": Outcome(**kept["outcome"])})


class Bench:
    """What measurements share.

    Args:
        generator: The load generator.
        services: Starts services.
        layout: Where everything runs.
        plane: The cluster.
        patience_s: How long measurements may be repeated in all because something else was busy, in seconds.
        say: Told of every sample.
    """

    def __init__(
        self,
        generator: Generator,
        services: Services,
        layout: Layout,
        plane: ControlPlane,
        patience_s: float,
        say: Callable[[str], None],
    ) -> None:
        self.generator = generator
        self.services = services
        self.layout = layout
        self.say = say
        self._plane = plane
        self._patience_s = patience_s

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Keep this process, the cluster, and what either of them starts, away from the server's core."""
        self._pin(self.layout.rest)
        try:
            yield
        finally:
            self._pin(self.layout.all)

    def sample(
        self,
        contestant: str,
        scenario: str,
        turn: int,
        address: str,
        load: Load,
        *,
        pid: int | None,
        client: Client | None = None,
    ) -> Sample:
        """Measure once; again where something else was busy meanwhile and patience lasts."""
        client = client or self.services.certificates.client
        while True:
            began_s = time.monotonic()
            known = {self._plane.apiserver.pid, self._plane.etcd.pid, pid} - {None}
            before = Busy.now(known)
            outcome = self.generator.run(address, client, load, pid)
            others = Busy.now(known).others_since(before, outcome.own_cpu_s)
            sample = Sample(contestant, scenario, turn, others, outcome)
            self.say(_line(sample))
            if others < QUIET_CORES or self._patience_s <= 0:
                return sample
            self._patience_s -= time.monotonic() - began_s

    def _pin(self, cores: Iterable[int]) -> None:
        for process in (os.getpid(), self._plane.apiserver.pid, self._plane.etcd.pid):
            if process is not None:
                pin(process, cores)


def samples(
    bench: Bench,
    servers: Mapping[str, Server],
    paths: Sequence[str],
    scenarios: Sequence[Scenario],
    turns: Sequence[int],
    seconds: float,
) -> Iterator[Sample]:
    """Measure every service in every scenario. Rounds go through the services there and back again.

    Args:
        bench: How to measure.
        servers: The services that run.
        paths: Of single Deployments.
        scenarios: What to measure.
        turns: The rounds' numbers.
        seconds: How long each time.
    """
    for scenario in scenarios:
        load = replace(scenario.load, seconds=seconds, paths=scenario.load.paths or paths)
        for turn in turns:
            for name in servers if turn % 2 == 0 else reversed(list(servers)):
                server = servers[name]
                takes_long = scenario.many and name == READS_THROUGH  # many seconds: one is enough
                asked = replace(load, seconds=0.1, warmup_s=0.0) if takes_long else load
                yield bench.sample(name, scenario.name, turn, server.address, asked, pid=server.pid)


def _line(sample: Sample) -> str:
    outcome = sample.outcome
    errors = f", errors {outcome.errors}" if outcome.errors else ""
    return (
        f"{sample.scenario}: {sample.contestant}: {outcome.per_s:.0f}/s, p50 {outcome.p50_us / 1e3:.2f} ms, "
        f"p99 {outcome.p99_us / 1e3:.2f} ms, CPU {outcome.cpu_us:.0f} us, busy: server {outcome.server_busy:.2f}, "
        f"generator {outcome.generator_busy:.2f}, others {sample.others:.2f}{errors}"
    )
