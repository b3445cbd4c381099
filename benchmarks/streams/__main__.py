"""`python -m benchmarks.streams`: from a change to its arrival, on one stream and on many, in one run."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import machine
from benchmarks.streams.reading import arrivals, streams
from integration.kdm_process import KdmProcess, client_context


def main() -> int:
    """Measure in rounds: one stream, many, one, many, ..."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--rate", type=float, default=10.0, help="changes a second; each is two events")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sampled", type=int, default=32, help="streams whose arrivals are noted")
    parser.add_argument("--at-most", type=float, default=None, help="fail where the ratio of the p99s is larger")
    arguments = parser.parse_args()
    many = arguments.streams
    seen: dict[int, list[float]] = {1: [], many: []}
    settings = {
        "LIMIT_STREAMS": str(many + 10),
        "LIMIT_STREAMS_PER_IDENTITY": str(many + 10),
        "LIMIT_CONNECTIONS": str(many + 100),
        "LIMIT_CONNECTIONS_PER_IDENTITY": str(many + 50),
        "MAX_REPLICAS": "1000000",
    }
    first = 10
    with (
        tempfile.TemporaryDirectory() as directory,
        KdmProcess(settings, Path(directory, "kdm.log"), ["serve", "--dev"]) as kdm,
    ):
        context = client_context("dev-admin")
        for _ in range(arguments.rounds):
            for number in (1, many):
                seen[number] += _round(kdm, context, number, first, arguments)
                first += int(arguments.rate * arguments.seconds)
    print(f"{machine.describe()}; load {os.getloadavg()[0]:.1f}; commit {machine.commit()}")
    print("| streams | arrivals | p50 ms | p90 ms | p99 ms |\n|---|---|---|---|---|")
    p99 = {}
    for number, taken in seen.items():
        cuts = statistics.quantiles(taken, n=100)
        p99[number] = cuts[98]
        print(f"| {number} | {len(taken)} | {cuts[49] * 1e3:.2f} | {cuts[89] * 1e3:.2f} | {cuts[98] * 1e3:.2f} |")
    ratio = p99[many] / p99[1]
    print(f"p99 of {many} streams: {ratio:.1f} times that of one")
    return int(arguments.at_most is not None and ratio > arguments.at_most)


def _round(kdm: KdmProcess, context: object, number: int, first: int, arguments: argparse.Namespace) -> list[float]:
    with streams(kdm.url, context, number) as opened:  # type: ignore[arg-type] # ssl's type is spelled in reading
        command = [sys.executable, "-m", "benchmarks.streams.writing", kdm.url]
        command += [str(arguments.rate), str(arguments.seconds), str(first)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            came = arrivals(opened, arguments.sampled, lambda: writer.poll() is None)
            assert writer.stdout is not None
            sent = dict(json.loads(writer.stdout.read()))
        if writer.returncode:
            raise RuntimeError("the writer failed")
    firsts: dict[int, list[float]] = {}
    for count, at in came:
        if count in sent:
            firsts.setdefault(count, []).append(at - sent[count])
    return [each for taken in firsts.values() for each in taken]


if __name__ == "__main__":
    raise SystemExit(main())
