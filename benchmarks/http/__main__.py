"""`python -m benchmarks.http`: measure kdm beside what one would use instead, on one control plane, in one run."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.http import alone, chart, report
from benchmarks.http.cluster import one_by_one, seed
from benchmarks.http.contestants import ALL, BARE, KDM, Services
from benchmarks.http.cores import Layout
from benchmarks.http.load import Generator, Load
from benchmarks.http.serving import LIST, SCENARIOS, Bench, samples
from benchmarks.scaling.__main__ import main as scaling
from integration.controlplane.cluster import ControlPlane

RESULTS = Path(__file__).parents[1] / "results"
CHART = Path(__file__).parents[2] / "docs" / "img" / "http.svg"
PACKAGES = ("litestar", "uvicorn", "httptools", "uvloop", "msgspec", "kubernetes")
STARTS, WRITES, SERVING, CHANGES = PARTS = ("starts", "writes", "serving", "changes")
PROFILE_S = 10


def main() -> int:
    """Measure, or tell again what was measured."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up then, too
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="measure; what happens without a command")
    run.set_defaults(command=_run)
    run.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS, help="what to measure; default: all")
    run.add_argument("--profile", type=Path, metavar="DIRECTORY", help="record there where kdm spends its time")
    run.add_argument("--contestants", nargs="+", choices=(*ALL, BARE), default=ALL)
    run.add_argument("--scenarios", nargs="+", choices=[each.name for each in SCENARIOS], default=None, metavar="NAME")
    run.add_argument("--objects", type=int, default=10_000, help="Deployments")
    run.add_argument("--most-objects", type=int, default=50_000, help="Deployments while they change")
    run.add_argument("--rate", type=float, default=300.0, help="changes a second")
    run.add_argument("--rounds", type=int, default=5)
    run.add_argument(
        "--seconds", type=float, default=2.0, help="of each measurement; ten times as long while they change"
    )
    run.add_argument("--patience", type=float, default=60.0, help="seconds for repeating what something else disturbed")
    run.add_argument(
        "--output", type=Path, help="where to keep the figures; default: benchmarks/results/http-DATE.json"
    )
    run.add_argument(
        "--into", type=Path, help="figures that were kept: replace the parts that are measured, keep the others"
    )
    again = commands.add_parser("report", help="the tables and the chart again")
    again.set_defaults(command=lambda arguments: _tell(arguments.figures))
    again.add_argument("figures", type=Path)
    compare = commands.add_parser("compare", help="figures of two commits side by side")
    compare.set_defaults(
        command=lambda arguments: print(report.comparison(*map(_read, (arguments.old, arguments.new))))
    )
    compare.add_argument("old", type=Path)
    compare.add_argument("new", type=Path)
    commands.add_parser("scaling", help="how costs grow with the number of Deployments: python -m benchmarks.scaling")
    given = sys.argv[1:]
    if given[:1] == ["scaling"]:
        return scaling(given[1:])
    arguments = parser.parse_args(
        given if given[:1] in (["run"], ["report"], ["compare"], ["-h"], ["--help"]) else ["run", *given]
    )
    arguments.command(arguments)
    return 0


def _run(arguments: argparse.Namespace) -> None:
    output = arguments.into or arguments.output or RESULTS / f"http-{datetime.now(UTC):%Y-%m-%d}.json"
    results: report.Results = _read(arguments.into) if arguments.into else {"parts": {}}
    layout = Layout.of_this_machine()
    results |= {
        "machine": machine.describe(),
        "cores": str(layout),
        "versions": {name: version(name) for name in PACKAGES},
    }
    with tempfile.TemporaryDirectory(prefix="kdm-bench-") as directory, ControlPlane() as plane:
        services = Services(plane.kubeconfig, layout, Path(directory))
        bench = Bench(Generator(layout, Path(directory)), services, layout, plane, arguments.patience, _say)
        for part, measured in _parts(arguments, bench, plane, Path(directory)):
            found = {"at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "commit": machine.commit(), **measured}
            if part == SERVING and arguments.scenarios and SERVING in results["parts"]:
                found["samples"] += [
                    each for each in results["parts"][SERVING]["samples"] if each["scenario"] not in arguments.scenarios
                ]
            results["parts"][part] = found
            output.write_text(json.dumps(results, indent=1) + "\n")  # after each part: something may happen
    if arguments.parts:
        _tell(output)


def _parts(
    arguments: argparse.Namespace, bench: Bench, plane: ControlPlane, directory: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure part by part, in an order in which the cluster only grows."""
    rounds, seconds = arguments.rounds, arguments.seconds
    if STARTS in arguments.parts:
        with bench.aside():
            yield STARTS, {"starts": alone.starts(bench, 0, rounds)}
    if arguments.profile or {WRITES, SERVING} & set(arguments.parts):
        seed(plane, arguments.objects, _say)
    if WRITES in arguments.parts:
        with bench.aside():
            taken = [asdict(each) for each in alone.writes(bench, plane, directory, arguments.objects, rounds, seconds)]
        yield WRITES, {"objects": arguments.objects, "samples": taken}
    paths = one_by_one(arguments.objects)
    if SERVING in arguments.parts:
        scenarios = [each for each in SCENARIOS if not arguments.scenarios or each.name in arguments.scenarios]
        with bench.aside(), bench.services.run_all(arguments.contestants, paths[0], arguments.objects) as servers:
            taken = [asdict(each) for each in samples(bench, servers, paths, scenarios, range(rounds), seconds)]
        yield SERVING, {"objects": arguments.objects, "samples": taken}
    if arguments.profile:
        _profile(bench, paths, arguments.objects, arguments.profile)
    if CHANGES in arguments.parts:
        most = max(arguments.objects, arguments.most_objects)
        seed(plane, most, _say)
        with bench.aside():
            taken = [
                {**asdict(sample), "changes_per_s": changes}
                for sample, changes in alone.reads_under_changes(
                    bench, plane, directory, most, one_by_one(most), arguments.rate, max(1, rounds // 2), 10 * seconds
                )
            ]
        yield CHANGES, {"objects": most, "rate_per_s": arguments.rate, "samples": taken}


def _profile(bench: Bench, paths: Sequence[str], objects: int, directory: Path) -> None:
    """Record where kdm spends its time, for https://www.speedscope.app."""
    program = shutil.which("py-spy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        raise SystemExit("py-spy is not installed: the session bench does that")
    directory.mkdir(parents=True, exist_ok=True)
    seconds = 2 + PROFILE_S
    loads = {
        "get": Load(paths, 32, seconds),
        "get-fresh": Load(paths, 32, seconds, fresh=True),
        "list": Load(LIST.load.paths, 1, seconds),
        "write": replace(alone.put(paths), clients=4, seconds=seconds),
    }
    with bench.aside(), bench.services.run(KDM) as server:
        bench.services.wait_complete(server, paths[0], objects)
        for name, load in loads.items():
            recorded = directory / f"{name}.speedscope.json"
            options = {
                "pid": server.pid,
                "duration": PROFILE_S,
                "rate": 500,
                "format": "speedscope",
                "output": recorded,
            }
            command = [program, "record", *(f"--{key}={value}" for key, value in options.items())]
            running = bench.generator.start(server.address, bench.services.certificates.client, load)
            try:
                subprocess.run(bench.layout.beside(command), check=True)
            finally:
                bench.generator.finish(running)
            _say(f"recorded {recorded}")


def _tell(figures: Path) -> None:
    results = _read(figures)
    told = report.tables(results)
    figures.with_suffix(".md").write_text(told)
    if SERVING in results["parts"] and figures.resolve().parent == RESULTS:  # the documentation shows what is kept
        CHART.parent.mkdir(exist_ok=True)
        CHART.write_text(chart.bars(results))
    print(told)


def _read(figures: Path) -> report.Results:
    read: report.Results = json.loads(figures.read_text())
    return read


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
