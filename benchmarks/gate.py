"""`python -m benchmarks.gate`: has kdm become slower than it may be? A verdict within three minutes: exit code 0 or 1.

kdm and a raw ASGI application that answers with constant bytes serve the same requests in turns, round after round.
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
from benchmarks.http.contestants import KDM, RAW, Server, Services
from benchmarks.http.cores import Layout
from benchmarks.http.load import Generator
from benchmarks.http.report import CPU, PER_S, ratios, spread, table
from benchmarks.http.serving import SCENARIOS, Bench, Sample, Scenario, samples
from integration.controlplane.cluster import ControlPlane

FLOORS = Path(__file__).with_suffix(".toml")
HEADINGS = ["", "median (range)", "rounds", "floor", ""]
HANDSHAKE = "handshake, in memory"
HANDSHAKE_ROUNDS = 20
FIGURES = {"served": (KDM, RAW, PER_S), "cheap": (RAW, KDM, CPU)}


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
        paths = one_by_one(arguments.objects)
        with bench.aside(), services.run_all((KDM, RAW), paths[0], arguments.objects) as servers:
            gate = _Gate(bench, servers, paths, arguments.seconds)
            gate.measure(scenarios, arguments.rounds)
            short = [each for each in scenarios if gate.short(each, floors)]
            if short:
                _say(f"below the floor, measured again: {', '.join(each.name for each in short)}")
                gate.measure(short, 2 * arguments.rounds)
    print(gate.table(scenarios, floors))
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
    return int(slow or any(gate.short(each, floors) for each in scenarios))


def _handshakes(directory: Path, least: float) -> list[float]:
    handshakes = Handshakes(directory)
    found = handshakes.ratios(HANDSHAKE_ROUNDS)
    if statistics.median(found) < least:
        _say(f"below the floor, measured again: {HANDSHAKE}")
        found += handshakes.ratios(2 * HANDSHAKE_ROUNDS)
    return found


class _Gate:
    def __init__(self, bench: Bench, servers: Mapping[str, Server], paths: Sequence[str], seconds: float) -> None:
        self._bench = bench
        self._servers = servers
        self._paths = paths
        self._seconds = seconds
        self._samples: list[Sample] = []

    def measure(self, scenarios: Sequence[Scenario], rounds: int) -> None:
        """Measure, besides what was measured already."""
        first = 1 + max((each.turn for each in self._samples), default=-1)
        self._samples += samples(
            self._bench, self._servers, self._paths, scenarios, range(first, first + rounds), self._seconds
        )

    def ratios(self, scenario: Scenario, figure: str) -> list[float]:
        """Return a figure of each round."""
        of, to, what = FIGURES[figure]
        taken = {
            name: [each for each in self._samples if (each.scenario, each.contestant) == (scenario.name, name)]
            for name in (KDM, RAW)
        }
        return ratios(taken[of], taken[to], what)

    def short(self, scenario: Scenario, floors: Mapping[str, Mapping[str, float]]) -> bool:
        """Return whether a figure is below its floor."""
        return any(
            statistics.median(self.ratios(scenario, figure)) < floor for figure, floor in floors[scenario.name].items()
        )

    def table(self, scenarios: Sequence[Scenario], floors: Mapping[str, Mapping[str, float]]) -> str:
        """Render the verdict."""
        rows = []
        for scenario in scenarios:
            for figure, floor in floors[scenario.name].items():
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
        return table(["kdm's part of the raw ASGI application's", *HEADINGS], rows)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
