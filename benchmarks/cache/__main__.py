"""`python -m benchmarks.cache`: measure kdm's watch cache beside its peers, on one control plane, in one run."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks import machine
from benchmarks.cache import report
from benchmarks.cache.contestants import KDM, READERS, command
from benchmarks.cache.measurement import Plan, measure_in_quiet, traced_heap_bytes
from benchmarks.deployments import Writer
from integration.controlplane.cluster import ControlPlane

RESULTS = Path(__file__).parents[1] / "results"
PACKAGES = ("kubernetes", "lightkube", "aiohttp", "msgspec", "uvloop")


def main() -> None:
    """Measure, print the tables, keep the figures."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up then, too
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cache", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 50_000], help="Deployments")
    parser.add_argument("--rounds", type=int, nargs="+", default=[3, 3, 1], help="for each size, or for all")
    parser.add_argument("--readers", nargs="+", default=READERS, choices=READERS)
    parser.add_argument("--settle", type=float, default=5.0, help="seconds of rest before a reader is weighed")
    parser.add_argument("--rate", type=float, default=100.0, help="changes a second")
    parser.add_argument("--changing", type=float, default=10.0, help="seconds of changes")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for a quiet machine, per reader")
    parser.add_argument("--output", type=Path, help="where to keep the figures; default: benchmarks/results/cache-DATE")
    parser.add_argument("--burst", type=int, default=500, help="changes at once")
    arguments = parser.parse_args()
    rounds = arguments.rounds * len(arguments.sizes) if len(arguments.rounds) == 1 else arguments.rounds
    if len(rounds) != len(arguments.sizes) or sorted(arguments.sizes) != arguments.sizes:
        parser.error("--sizes must ascend, and --rounds be one number or one for each size")
    plans = [
        Plan(size, arguments.settle, arguments.rate, arguments.changing, arguments.burst) for size in arguments.sizes
    ]
    output = arguments.output or RESULTS / f"cache-{datetime.now(UTC):%Y-%m-%d}"

    # Kept after each size: the largest takes long, and something may happen.
    for results in _run(plans, rounds, arguments.readers, arguments.patience):
        output.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
        output.with_suffix(".md").write_text(report.tables(results))
    print(output.with_suffix(".md").read_text())


def _run(plans: list[Plan], rounds: list[int], readers: list[str], patience_s: float) -> Iterator[report.Results]:
    results: report.Results = {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": machine.describe(),
        "versions": {name: version(name) for name in PACKAGES},
        "plan": {key: value for key, value in asdict(plans[0]).items() if key != "objects"},
        "kdm_traced_bytes": {},
        "samples": [],
    }
    with ControlPlane() as plane:
        commands = {reader: command(reader, plane.kubeconfig) for reader in readers}
        for plan, times in zip(plans, rounds, strict=True):
            results["object_bytes"] = asyncio.run(_seed(plane, plan.objects))
            for turn in range(times):
                # There and back again, so that no reader is always the one after the greediest.
                for reader in readers if turn % 2 == 0 else reversed(readers):
                    sample = asyncio.run(measure_in_quiet(reader, commands[reader], plane, plan, patience_s))
                    results["samples"].append(asdict(sample))
                    _say(report.line(sample))
            if KDM in commands:
                traced = asyncio.run(traced_heap_bytes(commands[KDM], plan.objects))
                results["kdm_traced_bytes"][str(plan.objects)] = traced
            yield results


async def _seed(plane: ControlPlane, objects: int) -> int:
    """Make so many Deployments where they are missing, and return how large one is, in bytes."""
    async with Writer(plane.kubeconfig) as writer:
        present = len(await writer.list())
        _say(f"making Deployments: {present} to {objects}")
        await writer.seed(range(present, objects))
        return await writer.size_bytes(0)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
