"""What is measured of kdm for its own sake: its start, its writes, and its reads while the cluster changes."""

from __future__ import annotations

import base64
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from benchmarks.deployments import place
from benchmarks.http.contestants import KDM, POLL_S, Server
from benchmarks.http.cores import used_s
from benchmarks.http.load import Client, Load
from benchmarks.http.serving import Bench, Sample
from integration.controlplane.cluster import ControlPlane

__all__ = ["BARE", "CHANGING", "IDLE", "RELISTING", "Start", "administrator", "reads_under_changes", "starts", "writes"]

BARE = "the API server's PATCH"
WRITE = "write, 1 client, kept"
IDLE, CHANGING, RELISTING = "idle", "changing", "changing, and reading everything anew"
READY_TIMEOUT_S = 120.0
REST_S = 5.0
READS_PER_S = 500.0
READERS = 16


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
        ready_s, ready_cpu_s, peak = time.monotonic() - began_s, used_s(server.pid), _status_bytes(server.pid, "VmHWM")
        time.sleep(REST_S)
        idle_cpu = (used_s(server.pid) - ready_cpu_s) / REST_S
        found = Start(objects, ready_s, ready_cpu_s, peak, _status_bytes(server.pid, "VmRSS"), idle_cpu)
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


def writes(bench: Bench, plane: ControlPlane, directory: Path, objects: int, rounds: int, seconds: float) -> Iterator[Sample]:
    """Scale Deployments through kdm, and with the same PATCH of the same subresource at the API server itself."""
    places = [place(number) for number in range(objects)]
    administering = administrator(plane.kubeconfig, directory)
    with started(bench, objects) as (server, _):
        for turn in range(rounds):
            through_kdm = Load(
                [f"/api/v1/deployments/{name}/replicas?namespace={namespace}" for namespace, name in places],
                seconds=seconds, method="PUT", body='{"replicaCount": #}', first=_first(),
            )  # fmt: skip
            bare = Load(
                [f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale" for namespace, name in places],
                seconds=seconds, method="PATCH", body='{"spec":{"replicas":#}}', first=_first(),
                content_type="application/merge-patch+json",
            )  # fmt: skip
            contestants: list[Callable[[], Sample]] = [
                lambda: bench.sample(KDM, WRITE, turn, server.address, through_kdm, pid=server.pid),  # noqa: B023 - called in this turn
                lambda: bench.sample(
                    BARE, WRITE, turn, f"127.0.0.1:{plane.port}", bare, pid=plane.apiserver.pid, client=administering  # noqa: B023 - called in this turn
                ),
            ]
            for measure in contestants if turn % 2 == 0 else reversed(contestants):
                yield measure()
