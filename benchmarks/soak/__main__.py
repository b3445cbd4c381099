"""`python -m benchmarks.soak`: change a cluster under kdm for minutes, with faults, and check what is left of it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from benchmarks.child import Child, output, running
from benchmarks.deployments import Refused, Writer
from benchmarks.soak.faults import Faults
from integration.controlplane.cluster import ControlPlane
from integration.proxy import Proxy

SAMPLE_S = 1.0
COMPARE_EVERY = 10  # samples
RECOVERED_AGE_S = 2.0
SETTLE_TIMEOUT_S = 180.0  # the longest backoff, twice, and a read
RSS_TOLERANCE = 1.1


@dataclass(frozen=True)
class Plan:
    """How long and how hard."""

    objects: int
    rate: float
    minutes: float
    fault_every: float
    seed: int


@dataclass(frozen=True)
class Fault:
    """A fault that happened; times are seconds since the soak began."""

    kind: str
    began_s: float
    ended_s: float


def main() -> int:
    """Soak, print the verdict, and return 0 if every check passed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up then, too
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--objects", type=int, default=5_000, help="Deployments")
    parser.add_argument("--rate", type=float, default=200.0, help="changes a second")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--fault-every", type=float, default=20.0, help="seconds; faults that can last take a third")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(9999), help="of the dice")
    plan = Plan(**vars(parser.parse_args()))
    with ControlPlane() as plane, Proxy.to(plane.kubeconfig) as proxy:
        return asyncio.run(_soak(plan, plane, proxy))


async def _soak(plan: Plan, plane: ControlPlane, proxy: Proxy) -> int:
    _say(f"seed {plan.seed}; making {plan.objects} Deployments")
    async with Writer(plane.kubeconfig) as writer:
        await writer.seed(range(plan.objects))
    through_proxy = proxy.kubeconfig(plane.kubeconfig, plane.directory)
    with tempfile.TemporaryDirectory(prefix="kdm-soak-") as temporary:
        command = [sys.executable, "-m", "benchmarks.soak.follower", "--kubeconfig", str(through_proxy)]
        async with running(command, {**os.environ, "TMPDIR": temporary}) as follower:
            await follower.answer()
            samples, faults, outcomes, comparisons = await _turmoil(plan, plane, proxy, follower)
            await asyncio.to_thread(proxy.heal)
            settled_s, differing, mirrored = await _settle(follower, plane)
            last = await follower.ask("status")
            ended = await follower.ask("quit")
        leftovers = os.listdir(temporary)  # noqa: PTH208 - names are enough

    for fault in faults:
        lasted_s = fault.ended_s - fault.began_s
        _say(f"{fault.began_s:5.0f} s  {fault.kind} for {lasted_s:.1f} s{_recovery(fault, samples)}")
    _say(f"changes: {outcomes}")
    _say(f"watch: {last['events']} events; it ended by {last['watch_ends']}; everything was read by {last['lists']}")
    _say(f"longest backoff {last['backoff_s']:.1f} s; the changes lagged {last['lagged']} times")
    first = samples[0][1]
    second_bytes, last_bytes = (_rss(samples, tenth) for tenth in (1, 9))
    checks = [
        (
            "the cache was the cluster's past whenever they were compared",
            bool(comparisons) and not any(comparisons),
            f"{len(comparisons)} times; {sum(map(len, comparisons))} Deployments differed",
        ),
        ("the cache equals a fresh list", not differing, f"{len(differing)} differ; after {settled_s:.1f} s"),
        ("so does what a subscriber was told", mirrored and last["mirroring"], ""),
        *(
            (f"no {kind} leaked", last[kind] <= first[kind], f"{first[kind]}, then {last[kind]}")
            for kind in ("tasks", "sockets", "descriptors")
        ),
        (
            "no memory leaked",
            last_bytes <= second_bytes * RSS_TOLERANCE,
            f"RSS in the second tenth {second_bytes / 1e6:.1f} MB, in the last {last_bytes / 1e6:.1f} MB",
        ),
        (
            "nothing is left after the end",
            all(ended["after"][kind] <= ended["before"][kind] for kind in ("tasks", "sockets")) and not leftovers,
            f"before {ended['before']}, after {ended['after']}, files {leftovers}",
        ),
    ]
    for claim, holds, detail in checks:
        print(f"{'ok    ' if holds else 'FAILED'} {claim}{f' ({detail})' if detail else ''}")
    if differing:
        print(f"different: {differing[:10]}")
    return 0 if all(holds for _, holds, _ in checks) else 1


Samples = list[tuple[float, dict[str, Any]]]
Comparisons = list[list[object]]
"""The Deployments that differed, each time."""


async def _turmoil(
    plan: Plan, plane: ControlPlane, proxy: Proxy, follower: Child
) -> tuple[Samples, list[Fault], dict[str, int], Comparisons]:
    """Change and break things for the planned time; sample what kdm costs meanwhile."""
    seconds = plan.minutes * 60
    started_s = time.monotonic()

    def now_s() -> float:
        return time.monotonic() - started_s

    samples: Samples = [(0.0, await follower.ask("status"))]
    faults: list[Fault] = []
    dice = random.Random(plan.seed)  # noqa: S311 - dice
    writing = asyncio.create_task(_write(plan, plane, seconds))
    comparisons: Comparisons = []
    sampling = asyncio.create_task(_sample(follower, plane, samples, comparisons, now_s, until=writing))
    try:
        kinds = Faults(plane, proxy, plan.fault_every / 3, dice)
        while now_s() + 2 * plan.fault_every <= seconds:
            await asyncio.sleep(plan.fault_every * (len(faults) + 1) - now_s())
            kind, began_s = kinds.next(), now_s()
            _say(f"{began_s:5.0f} s  {kind}")
            await asyncio.to_thread(kinds.happen, kind)
            faults.append(Fault(kind, began_s, now_s()))
        outcomes = await writing
        await sampling
    finally:
        for task in (sampling, writing):
            task.cancel()
        await asyncio.gather(sampling, writing, return_exceptions=True)
    return samples, faults, outcomes, comparisons


async def _write(plan: Plan, plane: ControlPlane, seconds: float) -> dict[str, int]:
    options = {"kubeconfig": plane.kubeconfig, "objects": plan.objects, "rate": plan.rate, "seconds": seconds}
    command = [sys.executable, "-m", "benchmarks.soak.changing", f"--seed={plan.seed}"]
    outcomes: dict[str, int] = json.loads(await output([*command, *(f"--{k}={v}" for k, v in options.items())]))
    return outcomes


async def _sample(
    follower: Child,
    plane: ControlPlane,
    samples: Samples,
    comparisons: Comparisons,
    now_s: Callable[[], float],
    until: asyncio.Task[dict[str, int]],
) -> None:
    async with Writer(plane.kubeconfig) as writer, asyncio.TaskGroup() as comparing:
        while not until.done():
            await asyncio.sleep(SAMPLE_S)
            samples.append((now_s(), await follower.ask("status")))
            if len(samples) % COMPARE_EVERY == 0:
                comparing.create_task(_compare(writer, await follower.ask("objects"), comparisons))


async def _compare(writer: Writer, answer: dict[str, Any], comparisons: Comparisons) -> None:
    """Compare what kdm held with what the cluster had at the same resourceVersion, if it can still say so."""
    with contextlib.suppress(Refused, aiohttp.ClientError, TimeoutError):
        comparisons.append(_differing(await writer.list(at=answer["resource_version"]), answer["objects"]))


async def _settle(follower: Child, plane: ControlPlane) -> tuple[float, list[object], bool]:
    """Wait until kdm holds what a fresh list says; return how long that took, in seconds, and what is different."""
    started_s = time.monotonic()
    async with Writer(plane.kubeconfig) as writer:
        fresh = await writer.list()
    while True:
        answer = await follower.ask("objects")
        differing = _differing(fresh, answer["objects"])
        waited_s = time.monotonic() - started_s
        if (not differing and answer["mirrored"]) or waited_s > SETTLE_TIMEOUT_S:
            return waited_s, differing, answer["mirrored"]
        await asyncio.sleep(SAMPLE_S / 4)


def _differing(listed: list[dict[str, Any]], objects: list[Any]) -> list[object]:
    """Return the namespace and name of each Deployment that the cluster's list and kdm do not have alike."""
    told = {(item[0], item[1]): item for item in map(_flat, listed)}
    held = {(item[0], item[1]): item for item in objects}
    return [key for key in told.keys() | held.keys() if told.get(key) != held.get(key)]


def _flat(item: dict[str, Any]) -> list[object]:
    """Return what `benchmarks.soak.follower` returns for the same Deployment."""
    metadata, spec, status = item["metadata"], item["spec"], item["status"]
    counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    return [
        *(metadata[key] for key in ("namespace", "name", "uid", "resourceVersion", "generation")),
        *(status.get("observedGeneration", 0), spec.get("paused", False), metadata.get("labels", {})),
        *(spec["replicas"], *(status.get(key, 0) for key in counts)),
    ]


def _recovery(fault: Fault, samples: Samples) -> str:
    """Say when kdm was up to date again."""
    for at_s, sample in samples:
        if at_s > fault.ended_s and sample["connected"] and sample["age_s"] < RECOVERED_AGE_S:
            return f", up to date {at_s - fault.ended_s:.0f} s later"
    return ", not up to date again before the end"


def _rss(samples: Samples, tenth: int) -> float:
    """Return the median RSS in one tenth of the time, in bytes."""
    length_s = samples[-1][0] / 10
    within = [float(sample["rss_bytes"]) for at_s, sample in samples if tenth <= at_s / length_s <= tenth + 1]
    return statistics.median(within)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
