"""`python -m benchmarks.scaling`: measure how kdm's costs grow; renew the tables and charts of docs/scaling.md."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.http.cluster import one_by_one, seed
from benchmarks.http.contestants import Services
from benchmarks.http.cores import Layout
from benchmarks.http.load import Generator
from benchmarks.http.serving import Bench
from benchmarks.scaling import report
from benchmarks.scaling.measurement import crowd, grown
from integration.controlplane.cluster import ControlPlane

RESULTS = Path(__file__).parents[1] / "results"


def main(given: Sequence[str] | None = None) -> int:
    """Measure, keep the figures, and put them into the documentation."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up then, too
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[100, 1_000, 10_000, 50_000, 100_000], help="Deployments"
    )
    parser.add_argument("--crowds", type=int, nargs="+", default=[0, 1, 3, 10], help="replicas of kdm, side by side")
    parser.add_argument(
        "--crowd-objects", type=int, default=10_000, help="Deployments while there are several replicas"
    )
    parser.add_argument("--rate", type=float, default=100.0, help="changes a second then")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument(
        "--patience", type=float, default=60.0, help="seconds for repeating what something else disturbed"
    )
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/http-scaling-DATE.json")
    parser.add_argument(
        "--report", type=Path, help="measure nothing: renew the documentation from figures that were kept"
    )
    arguments = parser.parse_args(given)
    if sorted(arguments.sizes) != arguments.sizes:
        parser.error("--sizes must ascend")
    output: Path = arguments.report or arguments.output or RESULTS / f"http-scaling-{datetime.now(UTC):%Y-%m-%d}.json"
    if not arguments.report:
        _measure(arguments, output)
    results: report.Results = json.loads(output.read_text())
    output.with_suffix(".md").write_text(report.tables(results))
    if output.resolve().parent == RESULTS:  # the documentation shows what is kept
        report.renew(results)
    print(report.tables(results))
    return 0


def _measure(arguments: argparse.Namespace, output: Path) -> None:
    layout = Layout.of_this_machine()
    results: dict[str, Any] = {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": machine.commit(),
        "machine": machine.describe(),
        "cores": str(layout),
        "rate_per_s": arguments.rate,
        "crowd_objects": arguments.crowd_objects,
        "sizes": [],
        "crowds": [],
    }

    def keep() -> None:
        output.write_text(json.dumps(results, indent=1) + "\n")  # after each step: the largest takes long

    with tempfile.TemporaryDirectory(prefix="kdm-scaling-") as directory, ControlPlane() as plane:
        services = Services(plane.kubeconfig, layout, Path(directory))
        bench = Bench(Generator(layout, Path(directory)), services, layout, plane, arguments.patience, _say)
        for objects in arguments.sizes:
            seed(plane, objects, _say)
            with bench.aside():
                for turn in range(arguments.rounds):
                    found = grown(bench, plane, objects, one_by_one(objects), turn, arguments.seconds)
                    results["sizes"].append(asdict(found))
                    keep()
            if objects == arguments.crowd_objects:
                with bench.aside():
                    crowd(bench, plane, objects, 0, arguments.rate, arguments.seconds)  # the first changes cost more
                    for replicas in arguments.crowds:
                        gathered = crowd(bench, plane, objects, replicas, arguments.rate, 5 * arguments.seconds)
                        results["crowds"].append(asdict(gathered))
                        keep()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
