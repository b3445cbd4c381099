"""The ConfigMap lot, on a model API server, keeps the contract that every lot keeps; and what only it has to do."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from kdm_adapters.kubernetes import ClusterConfig
from kdm_adapters.kubernetes.parking import SHARDS, ConfigMapParkingLot, shard_names
from kdm_adapters.kubernetes.parking.lot import MAX_ATTEMPTS
from kdm_adapters.kubernetes.parking.records import MAX_BYTES, MAX_KEY, decode, encode, key_of, shard_of
from kdm_adapters.kubernetes.watch.tuning import Tuning
from kdm_core import (
    CacheNotSynced,
    ClusterOverloaded,
    ClusterTimeout,
    ClusterUnreachable,
    ClusterUnrecognized,
    DeploymentRef,
    KdmError,
    ParkingFull,
    ParkingRecordUnreadable,
    WriteForbidden,
    WriteInvalid,
)
from kdm_core.parked import Parked
from kdm_core.testing.parking import LONG, RECORD, WEB, ParkingHarness, ParkingLotContract, until_listed
from unit.adapters.kubernetes.api_server import Answer, Reply, answering, refusing
from unit.adapters.kubernetes.config_map_server import HOME, ConfigMapServer
from unit.adapters.kubernetes.conftest import HurriedTime, until

SHARD = shard_of(WEB.namespace)
OTHER = DeploymentRef("shop", "other")
FORBIDDEN = (
    f'configmaps "{SHARD}" is forbidden: User "kdm" cannot %s resource "configmaps" in API group "" in the namespace '
    f'"{HOME}"'
)


class ConfigMapHarness(ParkingHarness):
    """Lots on a model API server."""

    def __init__(self, server: ConfigMapServer, directory: Path, hurried: HurriedTime) -> None:
        self.server = server
        self._hurried = hurried
        self.kubeconfig = server.kubeconfig(directory)
        self.lot: ConfigMapParkingLot = self.another()

    def another(self, **options: Any) -> ConfigMapParkingLot:
        hurried = {"clock": self._hurried.now, "sleep": self._hurried.sleep}
        config = ClusterConfig(kubeconfig=self.kubeconfig)
        return ConfigMapParkingLot(config, options.pop("namespace", HOME), **hurried | options)

    async def damage(self, ref: DeploymentRef) -> None:
        await self.put(ref, '{"replicas": "three"}')

    async def is_there(self, ref: DeploymentRef) -> bool:
        return key_of(ref) in self.server.data(shard_of(ref.namespace))

    async def leave(self) -> None:
        await self.server.stop()

    async def put(self, ref: DeploymentRef, value: str | None) -> None:
        """Write a value by the back door."""
        await self.server.put(shard_of(ref.namespace), {key_of(ref): value})


@pytest.fixture
async def server() -> AsyncIterator[ConfigMapServer]:
    async with ConfigMapServer().running() as running:
        assert isinstance(running, ConfigMapServer)
        yield running


@pytest.fixture
async def harness(server: ConfigMapServer, tmp_path: Path, hurried: HurriedTime) -> AsyncIterator[ConfigMapHarness]:
    harness = ConfigMapHarness(server, tmp_path, hurried)
    async with harness.lot:
        yield harness


class TestConfigMapParkingLot(ParkingLotContract):
    """The contract."""


# What others do to the ConfigMaps


async def test_a_lot_that_lists_instead_of_watch_lists_sees_the_same(harness: ConfigMapHarness) -> None:
    await harness.lot.swap(WEB, None, RECORD)
    async with harness.another(tuning=Tuning(watch_list=False)) as another:
        await until_listed(another, {WEB: RECORD})
        await harness.lot.swap(LONG, None, RECORD)
        await until_listed(another, {WEB: RECORD, LONG: RECORD})


async def test_what_is_foreign_in_a_config_map_stays(harness: ConfigMapHarness) -> None:
    await harness.lot.swap(WEB, None, RECORD)
    await harness.put(DeploymentRef("shop", "note"), "mine")

    await harness.lot.swap(WEB, RECORD, None)

    assert harness.server.data(SHARD) == {"shop_note": "mine"}
    assert harness.lot.unreadable() == (f"the ConfigMap '{HOME}/{SHARD}', key 'shop_note'",)


async def test_a_record_in_the_wrong_config_map_is_named_and_not_listed(
    harness: ConfigMapHarness, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = next(each for each in shard_names() if each != SHARD)
    with caplog.at_level(logging.WARNING):
        await harness.server.put(wrong, {key_of(WEB): encode(WEB, RECORD)})
        await until(harness.lot.unreadable)

    assert harness.lot.list() == ()
    assert f"belongs into {SHARD}" in caplog.text
    assert await harness.lot.read(WEB) is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": "api"}, "shop/api"),
        ({"name": "Not a name"}, "Not a name"),
        ({"uid": ""}, "no uid"),
        ({"replicas": 0}, "no count of at least 1"),
        ({"at": "yesterday"}, "yesterday"),
        ({"by": None}, "by"),
    ],
)
async def test_a_value_that_is_no_record_of_this_deployment_is_not_believed(
    harness: ConfigMapHarness, change: dict[str, object], problem: str
) -> None:
    await harness.lot.swap(WEB, None, RECORD)
    value = json.dumps(json.loads(encode(WEB, RECORD)) | change)
    await harness.put(WEB, value)

    with pytest.raises(ParkingRecordUnreadable, match=problem) as caught:
        await harness.lot.read(WEB)
    assert caught.value.where == f"the ConfigMap '{HOME}/{SHARD}', key 'shop_web'"
    assert harness.server.data(SHARD) == {"shop_web": value}


async def test_a_damaged_record_that_somebody_corrects_is_a_record_again(harness: ConfigMapHarness) -> None:
    await harness.lot.swap(WEB, None, RECORD)
    await harness.damage(WEB)
    await until(harness.lot.unreadable)
    await harness.put(WEB, encode(WEB, RECORD))

    await until_listed(harness.lot, {WEB: RECORD})
    assert harness.lot.unreadable() == ()
    assert await harness.lot.swap(WEB, RECORD, None)


async def test_a_config_map_that_somebody_deletes_is_made_again(harness: ConfigMapHarness) -> None:
    await harness.lot.swap(WEB, None, RECORD)
    await until_listed(harness.lot, {WEB: RECORD})
    heard: list[tuple[DeploymentRef, Parked | None]] = []
    harness.lot.on_change = lambda ref, parked: heard.append((ref, parked))
    await harness.server.delete(SHARD)

    await until_listed(harness.lot, {})
    assert heard == [(WEB, None)]
    assert await harness.lot.swap(WEB, None, RECORD)
    assert await harness.lot.read(WEB) == RECORD


async def test_a_restored_cluster_is_believed(harness: ConfigMapHarness) -> None:
    await harness.lot.swap(WEB, None, RECORD)
    backup = harness.server.cluster.version
    for name in ("a", "b", "c"):
        await harness.lot.swap(DeploymentRef("shop", name), None, RECORD)
    everything = {WEB: RECORD} | {DeploymentRef("shop", name): RECORD for name in ("a", "b", "c")}
    async with harness.another() as another:
        await until_listed(another, everything)
        await harness.server.restore(backup)

        await until_listed(another, {WEB: RECORD})
        assert await another.swap(WEB, RECORD, None)


async def test_an_old_answer_that_comes_late_hides_nothing_newer(harness: ConfigMapHarness) -> None:
    await harness.lot.swap(WEB, None, RECORD)
    old = json.dumps(harness.server.stored[SHARD]).encode()
    await harness.lot.swap(OTHER, None, RECORD)
    await until_listed(harness.lot, {OTHER: RECORD, WEB: RECORD})
    harness.server.faults["get"].append(answering(200, old))

    await harness.lot.read(WEB)
    assert harness.lot.list() == ((OTHER, RECORD), (WEB, RECORD))


async def test_swapping_a_record_for_itself_writes_nothing(harness: ConfigMapHarness) -> None:
    await harness.lot.swap(WEB, None, RECORD)
    version = harness.server.cluster.version
    assert await harness.lot.swap(WEB, RECORD, RECORD)
    assert await harness.lot.swap(OTHER, None, None)
    assert harness.server.cluster.version == version


# Races with others


async def test_a_config_map_that_another_creates_meanwhile_keeps_both_records(harness: ConfigMapHarness) -> None:
    async def late(reply: Reply) -> None:
        await harness.put(OTHER, encode(OTHER, RECORD))
        await harness.server.answer(reply)

    harness.server.faults["post"].append(late)
    assert await harness.lot.swap(WEB, None, RECORD)
    await until_listed(harness.lot, {OTHER: RECORD, WEB: RECORD})
    assert harness.server.count("post") == 1


@pytest.mark.parametrize("deleted", [False, True], ids=["changed", "deleted"])
async def test_a_config_map_that_another_changes_or_deletes_meanwhile_takes_the_record(
    harness: ConfigMapHarness, deleted: bool
) -> None:
    await harness.lot.swap(OTHER, None, RECORD)

    async def late(reply: Reply) -> None:
        if deleted:
            await harness.server.delete(SHARD)
        else:
            await harness.put(DeploymentRef("shop", "api"), encode(DeploymentRef("shop", "api"), RECORD))
        await harness.server.answer(reply)

    harness.server.faults["patch"].append(late)
    assert await harness.lot.swap(WEB, None, RECORD)
    left = {"shop_web"} if deleted else {"shop_web", "shop_other", "shop_api"}
    assert set(harness.server.data(SHARD)) == left


async def test_a_record_that_another_puts_meanwhile_wins(harness: ConfigMapHarness) -> None:
    await harness.lot.swap(OTHER, None, RECORD)
    theirs = evolve(RECORD, by="bob")

    async def late(reply: Reply) -> None:
        await harness.put(WEB, encode(WEB, theirs))
        await harness.server.answer(reply)

    harness.server.faults["patch"].append(late)
    assert not await harness.lot.swap(WEB, None, RECORD)
    assert await harness.lot.read(WEB) == theirs


async def test_a_config_map_that_others_write_to_all_the_time_is_given_up(harness: ConfigMapHarness) -> None:
    await harness.lot.swap(OTHER, None, RECORD)
    harness.server.standing_faults["patch"] = refusing(409, "Conflict", "the object has been modified")

    with pytest.raises(ClusterOverloaded, match=f"'{HOME}/{SHARD}' is written to by others") as caught:
        await harness.lot.swap(WEB, None, RECORD)
    assert caught.value.written is False
    assert harness.server.count("patch") == MAX_ATTEMPTS


# What is full


async def test_a_full_config_map_says_which_it_is_and_loses_nothing(harness: ConfigMapHarness) -> None:
    await harness.lot.swap(WEB, None, RECORD)
    await harness.server.put(SHARD, {"filler": "x" * (MAX_BYTES - 600)})

    with pytest.raises(ParkingFull, match=SHARD) as caught:
        await harness.lot.swap(OTHER, None, evolve(RECORD, reason="r" * 256))
    assert caught.value.written is False
    assert await harness.lot.read(WEB) == RECORD
    assert await harness.lot.swap(WEB, RECORD, None), "what is full can be restored"


@pytest.mark.parametrize(
    ("code", "reason", "message"),
    [
        (422, "Invalid", f'ConfigMap "{SHARD}" is invalid: []: Too long: may not be more than 1048576 bytes'),
        (413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728"),
        (413, "", "etcdserver: request is too large"),
    ],
)
async def test_a_config_map_that_the_api_server_finds_too_large_is_full(
    harness: ConfigMapHarness, code: int, reason: str, message: str
) -> None:
    await harness.lot.swap(OTHER, None, RECORD)
    harness.server.faults["patch"].append(refusing(code, reason, message))

    with pytest.raises(ParkingFull, match=re.escape(message)) as caught:
        await harness.lot.swap(WEB, None, RECORD)
    assert (caught.value.written, caught.value.where) == (False, f"the ConfigMap '{HOME}/{SHARD}'")


# What the API server refuses


@pytest.mark.parametrize("verb", ["get", "create", "patch"])
async def test_without_the_permission_it_names_it(harness: ConfigMapHarness, verb: str) -> None:
    if verb == "patch":
        await harness.lot.swap(OTHER, None, RECORD)
    method = {"create": "post"}.get(verb, verb)
    harness.server.standing_faults[method] = refusing(403, "Forbidden", FORBIDDEN % verb)

    with pytest.raises(WriteForbidden, match=f"'{verb}' on 'configmaps' in namespace '{HOME}'") as caught:
        await harness.lot.swap(WEB, None, RECORD)
    assert caught.value.written is False


async def test_without_the_permission_to_watch_it_does_not_say_that_nothing_is_parked(
    harness: ConfigMapHarness,
) -> None:
    forbidden = refusing(403, "Forbidden", FORBIDDEN % "list")
    harness.server.standing_faults.update(list=forbidden, watch=forbidden)
    async with harness.another() as another:
        asked = len(harness.server.requests)
        await harness.server.until(lambda: len(harness.server.requests) > asked + 3)
        with pytest.raises(CacheNotSynced):
            another.list()
        assert await another.swap(WEB, None, RECORD), "what it writes does not need the watch"
        assert await another.read(WEB) == RECORD


async def test_without_the_namespace_it_says_so(harness: ConfigMapHarness) -> None:
    async with harness.another(namespace="nowhere") as lot:
        assert await lot.read(WEB) is None
        with pytest.raises(WriteInvalid, match="nowhere") as caught:
            await lot.swap(WEB, None, RECORD)
        assert caught.value.written is False


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (refusing(503, "ServiceUnavailable", "not ready"), ClusterUnreachable, "not ready"),
        (refusing(504, "Timeout", "it took too long"), ClusterTimeout, "it took too long"),
        (refusing(429, "TooManyRequests", "slow down"), ClusterOverloaded, "slow down"),
        (refusing(422, "Invalid", "no such key"), WriteInvalid, "no such key"),
        (answering(404, b"<html><h1>No such site</h1></html>"), ClusterUnrecognized, "No such site"),
        (answering(200, b"<html>Sign in</html>"), ClusterUnrecognized, "no ConfigMap"),
        (answering(200, b'{"kind":"Secret","metadata":{"name":"a"}}'), ClusterUnrecognized, "a Secret"),
        (answering(200, b'{"kind":"ConfigMap","metadata":{"name":"a"}}'), ClusterUnrecognized, "it lacks"),
    ],
)
@pytest.mark.parametrize("verb", ["get", "post", "patch"])
async def test_a_failing_cluster_is_named_and_no_deployment_was_written(
    harness: ConfigMapHarness, verb: str, fault: Answer, error: type[KdmError], words: str
) -> None:
    if verb == "patch":
        await harness.lot.swap(OTHER, None, RECORD)
    harness.server.standing_faults[verb] = fault

    with pytest.raises(error, match=words) as caught:
        await harness.lot.swap(WEB, None, RECORD)
    assert caught.value.written is False

    harness.server.standing_faults.clear()
    assert await harness.lot.swap(WEB, None, RECORD), "it works again once the cluster does"


async def test_a_config_map_of_the_watch_that_cannot_be_read_hides_no_other(harness: ConfigMapHarness) -> None:
    await harness.lot.swap(WEB, None, RECORD)
    odd = {"kind": "ConfigMap", "metadata": harness.server.stored[SHARD]["metadata"] | {"name": "odd"}, "data": [1]}
    harness.server.stored["odd"] = odd
    async with harness.another() as another:
        await until_listed(another, {WEB: RECORD})


async def test_another_server_is_read_from_the_beginning(harness: ConfigMapHarness, tmp_path: Path) -> None:
    await harness.lot.swap(WEB, None, RECORD)
    await until_listed(harness.lot, {WEB: RECORD})
    heard: list[tuple[DeploymentRef, Parked | None]] = []
    harness.lot.on_change = lambda ref, parked: heard.append((ref, parked))
    async with ConfigMapServer().running() as second:
        assert isinstance(second, ConfigMapServer)
        await second.put(SHARD, {key_of(OTHER): encode(OTHER, RECORD)})
        second.kubeconfig(tmp_path)
        await harness.server.stop()

        await until_listed(harness.lot, {OTHER: RECORD})
        assert heard == [(WEB, None), (OTHER, RECORD)]
        assert await harness.lot.read(WEB) is None


# How a record is written


def test_there_is_a_config_map_for_each_namespace() -> None:
    assert shard_names() == tuple(f"kdm-parked-{number}" for number in range(SHARDS))
    assert {shard_of(f"team-{number}") for number in range(1000)} == set(shard_names())


def test_a_key_is_never_too_long_and_belongs_to_one_deployment() -> None:
    neighbour = DeploymentRef(LONG.namespace, LONG.name[:-1] + "e")
    keys = [key_of(LONG), key_of(neighbour)]
    assert [len(each) for each in keys] == [MAX_KEY, MAX_KEY]
    assert len(set(keys)) == 2
    assert decode(keys[0], encode(LONG, RECORD)) == (LONG, RECORD)


def test_what_a_later_kdm_adds_to_a_record_is_left_out() -> None:
    later = json.dumps(json.loads(encode(WEB, RECORD)) | {"added": ["later"]})
    assert decode(key_of(WEB), later) == (WEB, RECORD)
