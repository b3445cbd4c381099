"""The sampled comparison of the cache with the cluster: it tells, names and heals what differs."""

from __future__ import annotations

import asyncio

import pytest
from attrs import evolve

from kdm_adapters.kubernetes import KubernetesDeploymentRepository
from kdm_core.model import DeploymentRef
from unit.adapters.kubernetes.api_server import DEADLINE_S, ApiServer, refusing
from unit.adapters.kubernetes.conftest import MakeRepository, until
from unit.adapters.kubernetes.watch.state_machine_driver import Recorder


class Checked(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.differences: list[int] = []

    def inconsistent(self, source: str, objects: int) -> None:
        assert source == "*"
        self.differences.append(objects)


async def often(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.01))


def corrupt(repository: KubernetesDeploymentRepository) -> None:
    """Change what is held behind the view's back, as a lost event would."""
    held = repository.get(DeploymentRef("shop", "web"))
    repository._store.put(evolve(held, replicas=evolve(held.replicas, desired=77)))
    repository._store.remove("shop", "api")


async def test_differences_are_counted_named_and_healed(
    make: MakeRepository, server: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    told = Checked()
    for name in ("web", "api", "db"):
        server.cluster.create(name)
    async with make(instrument=told, check_interval_s=1, sleep=often) as repository:
        await repository.wait_synced(DEADLINE_S)
        corrupt(repository)
        await until(lambda: told.differences)
        await until(lambda: {d.ref.name: d for d in repository.list()} == server.cluster.state)
        assert told.differences[0] == 2
        assert "2 Deployments differ from the cluster's at resourceVersion 4" in caplog.text
        assert "shop/api, shop/web" in caplog.text
        assert ("watch-list", "inconsistent") in told.lists
        asked = server.queries("list")[0]
        assert asked == {"resourceVersion": "4", "resourceVersionMatch": "Exact", "limit": "500"}


async def test_a_cache_that_is_right_is_left_alone(make: MakeRepository, server: ApiServer) -> None:
    told = Checked()
    server.cluster.create("web")
    async with make(instrument=told, check_interval_s=1, sleep=often) as repository:
        await repository.wait_synced(DEADLINE_S)
        await server.until(lambda: server.count("list") >= 3)
        assert told.differences == []
        assert len(told.lists) == 1


async def test_a_version_that_is_gone_cannot_be_compared(make: MakeRepository, server: ApiServer) -> None:
    told = Checked()
    server.cluster.create("web")
    server.standing_faults["list"] = refusing(410, "Expired")
    async with make(instrument=told, check_interval_s=1, sleep=often) as repository:
        await repository.wait_synced(DEADLINE_S)
        await server.until(lambda: server.count("list") >= 3)
        assert told.differences == []
        watch = await server.watch()
        await watch.send(watch.format.bookmark(9))
        await until(lambda: repository.sync_status().resource_version == "9")


async def test_it_is_off_by_default(make: MakeRepository, server: ApiServer) -> None:
    async with make(sleep=often) as repository:
        await repository.wait_synced(DEADLINE_S)
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("kdm-check")]
    assert server.count("list") == 0
