"""What is measured of kdm for its own sake: its start, its writes, and its reads while the cluster changes."""

from __future__ import annotations

import base64
import itertools
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.deployments import place
from benchmarks.http.cluster import one_by_one
from benchmarks.http.contestants import KDM, POLL_S, Server
from benchmarks.http.cores import used_s
from benchmarks.http.load import Client, Load
from benchmarks.http.serving import Bench, Sample
from integration.controlplane.cluster import ControlPlane

__all__ = [
    "BARE",
    "CHANGING",
    "IDLE",
    "RELISTING",
    "STEADY",
    "WRITE",
    "Start",
    "changing",
    "put",
    "reads_under_changes",
    "started",
    "starts",
    "status_bytes",
    "writes",
]

BARE = "the API server's PATCH"
READS_PER_S = 500.0
READERS = 16
STEADY = f"GET, {READERS} clients, {READS_PER_S:g} a second in all"
WRITE = "write, 1 client, kept"
IDLE, CHANGING, RELISTING = "idle", "changing", "reading everything anew"
READY_TIMEOUT_S = 120.0
REST_S = 5.0
CHANGING_BEFORE_S = 3.0  # the process that changes Deployments takes its time to start
RELIST_S = 45.0  # the API server's restart, kdm's backoff and a list


@dataclass(frozen=True)
class Start:
    """How kdm started.

    Attributes:
        objects: How many Deployments there were.
        ready_s: From its start until it was ready, in seconds.
        ready_cpu_s: Processor time it used for that, in seconds.
        peak_bytes: The most RSS until then.
        rss_bytes: RSS after a rest.
        idle_cpu: How many cores it keeps busy when nothing is asked of it.
    """

    objects: int
    ready_s: float
    ready_cpu_s: float
    peak_bytes: int
    rss_bytes: int
    idle_cpu: float


@contextmanager
def started(bench: Bench, objects: int, kubeconfig: Path | None = None) -> Iterator[tuple[Server, Start]]:
    """Start kdm, wait until it is ready, and let it rest."""
    began_s = time.monotonic()
    with bench.services.run(KDM, kubeconfig) as server:
        while not _ready(server):
            if time.monotonic() - began_s > READY_TIMEOUT_S:
                raise AssertionError("kdm does not become ready")
            time.sleep(POLL_S)
        ready_s, ready_cpu_s, peak = time.monotonic() - began_s, used_s(server.pid), status_bytes(server.pid, "VmHWM")
        time.sleep(REST_S)
        idle_cpu = (used_s(server.pid) - ready_cpu_s) / REST_S
        found = Start(objects, ready_s, ready_cpu_s, peak, status_bytes(server.pid, "VmRSS"), idle_cpu)
        bench.say(
            f"start with {objects} Deployments: ready after {ready_s:.2f} s, {ready_cpu_s:.2f} s of CPU; "
            f"RSS {found.rss_bytes / 1e6:.0f} MB; resting it keeps {idle_cpu:.3f} cores busy"
        )
        yield server, found


def starts(bench: Bench, objects: int, rounds: int) -> list[dict[str, Any]]:
    """Start kdm some times; the very first time, when its modules may not be compiled yet, does not count."""
    found = []
    for turn in range(rounds + 1):
        with started(bench, objects) as (_, start):
            if turn:
                found.append(asdict(start))
    return found


def put(paths: Sequence[str]) -> Load:
    """Make a load of writes through kdm."""
    return Load(paths, method="PUT", body='{"replicaCount": #}')


def writes(
    bench: Bench, plane: ControlPlane, directory: Path, objects: int, rounds: int, seconds: float
) -> Iterator[Sample]:
    """Scale Deployments through kdm, and with the same PATCH of the same subresource at the API server itself."""
    places = [place(number) for number in range(objects)]
    bare = [f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale" for namespace, name in places]
    through = replace(put(one_by_one(objects)), seconds=seconds)
    patch = Load(
        bare,
        seconds=seconds,
        method="PATCH",
        body='{"spec":{"replicas":#}}',
        content_type="application/merge-patch+json",
    )
    administering = administrator(plane.kubeconfig, directory)
    with started(bench, objects) as (server, _):
        for turn in range(rounds):
            for name in (KDM, BARE) if turn % 2 == 0 else (BARE, KDM):
                # No count that is there already: it would change nothing.
                load = replace(through if name == KDM else patch, first=random.randrange(1000, 500_000))  # noqa: S311 - dice
                if name == KDM:
                    yield bench.sample(name, WRITE, turn, server.address, load, pid=server.pid)
                else:
                    address = f"127.0.0.1:{plane.port}"
                    yield bench.sample(name, WRITE, turn, address, load, pid=plane.apiserver.pid, client=administering)


def reads_under_changes(
    bench: Bench,
    plane: ControlPlane,
    directory: Path,
    objects: int,
    paths: Sequence[str],
    rate_per_s: float,
    rounds: int,
    seconds: float,
) -> Iterator[tuple[Sample, float]]:
    """Read single Deployments at a steady rate: while nothing changes, while much does, during a relist.

    Yields:
        What was measured, and how many changes a second the API server acknowledged meanwhile.
    """
    reading = Load(paths, READERS, seconds, fresh=False, rate_per_s=READS_PER_S)
    with started(bench, objects) as (server, _):
        for turn in range(rounds):
            yield bench.sample(IDLE, STEADY, turn, server.address, reading, pid=server.pid), 0.0
            with changing(bench, plane.kubeconfig, objects, rate_per_s, seconds + CHANGING_BEFORE_S + 1) as changed:
                time.sleep(CHANGING_BEFORE_S)
                sample = bench.sample(CHANGING, STEADY, turn, server.address, reading, pid=server.pid)
            yield sample, changed()
            yield _during_relist(bench, plane, directory, server, reading, turn), 0.0


def administrator(kubeconfig: Path, directory: Path) -> Client:
    """Write the certificate of a kubeconfig's user, its key and the cluster's CA to files."""
    document = yaml.safe_load(kubeconfig.read_text())
    user, cluster = document["users"][0]["user"], document["clusters"][0]["cluster"]
    files = {
        "administrator.pem": user["client-certificate-data"],
        "administrator-key.pem": user["client-key-data"],
        "cluster-ca.pem": cluster["certificate-authority-data"],
    }
    for name, content in files.items():
        (directory / name).write_bytes(base64.b64decode(content))
    return Client(*(directory / name for name in files))


@contextmanager
def changing(
    bench: Bench, kubeconfig: Path, objects: int, rate_per_s: float, seconds: float
) -> Iterator[Callable[[], float]]:
    """Change Deployments in another process; afterwards, what this gave tells how many a second were acknowledged."""
    options = {"kubeconfig": kubeconfig, "objects": objects, "changes": int(rate_per_s * seconds), "rate": rate_per_s}
    command = [
        sys.executable,
        "-m",
        "benchmarks.cache.changing",
        *(f"--{key}={value}" for key, value in options.items()),
    ]
    with subprocess.Popen(bench.layout.beside(command), stdout=subprocess.PIPE) as process:
        written: list[bytes] = []
        try:
            yield lambda: _rate(json.loads(written[0]))
            written.append(process.communicate(timeout=60 + 10 * seconds)[0])
        finally:
            process.kill()


def _rate(changes: list[tuple[int, int, int]]) -> float:
    """Return how many changes a second there were; each is its version, and when it was sent and acknowledged."""
    return len(changes) / (max(at for _, _, at in changes) - min(at for _, at, _ in changes)) * 1e9


def _during_relist(
    bench: Bench, plane: ControlPlane, directory: Path, server: Server, reading: Load, turn: int
) -> Sample:
    """Have the cluster forget its history, so that kdm has to read everything anew; tell of the reads meanwhile.

    That is while kdm keeps most of its core busy: the reads alone take a small part.
    """
    before = _lists(server)
    load = replace(reading, seconds=RELIST_S, timeline=directory / "timeline")
    running = bench.generator.start(server.address, bench.services.certificates.client, load, server.pid)
    try:
        plane.expire_history()
    finally:
        outcome = bench.generator.finish(running)
    if _lists(server) == before:
        raise AssertionError(f"kdm did not read everything anew within {RELIST_S:g} s")
    timeline = json.loads((directory / "timeline").read_text())
    during = _while_busy(timeline["requests"], timeline["server"])
    sample = Sample(RELISTING, STEADY, turn, 0.0, replace(outcome, **during))
    bench.say(f"{RELISTING}: p50 {during['p50_us'] / 1e3:.2f} ms, p99 {during['p99_us'] / 1e3:.2f} ms, {during}")
    return sample


def _while_busy(requests: list[list[float]], server: list[list[float]]) -> dict[str, Any]:
    """Take the requests that began while the server kept more than half a core busy; times are in seconds."""
    busy = [
        (from_s, to_s, to_cpu_s - from_cpu_s)
        for (from_s, from_cpu_s), (to_s, to_cpu_s) in itertools.pairwise(server)
        if to_cpu_s - from_cpu_s > (to_s - from_s) / 2
    ]
    took_us = sorted(
        took_s * 1e6 for began_s, took_s in requests if any(from_s <= began_s < to_s for from_s, to_s, _ in busy)
    )
    if not took_us:
        raise AssertionError("kdm was never busy: no relist was seen")

    def quantile(part: float) -> float:
        return took_us[min(len(took_us) - 1, int(part * len(took_us)))]

    return {
        "requests": len(took_us),
        "seconds": sum(to_s - from_s for from_s, to_s, _ in busy),
        "server_cpu_s": sum(cpu_s for _, _, cpu_s in busy),
        "p50_us": quantile(0.5),
        "p90_us": quantile(0.9),
        "p99_us": quantile(0.99),
        "p999_us": quantile(0.999),
        "max_us": took_us[-1],
    }


def _ready(server: Server) -> bool:
    return httpx.get(f"{server.ops_url}/readyz", trust_env=False).status_code == 200


def _lists(server: Server) -> float:
    """Return how often kdm has read a complete state."""
    metrics = httpx.get(f"{server.ops_url}/metrics", trust_env=False).text
    families = text_string_to_metric_families(metrics)
    return sum(each.value for family in families for each in family.samples if each.name == "kdm_lists_total")


def status_bytes(pid: int | None, field: str) -> int:
    """Return a figure of /proc/PID/status, see proc(5)."""
    (line,) = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith(f"{field}:")]
    return int(line.split()[1]) * 1024
