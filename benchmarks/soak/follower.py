"""kdm in a process of its own, that tells what it holds and what it costs. Obeys `status`, `objects` and `quit`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import threading
from contextlib import aclosing
from pathlib import Path

import uvloop

from benchmarks.cache.readers.measured import status_bytes
from kdm_adapters.kubernetes.config.credentials import ClusterConfig
from kdm_adapters.kubernetes.repository import KubernetesDeploymentRepository
from kdm_core.model import ChangeKind, Deployment, DeploymentRef
from kdm_core.ports import WatchInstrument

LINGER_S = 1.0  # TLS connections are closed in the background; what is left after that is left for good


class _Counts(WatchInstrument):
    """How often what happened."""

    def __init__(self) -> None:
        self.events = 0
        self.lists: dict[str, int] = {}
        self.watch_ends: dict[str, int] = {}
        self.backoff_s = 0.0

    def watch_event(self, source: str, kind: str) -> None:  # noqa: ARG002 - one source
        self.events += 1

    def listed(self, source: str, mode: str, reason: str, seconds: float) -> None:  # noqa: ARG002
        _count(self.lists, f"{mode}: {reason}")

    def watch_ended(self, source: str, reason: str) -> None:  # noqa: ARG002
        _count(self.watch_ends, reason)

    def backed_off(self, source: str, seconds: float) -> None:  # noqa: ARG002
        self.backoff_s = max(self.backoff_s, seconds)


class _Mirror:
    """What a subscriber believes who has heard nothing but the changes."""

    def __init__(self) -> None:
        self.held: dict[DeploymentRef, Deployment] = {}
        self.lagged = 0
        self._present: dict[DeploymentRef, Deployment] = {}

    async def follow(self, repository: KubernetesDeploymentRepository) -> None:
        async with aclosing(repository.changes()) as changes:
            async for change in changes:
                self._apply(change.kind, change.deployment)

    def _apply(self, kind: ChangeKind, deployment: Deployment | None) -> None:
        if kind is ChangeKind.LAGGED:
            self.lagged += 1
        elif kind is ChangeKind.SYNCED:
            self.held, self._present = self._present, {}
        elif deployment is None:
            raise AssertionError(f"a {kind} without a Deployment")
        elif kind is ChangeKind.PRESENT:
            self._present[deployment.ref] = deployment
        elif kind is ChangeKind.DELETED:
            del self.held[deployment.ref]
        else:
            if (kind is ChangeKind.ADDED) == (deployment.ref in self.held):
                raise AssertionError(f"{deployment.ref} was {kind.value}, but {self.held.get(deployment.ref)} was held")
            self.held[deployment.ref] = deployment


async def _obey(kubeconfig: Path) -> None:
    counts, mirror = _Counts(), _Mirror()
    before = _costs()
    async with KubernetesDeploymentRepository(ClusterConfig("kubeconfig", kubeconfig), instrument=counts) as repository:
        await repository.wait_synced(60)
        mirroring = asyncio.create_task(mirror.follow(repository))
        _answer(synced=True)
        while (command := (await asyncio.to_thread(sys.stdin.readline)).strip()) in {"status", "objects"}:
            if command == "status":
                status = repository.sync_status()
                _answer(
                    connected=status.connected,
                    age_s=status.age_s,
                    mirroring=not mirroring.done(),
                    lagged=mirror.lagged,
                    **vars(counts),
                    **_costs(),
                )
            else:
                held = repository.list()
                mirrored = {deployment.ref: deployment for deployment in held} == mirror.held
                _answer(
                    objects=[_flat(deployment) for deployment in held],
                    resource_version=repository.sync_status().resource_version,
                    mirrored=mirrored,
                )
    await mirroring
    await asyncio.sleep(LINGER_S)
    after = _costs()
    _answer(before=before, after=after)


def _flat(deployment: Deployment) -> list[object]:
    replicas = deployment.replicas
    return [
        *(deployment.ref.namespace, deployment.ref.name, deployment.uid, deployment.resource_version),
        *(deployment.generation, deployment.observed_generation, deployment.paused, dict(deployment.labels)),
        *(replicas.desired, replicas.current, replicas.updated, replicas.ready, replicas.available),
    ]


def _costs() -> dict[str, int]:
    descriptors = []
    for each in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names are enough
        with contextlib.suppress(OSError):  # that of the directory itself is closed by now
            descriptors.append(os.readlink(f"/proc/self/fd/{each}"))  # noqa: PTH115 - these are no paths
    return {
        "rss_bytes": status_bytes("VmRSS"),
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "sockets": sum(each.startswith("socket:") for each in descriptors),
        "descriptors": len(descriptors),
    }


def _count(counts: dict[str, int], key: str) -> None:
    counts[key] = counts.get(key, 0) + 1


def _answer(**values: object) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    uvloop.run(_obey(parser.parse_args().kubeconfig))
