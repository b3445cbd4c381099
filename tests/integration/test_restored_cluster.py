"""A real etcd, restored from an older backup under a running kdm; and API servers that take turns: no restore."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kdm_adapters.kubernetes import ClusterConfig, KubernetesDeploymentRepository
from kdm_adapters.kubernetes.parking import ConfigMapParkingLot
from kdm_core import DeploymentRef, Unavailable, WatchInstrument
from kdm_core.testing.following import DEADLINE_S, Follower
from kdm_core.testing.parking import RECORD, until_listed

from .controlplane.access import Cluster
from .controlplane.cluster import ControlPlane
from .kdm_process import KdmProcess, wait_until
from .proxy import Proxy
from .workloads import create_deployments, deployment

NOTICED_S: Final = 70.0
"""Within this a restore must be noticed: the longest delay between two attempts to connect, and some seconds more."""


class Heard(WatchInstrument):
    """What the watch cache tells of itself."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    def watch_ended(self, source: str, reason: str) -> None:  # noqa: ARG002 - one source
        self.ends.append(reason)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of these tests alone: what others stored must not vanish with a restore."""
    with ControlPlane(directory=tmp_path_factory.mktemp("restored")) as plane:
        yield plane


@pytest.fixture
def shop(plane: ControlPlane) -> Iterator[str]:
    with plane.fresh_namespace("shop") as namespace:
        create_deployments(plane.kubeconfig, namespace, [deployment(name, 1) for name in ("web", "api", "doomed")])
        yield namespace


def go_on(plane: ControlPlane, namespace: str) -> None:
    """Let a cluster live on after its backup, far enough that its versions are well above the backup's."""
    create_deployments(plane.kubeconfig, namespace, [deployment(f"late-{n}", 1) for n in range(40)])
    plane.kubectl("scale", "deployment", f"--namespace={namespace}", "--replicas=7", "web")
    plane.kubectl("delete", "deployment", f"--namespace={namespace}", "doomed")


def counts(plane: Cluster, namespace: str) -> dict[str, int]:
    listed = json.loads(plane.kubectl("get", "deployments", f"--namespace={namespace}", "--output=json"))
    return {each["metadata"]["name"]: each["spec"]["replicas"] for each in listed["items"]}


def test_a_restored_cluster_is_noticed_and_health_is_honest_meanwhile(
    plane: ControlPlane, shop: str, tmp_path: Path
) -> None:
    """Over HTTPS, as an operator sees it: whenever kdm says it is healthy, what it shows is what the cluster has."""
    settings = {"REPOSITORY": "kubernetes", "KUBECONFIG": str(plane.kubeconfig), "NAMESPACES": shop}
    with KdmProcess(settings, tmp_path / "log") as kdm, kdm.client() as client:

        def shown() -> dict[str, int]:
            return {each["name"]: each["replicaCount"] for each in client.get("/api/v1/deployments").json()}

        def healthy() -> bool:
            return client.get("/health").status_code == 200

        kdm.wait_ready()
        backup = plane.back_up(tmp_path)
        go_on(plane, shop)
        wait_until(lambda: healthy() and shown() == counts(plane, shop), NOTICED_S)
        assert shown()["web"] == 7

        plane.restore_backup(backup)
        restored_at = time.monotonic()
        truth = counts(plane, shop)
        assert truth == {"web": 1, "api": 1, "doomed": 1}
        while not healthy():
            assert time.monotonic() - restored_at < NOTICED_S
            time.sleep(0.02)  # another process' state, of which it does not tell

        assert shown() == truth
        print(f"noticed {time.monotonic() - restored_at:.1f} s after the restored API server was ready")
        assert client.post("/deployments/web/replicas", json={"replicaCount": 5}).status_code == 200
        assert client.get("/deployments/web/replicas").json()["replicaCount"] == 5
        assert counts(plane, shop)["web"] == 5
        assert "went back" in kdm.output()
        assert went_back(kdm) == 1


def went_back(kdm: KdmProcess) -> float:
    """Return how many watches kdm ended because the cluster had gone back."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(kdm.metrics())
        if family.name == "kdm_watch_ends"
        for sample in family.samples
        if sample.labels["reason"] == "went-back"
    )


@pytest.fixture
async def repository(plane: ControlPlane, shop: str) -> AsyncIterator[KubernetesDeploymentRepository]:
    repository = KubernetesDeploymentRepository(ClusterConfig(kubeconfig=plane.kubeconfig), namespaces=[shop])
    async with repository:
        await repository.wait_synced(DEADLINE_S)
        yield repository


async def test_what_is_parked_is_what_the_backup_says(plane: ControlPlane, shop: str, tmp_path: Path) -> None:
    """The records go back with the cluster, and so does what kdm shows of them."""
    parked, woken = DeploymentRef(shop, "web"), DeploymentRef(shop, "api")
    config = ClusterConfig(kubeconfig=plane.kubeconfig)
    async with ConfigMapParkingLot(config, shop) as writer, ConfigMapParkingLot(config, shop) as lot:
        assert await writer.swap(parked, None, RECORD)
        await until_listed(lot, {parked: RECORD})
        backup = plane.back_up(tmp_path)
        go_on(plane, shop)
        assert await writer.swap(woken, None, RECORD)
        assert await writer.swap(parked, RECORD, None)
        await until_listed(lot, {woken: RECORD})  # by its watch

        plane.restore_backup(backup)
        async with asyncio.timeout(NOTICED_S):
            while dict(lot.list()) != {parked: RECORD}:  # noqa: ASYNC110 - a watch
                await asyncio.sleep(0.05)
        assert await lot.read(parked) == RECORD
        assert await lot.swap(parked, RECORD, None)
        await until_listed(lot, {})


async def test_own_writes_are_visible_at_once_after_a_restore(
    plane: ControlPlane, shop: str, repository: KubernetesDeploymentRepository, tmp_path: Path
) -> None:
    """Before anything was noticed: the answers' versions lie far below what is held."""
    backup = await asyncio.to_thread(plane.back_up, tmp_path)
    await asyncio.to_thread(go_on, plane, shop)
    web, api = DeploymentRef(shop, "web"), DeploymentRef(shop, "api")
    async with asyncio.timeout(NOTICED_S):
        while repository.get(web).replicas.desired != 7:  # noqa: ASYNC110 - a repository tells of no single thing it sees
            await asyncio.sleep(0.01)
    await asyncio.to_thread(plane.restore_backup, backup)

    for ref, replicas in ((web, 3), (api, 4), (web, 5)):
        written = await repository.set_replicas(ref, replicas)
        assert repository.get(ref).replicas.desired == written.replicas.desired == replicas

    async with asyncio.timeout(NOTICED_S):
        while not repository.sync_status().healthy:
            assert repository.get(web).replicas.desired == 5, "an own write was taken back"
            await asyncio.sleep(0.01)
    shown = {each.ref.name: each.replicas.desired for each in repository.list()}
    assert shown == await asyncio.to_thread(counts, plane, shop) == {"web": 5, "api": 4, "doomed": 1}


async def test_api_servers_that_take_turns_behind_a_balancer_are_no_restore(
    plane: ControlPlane, shop: str, tmp_path: Path
) -> None:
    """Each has a watch cache of its own, empty after its restart. No write is lost, and no version goes backwards."""
    heard = Heard()
    ref = DeploymentRef(shop, "web")
    with plane.another_apiserver() as (second, second_port), Proxy.to(plane.kubeconfig) as balancer:
        repository = KubernetesDeploymentRepository(
            ClusterConfig(kubeconfig=balancer.kubeconfig(plane.kubeconfig, tmp_path)),
            namespaces=[shop],
            instrument=heard,
        )
        servers = [(plane.apiserver, plane.port), (second, second_port)]

        def change_over() -> None:
            (old, old_port), (_, new_port) = servers
            balancer.lead_to(new_port)
            old.kill()
            balancer.cut()
            old.start()
            plane.wait_ready_at(old, old_port)
            servers.reverse()

        async with repository:
            await repository.wait_synced(DEADLINE_S)
            follower = Follower(repository.changes(shop))
            await follower.until_synced()
            for turn in range(4):
                turning = asyncio.create_task(asyncio.to_thread(change_over))
                written = 0
                while not turning.done() or written < 10:
                    written += await _write(repository, ref, 1 + (turn + written) % 5)
                await turning
            last = await repository.set_replicas(ref, 9)
            async with asyncio.timeout(DEADLINE_S):
                while not repository.sync_status().healthy:  # noqa: ASYNC110 - a repository tells nobody
                    await asyncio.sleep(0.01)
            assert repository.get(ref).replicas.desired == last.replicas.desired == 9
            await follower.until_replicas(ref, 9)  # it checks that no version goes backwards
            await follower.aclose()
            assert (await asyncio.to_thread(counts, plane, shop))["web"] == 9
    assert "went-back" not in heard.ends
    assert "missed" not in heard.ends


async def _write(repository: KubernetesDeploymentRepository, ref: DeploymentRef, replicas: int) -> int:
    """Write, and read it back, unless nobody is there to write to. Returns how many writes that were."""
    try:
        written = await repository.set_replicas(ref, replicas)
    except Unavailable:
        await asyncio.sleep(0.05)
        return 0
    read = repository.get(ref)
    assert read.replicas.desired == replicas
    assert int(read.resource_version) >= int(written.resource_version)
    return 1
