"""`python -m benchmarks.edge_attack`: how much slower a good client is served while others attack.

A client asks at a steady rate on a connection that it keeps, and now and then on a fresh one; first alone, then while
500 half-open handshakes and 500 headers sent byte by byte hold on to kdm and come back whenever they are cut off. kdm
runs with its default limits, on demo data. kdm, the attackers and the client are a process each: with fewer than three
processors to themselves they are measured against each other, too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.child import Child, running
from integration.edge.connection import Connection
from integration.edge.hostile import attack
from integration.edge.pki import Pki
from integration.kdm_process import KdmProcess

TARGET_RATIO = 5.0
REQUESTS_PER_S = 200.0
FRESH_EVERY = 10
ATTACKS = {"half-open handshakes": 500, "slow headers": 500}
RAMP_S = 10.0  # the deadlines' length, so that attackers are cut off, and come back, evenly


def main() -> int:
    """Measure and print; return 0 if the ratio is within the target."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.edge_attack", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each of the two measurements")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--attack", nargs=2, metavar=("URL", "PKI"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.attack:
        url, pki = arguments.attack
        asyncio.run(_attack(url, Path(pki)))
        return 0
    with tempfile.TemporaryDirectory() as directory:
        pki = Pki(Path(directory, "pki"))
        for name in ("good", "evil"):
            pki.issue(name, "kdm:viewers")
        with KdmProcess(pki.settings() | {"LOG_LEVEL": "error"}, Path(directory, "log")) as kdm:
            ratios = [asyncio.run(_compare(kdm.url, pki, arguments.seconds)) for _ in range(arguments.rounds)]
    ratio = statistics.median(ratios)
    print(f"p99 under attack / p99 alone: {ratio:.2f} (target: at most {TARGET_RATIO:g})")
    return int(ratio > TARGET_RATIO)


async def _compare(url: str, pki: Pki, seconds: float) -> float:
    alone = await _measure(url, pki, seconds)
    _show("alone", alone)
    async with _attackers(url, pki):
        attacked = await _measure(url, pki, seconds)
    _show("attacked", attacked)
    return _quantile(attacked["kept"], 99) / _quantile(alone["kept"], 99)


async def _measure(url: str, pki: Pki, seconds: float) -> dict[str, list[float]]:
    """Ask at a steady rate; return the latencies in seconds. On a fresh connection they include its handshake."""
    context = pki.context("good")
    latencies: dict[str, list[float]] = {"kept": [], "fresh": []}

    async def ask_afresh() -> None:
        began = time.perf_counter()
        async with await Connection.open(url, context) as fresh:
            await _ask(fresh)
            latencies["fresh"].append(time.perf_counter() - began)

    async with await Connection.open(url, context) as kept, asyncio.TaskGroup() as group:
        due = time.perf_counter()
        for number in range(int(seconds * REQUESTS_PER_S)):
            due += 1 / REQUESTS_PER_S
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if number % FRESH_EVERY == 0:
                group.create_task(ask_afresh())
            began = time.perf_counter()
            await _ask(kept)
            latencies["kept"].append(time.perf_counter() - began)
    return latencies


async def _ask(connection: Connection) -> None:
    answer = await connection.get("/deployments/nginx-deployment/replicas")
    assert answer.status == 200, answer


def _show(when: str, latencies: dict[str, list[float]]) -> None:
    for which, values in latencies.items():
        figures = "  ".join(f"p{percent} {_quantile(values, percent) * 1e3:7.2f} ms" for percent in (50, 90, 99))
        print(f"{when:9} {which:6} {figures}  max {max(values) * 1e3:7.2f} ms  ({len(values)} requests)", flush=True)


def _quantile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


@asynccontextmanager
async def _attackers(url: str, pki: Pki) -> AsyncIterator[Child]:
    command = [sys.executable, "-m", "benchmarks.edge_attack", "--attack", url, str(pki.path)]
    async with running(command) as child:
        await child.answer()
        yield child


async def _attack(url: str, pki: Path) -> None:
    """Attack until standard input says something or ends."""
    context = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    context.load_cert_chain(pki / "evil.pem", pki / "evil-key.pem")

    async def insist(name: str, begin_s: float) -> None:
        await asyncio.sleep(begin_s)
        while True:
            with contextlib.suppress(OSError):  # there are too many already: try again
                await attack(url, context, name, 1)

    attackers = [
        asyncio.create_task(insist(name, RAMP_S * index / count))
        for name, count in ATTACKS.items()
        for index in range(count)
    ]
    await asyncio.sleep(RAMP_S)
    print(json.dumps({"attacking": ATTACKS}), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for each in attackers:
        each.cancel()
    await asyncio.wait(attackers)


if __name__ == "__main__":
    sys.exit(main())
