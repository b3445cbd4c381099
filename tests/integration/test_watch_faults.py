"""The watch cache on a real API server, through everything that can go wrong between the two.

Each fault strikes while things change. Afterwards the cache equals what a fresh list says, and subscribers know every
difference.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import pytest

from kdm_adapters.kubernetes import ClusterConfig, KubernetesDeploymentRepository, Tuning
from kdm_core import DeploymentRef, WatchInstrument
from kdm_core.testing.following import DEADLINE_S, Follower

from .controlplane.cluster import ControlPlane
from .proxy import Direction, Proxy
from .workloads import create_deployments, deployment

# A bookmark is due every minute on a real server: a test has no time for the real watchdog's 70 s.
TUNING: Final = Tuning(silence_s=2.0, watch_list_deadline_s=5.0)
COUNT: Final = 40

RECOVERY_S: Final = 120.0
"""The longest backoff is 60 s: on a machine that is slow to change things it comes to that."""


class Heard(WatchInstrument):
    """What the watch cache tells of itself."""

    def __init__(self) -> None:
        self.lists: list[str] = []
        self.ends: list[str] = []

    def listed(self, source: str, mode: str, reason: str, seconds: float) -> None:  # noqa: ARG002 - one source
        self.lists.append(f"{mode} {reason}")

    def watch_ended(self, source: str, reason: str) -> None:  # noqa: ARG002 - one source
        self.ends.append(reason)


class Scene:
    """A repository behind a proxy, watching a namespace in which a test changes things."""

    def __init__(self, plane: ControlPlane, proxy: Proxy, namespace: str, directory: Path) -> None:
        self.plane = plane
        self.proxy = proxy
        self.namespace = namespace
        self.heard = Heard()
        self.repository = KubernetesDeploymentRepository(
            ClusterConfig(kubeconfig=proxy.kubeconfig(plane.kubeconfig, directory)),
            namespaces=[namespace],
            instrument=self.heard,
            tuning=TUNING,
        )

    async def change(self) -> None:
        """Create, delete and scale, past the proxy."""
        await asyncio.to_thread(self._change)

    def _change(self) -> None:
        space = f"--namespace={self.namespace}"
        create_deployments(self.plane.kubeconfig, self.namespace, [deployment(f"new-{n}") for n in range(5)])
        self.plane.kubectl("delete", "deployment", space, *(f"old-{n}" for n in range(5)))
        self.plane.kubectl("scale", "deployment", space, "--replicas=7", *(f"old-{n}" for n in range(5, 10)))

    async def converged(self) -> None:
        """Wait until the repository shows what the API server has."""
        listed = json.loads(
            await asyncio.to_thread(
                self.plane.kubectl, "get", "deployments", f"--namespace={self.namespace}", "--output=json"
            )
        )
        truth = {
            each["metadata"]["name"]: (each["metadata"]["resourceVersion"], each["spec"]["replicas"])
            for each in listed["items"]
        }
        assert truth["old-5"][1] == 7
        async with asyncio.timeout(RECOVERY_S):
            while self._cached() != truth or not self.repository.sync_status().healthy:  # noqa: ASYNC110 - see above
                await asyncio.sleep(0.01)

    def _cached(self) -> dict[str, tuple[str, int]]:
        return {each.ref.name: (each.resource_version, each.replicas.desired) for each in self.repository.list()}


@pytest.fixture
async def scene(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Scene]:
    with control_plane.fresh_namespace() as namespace, Proxy.to(control_plane.kubeconfig) as proxy:
        create_deployments(control_plane.kubeconfig, namespace, [deployment(f"old-{n}") for n in range(COUNT)])
        scene = Scene(control_plane, proxy, namespace, tmp_path)
        async with scene.repository:
            await scene.repository.wait_synced(DEADLINE_S)
            yield scene


def _freeze(scene: Scene) -> None:
    scene.plane.apiserver.freeze()


def _thaw(scene: Scene) -> None:
    scene.plane.apiserver.thaw()


def _restart(scene: Scene) -> None:
    scene.plane.apiserver.kill()
    scene.plane.apiserver.start()
    scene.plane.wait_ready()


def _heal(scene: Scene) -> None:
    scene.proxy.heal()


FAULTS: Final[dict[str, tuple[Callable[[Scene], object], Callable[[Scene], object]]]] = {
    # what happens before the changes, and what after
    "a reset": (lambda scene: scene.proxy.cut(), _heal),
    "an end without close_notify": (lambda scene: scene.proxy.cut(reset=False), _heal),
    "a black hole in both directions": (lambda scene: scene.proxy.black_hole(), _heal),
    "a black hole towards kdm": (lambda scene: scene.proxy.black_hole(Direction.TO_CLIENT), _heal),
    "a stream truncated within an event": (lambda scene: scene.proxy.truncate(1500), _heal),
    "a truncated stream and a reset": (lambda scene: scene.proxy.truncate(700, reset=True), _heal),
    "a delay": (lambda scene: scene.proxy.delay(0.3), _heal),
    "a thin line": (lambda scene: scene.proxy.throttle(20_000), _heal),
    "a restart": (_restart, _heal),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_cache_survives(scene: Scene, fault: str) -> None:
    strike, mend = FAULTS[fault]
    follower = Follower(scene.repository.changes())
    await follower.until_synced()

    await asyncio.to_thread(strike, scene)
    await scene.change()
    await asyncio.to_thread(mend, scene)
    await scene.converged()

    await _told_everything(scene, follower)


async def test_the_cache_survives_a_server_that_is_stopped_for_a_while(scene: Scene) -> None:
    """SIGSTOP: connections stay open, nothing is answered. The watchdog ends the stream."""
    follower = Follower(scene.repository.changes())
    await follower.until_synced()

    await asyncio.to_thread(_freeze, scene)
    try:
        async with asyncio.timeout(DEADLINE_S):
            while "silent" not in scene.heard.ends:  # noqa: ASYNC110 - the instrument is a plain listener
                await asyncio.sleep(0.01)
        assert not scene.repository.sync_status().connected
    finally:
        await asyncio.to_thread(_thaw, scene)
    await scene.change()
    await scene.converged()

    await _told_everything(scene, follower)


async def test_the_cache_survives_an_expired_history(scene: Scene) -> None:
    """The resourceVersion to go on from is gone (410): one relist, and what was missed is told as one difference."""
    follower = Follower(scene.repository.changes())
    await follower.until_synced()

    await asyncio.to_thread(scene.proxy.refuse)
    await asyncio.to_thread(scene.proxy.cut)
    await scene.change()
    await asyncio.to_thread(scene.plane.expire_history)
    await asyncio.to_thread(_heal, scene)
    await scene.converged()

    assert "expired" in scene.heard.ends
    assert any(each.endswith(" expired") for each in scene.heard.lists)
    await _told_everything(scene, follower)


async def test_a_large_object_is_nothing_special(scene: Scene) -> None:
    """Annotations may have 256 KiB in all: such a Deployment arrives in the watch like any other."""
    await asyncio.to_thread(
        create_deployments,
        scene.plane.kubeconfig,
        scene.namespace,
        [deployment("huge", 2, padding_bytes=250_000)],
    )
    await scene.change()
    await scene.converged()
    assert scene.repository.get(DeploymentRef(scene.namespace, "huge")).replicas.desired == 2


async def test_ten_thousand_writes_are_each_read_at_once(control_plane: ControlPlane, tmp_path: Path) -> None:
    """Read-your-writes: whatever the watch is doing at that moment, a read shows at least the version just written."""
    writers, each_writes = 20, 500
    with control_plane.fresh_namespace() as namespace, Proxy.to(control_plane.kubeconfig) as proxy:
        refs = [DeploymentRef(namespace, f"web-{n}") for n in range(writers)]
        create_deployments(control_plane.kubeconfig, namespace, [deployment(ref.name) for ref in refs])
        repository = KubernetesDeploymentRepository(
            ClusterConfig(kubeconfig=proxy.kubeconfig(control_plane.kubeconfig, tmp_path)), tuning=TUNING
        )

        async def write(ref: DeploymentRef) -> None:
            for n in range(each_writes):
                replicas = 2 + n % 7
                written = await repository.set_replicas(ref, replicas)
                for read in (repository.get(ref), *(each for each in repository.list(namespace) if each.ref == ref)):
                    assert read.replicas.desired == replicas
                    assert int(read.resource_version) >= int(written.resource_version)

        async with repository:
            await repository.wait_synced(DEADLINE_S)
            async with asyncio.TaskGroup() as tasks:
                for ref in refs:
                    tasks.create_task(write(ref))


async def _told_everything(scene: Scene, follower: Follower) -> None:
    """The subscriber knows what the repository shows."""
    expected = {each.ref: each for each in scene.repository.list()}
    async with asyncio.timeout(DEADLINE_S):
        while dict(follower.state) != expected:
            await follower.next()
    await follower.aclose()
