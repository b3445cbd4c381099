"""`python -m benchmarks.gate`: has kdm become slower than it may be? A verdict within four minutes: exit code 0 or 1.

kdm, a raw ASGI application and a bare protocol that answer with constant bytes, and a service in Go serve the same
requests in turns, round after round.
What counts is the median of the rounds' ratios, and gate.toml has the least it may be: with generous margins, for the
machine may be shared and slow. What falls short is measured for twice as many rounds more, and then the median of all
rounds, the first ones too, is the verdict: noise gets a second chance, a slower kdm does not. The part of a handshake
is measured in this process, beside a plain SSLContext: see `benchmarks.handshakes`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.handshakes import Handshakes
from benchmarks.http.cluster import one_by_one, seed
from benchmarks.http.contestants import BARE, GO, KDM, RAW, Server, Services
from benchmarks.http.cores import Layout
from benchmarks.http.load import Generator
from benchmarks.http.report import CPU, PER_S, ratios, spread, table
from benchmarks.http.serving import SCENARIOS, Bench, Sample, Scenario, samples
from integration.controlplane.cluster import ControlPlane

FLOORS = Path(__file__).with_suffix(".toml")
ASKED = 100
"""How many Deployments are asked for one by one: few enough that a slow machine has asked for all in the warm-up."""
HEADINGS = ["", "median (range)", "rounds", "floor", ""]
HANDSHAKE = "handshake, in memory"
HANDSHAKE_ROUNDS = 20
FIGURES = {
    "served": (KDM, RAW, PER_S),
    "cheap": (RAW, KDM, CPU),
    "served as by Go": (KDM, GO, PER_S),
    "cheap as in Go": (GO, KDM, CPU),
    "cheap as bare TLS": (BARE, KDM, CPU),
}
"""Of what each figure is the ratio: what the first does, by what the second does."""


def main() -> int:
    """Measure, print the verdict, and return 0 if no ratio is below its floor."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description=__doc__)
    parser.add_argument("--objects", type=int, default=1000, help="Deployments")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    arguments = parser.parse_args()
    floors: dict[str, dict[str, float]] = tomllib.loads(FLOORS.read_text())
    least = floors.pop(HANDSHAKE)["cheap"]
    scenarios = [each for each in SCENARIOS if each.name in floors]
    if {each.name for each in scenarios} != floors.keys():
        parser.error(f"{FLOORS} names what is not measured")
    layout = Layout.of_this_machine()
    with tempfile.TemporaryDirectory(prefix="kdm-gate-") as directory, ControlPlane() as plane:
        handshakes = _handshakes(Path(directory), least)
        seed(plane, arguments.objects, _say)
        services = Services(plane.kubeconfig, layout, Path(directory))
        bench = Bench(Generator(layout, Path(directory)), services, layout, plane, patience_s=0.0, say=_say)
        paths = one_by_one(min(arguments.objects, ASKED))
        with bench.aside(), services.run_all((KDM, RAW, BARE, GO), paths[0], arguments.objects) as servers:
            gate = _Gate(bench, servers, paths, arguments.seconds, floors)
            gate.measure(scenarios, arguments.rounds)
            short = [each for each in scenarios if gate.short(each)]
            if short:
                _say(f"below the floor, measured again: {', '.join(each.name for each in short)}")
                gate.measure(short, 2 * arguments.rounds)
    print(gate.table(scenarios))
    slow = statistics.median(handshakes) < least
    row = [
        HANDSHAKE,
        "cheap",
        spread(handshakes, 2),
        str(len(handshakes)),
        f"{least:g}",
        "**FAILED**" if slow else "ok",
    ]
    print("", table(["a plain SSLContext's part of kdm's", *HEADINGS], [row]), sep="\n")
    return int(slow or any(gate.short(each) for each in scenarios))


def _handshakes(directory: Path, least: float) -> list[float]:
    handshakes = Handshakes(directory)
    found = handshakes.ratios(HANDSHAKE_ROUNDS)
    if statistics.median(found) < least:
        _say(f"below the floor, measured again: {HANDSHAKE}")
        found += handshakes.ratios(2 * HANDSHAKE_ROUNDS)
    return found


class _Gate:
    def __init__(
        self,
        bench: Bench,
        servers: Mapping[str, Server],
        paths: Sequence[str],
        seconds: float,
        floors: Mapping[str, Mapping[str, float]],
    ) -> None:
        self._bench = bench
        self._servers = servers
        self._paths = paths
        self._seconds = seconds
        self._floors = floors
        self._samples: list[Sample] = []

    def measure(self, scenarios: Sequence[Scenario], rounds: int) -> None:
        """Measure, besides what was measured already, those services that a floor compares."""
        first = 1 + max((each.turn for each in self._samples), default=-1)
        for scenario in scenarios:
            compared = {name for figure in self._floors[scenario.name] for name in FIGURES[figure][:2]}
            servers = {name: server for name, server in self._servers.items() if name in compared}
            turns = range(first, first + rounds)
            self._samples += samples(self._bench, servers, self._paths, [scenario], turns, self._seconds)

    def ratios(self, scenario: Scenario, figure: str) -> list[float]:
        """Return a figure of each round."""
        of, to, what = FIGURES[figure]
        taken = {
            name: [each for each in self._samples if (each.scenario, each.contestant) == (scenario.name, name)]
            for name in (of, to)
        }
        return ratios(taken[of], taken[to], what)

    def short(self, scenario: Scenario) -> bool:
        """Return whether a figure is below its floor."""
        floors = self._floors[scenario.name]
        return any(statistics.median(self.ratios(scenario, figure)) < floor for figure, floor in floors.items())

    def table(self, scenarios: Sequence[Scenario]) -> str:
        """Render the verdict."""
        rows = []
        for scenario in scenarios:
            for figure, floor in self._floors[scenario.name].items():
                found = self.ratios(scenario, figure)
                holds = statistics.median(found) >= floor
                rows.append(
                    [
                        scenario.name,
                        figure,
                        spread(found, 2),
                        str(len(found)),
                        f"{floor:g}",
                        "ok" if holds else "**FAILED**",
                    ]
                )
        return table(["kdm's part of what others do", *HEADINGS], rows)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
