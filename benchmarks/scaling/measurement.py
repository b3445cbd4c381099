"""What is measured, of one kdm on a cluster of some size, and of several on the same one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from benchmarks.http.alone import changing, started, status_bytes
from benchmarks.http.contestants import KDM
from benchmarks.http.cores import used_s
from benchmarks.http.load import Outcome
from benchmarks.http.serving import LIST, SCENARIOS, Bench
from integration.controlplane.cluster import ControlPlane

__all__ = ["Crowd", "Grown", "crowd", "grown"]

ONE, MANY = SCENARIOS[0], SCENARIOS[1]


@dataclass(frozen=True)
class Grown:
    """One kdm on a cluster of some size.

    Attributes:
        objects: How many Deployments there were.
        ready_s: From its start until it was ready, in seconds.
        ready_cpu_s: Processor time it used for that, in seconds.
        server_cpu_s: Processor time the API server used for that.
        peak_bytes: The most RSS until then.
        rss_bytes: RSS after a rest, before requests.
        served_bytes: RSS after all requests.
        one: Single GETs, one after the other.
        many: Single GETs by enough clients to keep it busy.
        list: Lists, one after the other.
    """

    objects: int
    ready_s: float
    ready_cpu_s: float
    server_cpu_s: float
    peak_bytes: int
    rss_bytes: int
    served_bytes: int
    one: Outcome
    many: Outcome
    list: Outcome


@dataclass(frozen=True)
class Crowd:
    """Several replicas of kdm on one API server while Deployments change.

    Attributes:
        replicas: How many.
        changes_per_s: How many changes a second the API server acknowledged.
        server_cpu: How many cores the API server kept busy.
        server_idle_cpu: How many it kept busy before, when nothing changed.
        server_bytes: Its RSS.
        kdm_cpu: How many cores each replica kept busy.
        kdm_bytes: RSS of each replica.
    """

    replicas: int
    changes_per_s: float
    server_cpu: float
    server_idle_cpu: float
    server_bytes: int
    kdm_cpu: float
    kdm_bytes: float


def grown(bench: Bench, plane: ControlPlane, objects: int, paths: Sequence[str], turn: int, seconds: float) -> Grown:
    """Start a kdm, and ask it."""
    server_s = used_s(plane.apiserver.pid)
    with started(bench, objects) as (server, start):
        server_s = used_s(plane.apiserver.pid) - server_s
        outcomes = {
            name: bench.sample(
                KDM, f"{objects}: {name}", turn, server.address, replace(load, seconds=seconds), pid=server.pid
            ).outcome
            for name, load in {
                "one": replace(ONE.load, paths=paths),
                "many": replace(MANY.load, paths=paths),
                "list": LIST.load,
            }.items()
        }
        served = status_bytes(server.pid, "VmRSS")
    return Grown(
        objects=objects,
        ready_s=start.ready_s,
        ready_cpu_s=start.ready_cpu_s,
        server_cpu_s=server_s,
        peak_bytes=start.peak_bytes,
        rss_bytes=start.rss_bytes,
        served_bytes=served,
        **outcomes,
    )


def crowd(bench: Bench, plane: ControlPlane, objects: int, replicas: int, rate_per_s: float, seconds: float) -> Crowd:
    """Start several replicas, and see what they cost while nothing changes, and while Deployments do."""
    with ExitStack() as stack:
        servers = [stack.enter_context(started(bench, objects))[0] for _ in range(replicas)]
        pids = [server.pid for server in servers]
        idle = _busy(plane, pids, seconds)[0]
        with changing(bench, plane.kubeconfig, objects, rate_per_s, seconds + 4) as changes:
            time.sleep(3)
            server_cpu, kdm_cpu = _busy(plane, pids, seconds)
        found = Crowd(
            replicas=replicas,
            changes_per_s=changes(),
            server_cpu=server_cpu,
            server_idle_cpu=idle,
            server_bytes=status_bytes(plane.apiserver.pid, "VmRSS"),
            kdm_cpu=kdm_cpu / max(1, replicas),
            kdm_bytes=sum(status_bytes(pid, "VmRSS") for pid in pids) / max(1, replicas),
        )
        bench.say(str(found))
        return found


def _busy(plane: ControlPlane, pids: Sequence[int], seconds: float) -> tuple[float, float]:
    """Watch for a while; return how many cores the API server kept busy, and how many the processes."""
    before = used_s(plane.apiserver.pid), sum(map(used_s, pids))
    began_s = time.monotonic()
    time.sleep(seconds)
    passed_s = time.monotonic() - began_s
    return (used_s(plane.apiserver.pid) - before[0]) / passed_s, (sum(map(used_s, pids)) - before[1]) / passed_s
