"""Measures one reader once: starts it, lets it synchronise, weighs it, changes Deployments under its eyes."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.child import Child, output, running
from integration.controlplane.cluster import ControlPlane

__all__ = ["Plan", "Sample", "measure", "measure_in_quiet", "traced_heap_bytes"]

LAST_EVENT_S = 1.0
QUIET_CORES = 0.3  # others may keep busy
LISTEN_S = 3.0


@dataclass(frozen=True)
class Plan:
    """What to do with each reader.

    Attributes:
        objects: How many Deployments there are.
        settle_s: How long it rests between being synchronised and being weighed, in seconds.
        rate_per_s: How many Deployments change a second.
        changing_s: For how long they do, in seconds.
        burst: How many changes a reader that was stopped meanwhile finds at once.
    """

    objects: int
    settle_s: float
    rate_per_s: float
    changing_s: float
    burst: int


@dataclass(frozen=True)
class Sample:
    """What was measured. Memory is what the process grew by since before it connected.

    Attributes:
        reader: Who.
        objects: How many Deployments there were.
        sync_s: From the start until it was complete, in seconds.
        sync_cpu_s: Processor time it used for that, in seconds.
        server_cpu_s: Processor time the API server used meanwhile, in seconds.
        others_cpu: How many cores everything but the reader, the API server and etcd kept busy until it was weighed.
        baseline_bytes: RSS before it connected.
        peak_bytes: The most RSS grew by until it was weighed.
        steady_bytes: What RSS had grown by after resting.
        live_bytes: The same at the end, when garbage was collected and free memory given back.
        heap_bytes: Live objects as the runtime counts them, where it does.
        events: How many changes it saw.
        missed: How many changes it did not show one by one.
        event_p50_ms: From sending a change to the API server to its being visible: half of them took no longer.
        event_p99_ms: 99 % of them took no longer.
        ack_p50_ms: From sending a change to the API server's answer.
        event_cpu_us: Processor time per change, in microseconds, when changes come one by one.
        burst_cpu_us: The same when they come all at once.
    """

    reader: str
    objects: int
    sync_s: float
    sync_cpu_s: float
    server_cpu_s: float
    others_cpu: float
    baseline_bytes: int
    peak_bytes: int
    steady_bytes: int
    live_bytes: int
    heap_bytes: int | None
    events: int
    missed: int
    event_p50_ms: float
    event_p99_ms: float
    ack_p50_ms: float
    event_cpu_us: float
    burst_cpu_us: float


async def measure_in_quiet(
    reader: str, command: Sequence[str], plane: ControlPlane, plan: Plan, patience_s: float
) -> Sample:
    """Measure a reader while nobody else uses the machine, or, when patience is at its end, as it is.

    Args:
        reader: Who.
        command: Its command line.
        plane: The control plane.
        plan: What to do.
        patience_s: How long to wait for quiet and measure again, in seconds, at most.
    """
    deadline_s = time.monotonic() + patience_s
    while True:
        while time.monotonic() < deadline_s:
            before = _Cores.now(plane)
            await asyncio.sleep(LISTEN_S)
            if _Cores.now(plane).others_since(before) < QUIET_CORES:
                break
        sample = await measure(reader, command, plane, plan)
        if sample.others_cpu < QUIET_CORES or time.monotonic() > deadline_s:
            return sample


async def measure(reader: str, command: Sequence[str], plane: ControlPlane, plan: Plan) -> Sample:
    """Measure a reader once."""
    async with running(command) as process:
        baseline = await process.answer()
        before = _Cores.now(plane, process.pid)
        synced = await process.ask(f"start {plan.objects}")
        server_s = _used_s(plane.apiserver.pid) - before.server_s
        if synced["objects"] != plan.objects:
            raise AssertionError(f"{reader} holds {synced['objects']} Deployments of {plan.objects}")
        await asyncio.sleep(plan.settle_s)
        weighed = await process.ask("memory")
        others_cpu = _Cores.now(plane, process.pid).others_since(before)
        following = await process.ask("follow")
        changes = await _change(plane.kubeconfig, plan.objects, int(plan.rate_per_s * plan.changing_s), plan.rate_per_s)
        await asyncio.sleep(LAST_EVENT_S)
        seen = await process.ask("events")
        burst_cpu_us = await _burst(process, plane.kubeconfig, plan)
        heap = await process.ask("heap")
    visible_ns: dict[int, int] = {}
    for version, at_ns in seen["events"]:
        visible_ns.setdefault(version, at_ns)
    delays_ms = sorted((visible_ns[v] - sent_ns) / 1e6 for v, sent_ns, _ in changes if v in visible_ns)
    return Sample(
        reader=reader,
        objects=plan.objects,
        sync_s=synced["sync_s"],
        sync_cpu_s=synced["sync_cpu_s"],
        server_cpu_s=server_s,
        others_cpu=others_cpu,
        baseline_bytes=baseline["rss_bytes"],
        peak_bytes=weighed["peak_rss_bytes"] - baseline["rss_bytes"],
        steady_bytes=weighed["rss_bytes"] - baseline["rss_bytes"],
        live_bytes=heap["rss_bytes"] - baseline["rss_bytes"],
        heap_bytes=heap["heap_bytes"],
        events=len(delays_ms),
        missed=len(changes) - len(delays_ms),
        event_p50_ms=statistics.median(delays_ms),
        event_p99_ms=delays_ms[int(len(delays_ms) * 0.99)],
        ack_p50_ms=statistics.median((acked_ns - sent_ns) / 1e6 for _, sent_ns, acked_ns in changes),
        event_cpu_us=(seen["cpu_s"] - following["cpu_s"]) * 1e6 / len(delays_ms),
        burst_cpu_us=burst_cpu_us,
    )


async def traced_heap_bytes(command: Sequence[str], objects: int) -> int:
    """Count what a reader in Python allocates, with tracemalloc: in a run of its own, for that is slow."""
    async with running([*command, "--traced"]) as process:
        await process.answer()
        await process.ask(f"start {objects}")
        heap = await process.ask("heap")
    return int(heap["heap_bytes"])


async def _burst(process: Child, kubeconfig: Path, plan: Plan) -> float:
    """Stop the reader, change Deployments, let it go on, and return the processor time per change, in microseconds."""
    before = await process.ask("events")
    os.kill(process.pid, signal.SIGSTOP)
    try:
        changes = await _change(kubeconfig, plan.objects, plan.burst, math.inf)
    finally:
        os.kill(process.pid, signal.SIGCONT)
    await asyncio.sleep(LAST_EVENT_S)
    after = await process.ask("events")
    seen = {version for version, _ in after["events"]}
    if not all(version in seen for version, _, _ in changes):
        return math.nan  # it was disconnected and read everything anew: that is no event's price
    return float((after["cpu_s"] - before["cpu_s"]) * 1e6 / len(changes))


async def _change(kubeconfig: Path, objects: int, changes: int, rate_per_s: float) -> list[tuple[int, int, int]]:
    options = {"kubeconfig": kubeconfig, "objects": objects, "changes": changes, "rate": rate_per_s}
    command = [sys.executable, "-m", "benchmarks.cache.changing"]
    answer = await output([*command, *(f"--{name}={value}" for name, value in options.items())])
    done: list[tuple[int, int, int]] = json.loads(answer)
    return done


@dataclass(frozen=True)
class _Cores:
    """Processor time used so far, in seconds."""

    at_s: float
    server_s: float
    others_s: float

    @classmethod
    def now(cls, plane: ControlPlane, *pids: int) -> _Cores:
        all_s = sum(_ticks_s(Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:4]))
        server_s = _used_s(plane.apiserver.pid)
        ours_s = server_s + sum(map(_used_s, (plane.etcd.pid, *pids)))
        return cls(time.monotonic(), server_s, all_s - ours_s)

    def others_since(self, before: _Cores) -> float:
        return max(0.0, self.others_s - before.others_s) / (self.at_s - before.at_s)


def _used_s(pid: int | None) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(_ticks_s(fields[11:13]))  # utime and stime: proc(5)


def _ticks_s(ticks: Sequence[str]) -> list[float]:
    return [int(each) / os.sysconf("SC_CLK_TCK") for each in ticks]
