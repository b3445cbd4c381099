"""The ConfigMap lot, on a real API server, keeps the contract that every lot keeps; and what only it has to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from attrs import evolve

from kdm_adapters.kubernetes import ClusterConfig
from kdm_adapters.kubernetes.parking import ConfigMapParkingLot, shard_names
from kdm_adapters.kubernetes.parking.config_maps import LABELS
from kdm_adapters.kubernetes.parking.records import MAX_BYTES, encode, key_of, shard_of
from kdm_core import CacheNotSynced, DeploymentRef, ParkingFull, ParkingLot, WriteForbidden, WriteInvalid
from kdm_core.testing.parking import RECORD, WEB, ParkingHarness, ParkingLotContract, until_listed

from .controlplane.access import Cluster, KubectlFailed
from .controlplane.cluster import ControlPlane
from .proxy import Proxy


class ConfigMapHarness(ParkingHarness):
    """Lots on a real API server, the first of them through a proxy."""

    def __init__(self, cluster: Cluster, proxy: Proxy, namespace: str, directory: Path) -> None:
        self._cluster = cluster
        self._proxy = proxy
        self.namespace = namespace
        self.lot: ConfigMapParkingLot = ConfigMapParkingLot(
            ClusterConfig(kubeconfig=proxy.kubeconfig(cluster.kubeconfig, directory)), namespace, timeout_s=5.0
        )

    def another(self) -> AbstractAsyncContextManager[ParkingLot]:
        return ConfigMapParkingLot(ClusterConfig(kubeconfig=self._cluster.kubeconfig), self.namespace)

    async def damage(self, ref: DeploymentRef) -> None:
        self.put(ref, '{"replicas": "three"}')

    async def is_there(self, ref: DeploymentRef) -> bool:
        return key_of(ref) in self.data(ref)

    async def leave(self) -> None:
        self._proxy.refuse()

    def put(self, ref: DeploymentRef, value: str | None) -> None:
        """Write a value by the back door."""
        patch = json.dumps({"data": {key_of(ref): value}})
        self.kubectl("patch", "configmap", shard_of(ref.namespace), "--type=merge", f"--patch={patch}")

    def data(self, ref: DeploymentRef) -> dict[str, str]:
        """Return the keys and values of a ConfigMap."""
        found = json.loads(self.kubectl("get", "configmap", shard_of(ref.namespace), "-o", "json"))
        data: dict[str, str] = found.get("data") or {}
        return data

    def kubectl(self, *args: str, input: str | None = None) -> str:  # noqa: A002 - as subprocess calls it
        return self._cluster.kubectl(*args, f"--namespace={self.namespace}", input=input)


@pytest.fixture
def home(control_plane: ControlPlane) -> Iterator[str]:
    """A namespace for the ConfigMaps."""
    with control_plane.fresh_namespace() as namespace:
        yield namespace


@pytest.fixture
async def harness(control_plane: ControlPlane, home: str, tmp_path: Path) -> AsyncIterator[ConfigMapHarness]:
    with Proxy.to(control_plane.kubeconfig) as proxy:
        harness = ConfigMapHarness(control_plane, proxy, home, tmp_path)
        async with harness.lot:
            yield harness


class TestConfigMapParkingLot(ParkingLotContract):
    """The contract."""


async def test_a_full_config_map_says_which_it_is_and_loses_nothing(harness: ConfigMapHarness) -> None:
    await harness.lot.swap(WEB, None, RECORD)
    filler = {"data": {"filler": "x" * (MAX_BYTES - 600)}}
    patch = json.dumps(filler)
    harness.kubectl("patch", "configmap", shard_of("shop"), "--type=merge", "--patch-file=/dev/stdin", input=patch)

    other = DeploymentRef("shop", "other")
    with pytest.raises(ParkingFull, match=shard_of("shop")) as caught:
        await harness.lot.swap(other, None, evolve(RECORD, reason="r" * 256))
    assert caught.value.written is False
    assert await harness.lot.read(WEB) == RECORD


async def test_what_is_foreign_in_a_config_map_stays(harness: ConfigMapHarness) -> None:
    await harness.lot.swap(WEB, None, RECORD)
    harness.put(DeploymentRef("shop", "note"), "mine")

    await harness.lot.swap(WEB, RECORD, None)

    assert harness.data(WEB) == {"shop_note": "mine"}
    assert [each.split("'")[1] for each in harness.lot.unreadable()] == [f"{harness.namespace}/{shard_of('shop')}"]


async def test_a_value_of_another_deployment_is_not_believed(harness: ConfigMapHarness) -> None:
    await harness.lot.swap(WEB, None, RECORD)
    harness.put(WEB, encode(DeploymentRef("shop", "api"), RECORD))

    with pytest.raises(Exception, match="shop/api"):
        await harness.lot.read(WEB)


async def test_a_config_map_that_somebody_deletes_is_made_again(harness: ConfigMapHarness) -> None:
    await harness.lot.swap(WEB, None, RECORD)
    await until_listed(harness.lot, {WEB: RECORD})
    harness.kubectl("delete", "configmap", shard_of("shop"))

    await until_listed(harness.lot, {})
    assert await harness.lot.swap(WEB, None, RECORD)
    assert await harness.lot.read(WEB) == RECORD


async def test_a_config_map_that_has_lost_its_labels_is_found_and_gets_them_back(
    harness: ConfigMapHarness,
) -> None:
    """To a watch by labels it is gone, but nothing parked in it is: it must come back in the morning."""
    name, strip = shard_of("shop"), [f"{each}-" for each in LABELS]
    await harness.lot.swap(WEB, None, RECORD)
    await until_listed(harness.lot, {WEB: RECORD})

    harness.kubectl("label", "configmap", name, *strip)
    await labelled(harness, name)
    assert dict(harness.lot.list()) == {WEB: RECORD}

    await harness.lot.__aexit__(None, None, None)  # it is stripped while no kdm runs
    harness.kubectl("label", "configmap", name, *strip)
    async with harness.another() as another:
        await until_listed(another, {WEB: RECORD})
        await labelled(harness, name)


async def labelled(harness: ConfigMapHarness, name: str) -> None:
    """Wait until a ConfigMap has its labels."""
    async with asyncio.timeout(30):
        while json.loads(harness.kubectl("get", "configmap", name, "-o", "json"))["metadata"].get("labels") != LABELS:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)


async def test_without_the_namespace_it_says_so(control_plane: ControlPlane) -> None:
    async with ConfigMapParkingLot(ClusterConfig(kubeconfig=control_plane.kubeconfig), "nowhere") as lot:
        assert await lot.read(WEB) is None
        with pytest.raises(WriteInvalid, match="nowhere"):
            await lot.swap(WEB, None, RECORD)


async def test_without_the_permission_it_names_it(control_plane: ControlPlane, home: str) -> None:
    control_plane.kubectl("create", "serviceaccount", "nobody", f"--namespace={home}")
    nobody = control_plane.service_account_kubeconfig(home, "nobody")
    async with ConfigMapParkingLot(ClusterConfig(kubeconfig=nobody), home) as lot:
        with pytest.raises(WriteForbidden, match=r"'get' on 'configmaps'"):
            await lot.read(WEB)
        with pytest.raises(CacheNotSynced):
            lot.list()


def test_the_names_are_those_that_the_chart_grants() -> None:
    assert shard_names() == tuple(f"kdm-parked-{number}" for number in range(16))


def test_the_back_door_fails_loudly(harness: ConfigMapHarness) -> None:
    with pytest.raises(KubectlFailed):
        harness.put(DeploymentRef("none", "web"), "x")
