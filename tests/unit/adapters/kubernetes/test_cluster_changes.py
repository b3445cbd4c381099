"""A kubeconfig that changes while kdm runs renews credentials; it never mixes two clusters."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kdm_adapters.kubernetes import ClusterConfig, KubernetesDeploymentRepository
from kdm_core.errors import CacheNotSynced, ClusterUnreachable
from kdm_core.model import ChangeKind, DeploymentRef
from unit.adapters.kubernetes.api_server import DEADLINE_S, ApiServer, Reply
from unit.adapters.kubernetes.conftest import following, until
from unit.adapters.kubernetes.kubeconfig import kubeconfig

WEB = DeploymentRef("shop", "web")
OTHER = DeploymentRef("shop", "other")


@pytest.fixture
async def second() -> AsyncIterator[ApiServer]:
    """Another cluster, with a Deployment of the same name."""
    async with ApiServer().running() as running:
        running.cluster.create("web", desired=7)
        running.cluster.create("other", desired=1)
        yield running


class Clusters:
    """A kubeconfig with a context for each of two clusters."""

    def __init__(self, path: Path, first: ApiServer, second: ApiServer) -> None:
        self.path = path
        self.servers = {"first": f"http://127.0.0.1:{first.port}", "second": f"http://127.0.0.1:{second.port}"}
        self.content: dict[str, Any] = {"current-context": "first", "contexts": [], "clusters": [], "users": []}
        for name, server in self.servers.items():
            for section in ("contexts", "clusters", "users"):
                self.content[section] += kubeconfig(server, name=name, user={"token": f"{name}-token"})[section]
        self.write()

    def write(self) -> None:
        self.path.write_text(json.dumps(self.content))

    def entry(self, section: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(each for each in self.content[section] if each["name"] == name)
        return found


@pytest.fixture
def clusters(tmp_path: Path, server: ApiServer, second: ApiServer) -> Clusters:
    server.cluster.create("web", desired=1)
    return Clusters(tmp_path / "config", server, second)


async def test_using_another_context_elsewhere_changes_nothing(
    clusters: Clusters, server: ApiServer, second: ApiServer
) -> None:
    async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=clusters.path)) as repository:
        await repository.wait_synced(DEADLINE_S)
        clusters.content["current-context"] = "second"
        clusters.write()
        await repository.set_replicas(WEB, 3)
        assert server.requests[-1].method == "PATCH"
        assert not second.requests


@pytest.mark.parametrize("change", ["context gone", "context leads elsewhere", "user gone", "file broken", "file gone"])
async def test_what_was_chosen_at_the_start_stays_whatever_becomes_of_the_file(
    clusters: Clusters, server: ApiServer, second: ApiServer, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=clusters.path)) as repository:
        await repository.wait_synced(DEADLINE_S)
        match change:
            case "context gone":
                clusters.content["contexts"] = [clusters.entry("contexts", "second")]
            case "context leads elsewhere":
                clusters.entry("contexts", "first")["context"] = {"cluster": "second", "user": "second"}
            case "user gone":
                clusters.content["users"] = []
        clusters.write()
        if change == "file broken":
            clusters.path.write_text("{")
        if change == "file gone":
            clusters.path.unlink()
        await repository.set_replicas(WEB, 3)
        assert server.requests[-1].headers["authorization"] == "Bearer first-token"
        assert not second.requests
    assert "going on with the old credentials" in caplog.text


async def test_a_new_token_of_the_chosen_user_is_used_although_another_context_is_current(
    clusters: Clusters, server: ApiServer
) -> None:
    async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=clusters.path)) as repository:
        await repository.wait_synced(DEADLINE_S)
        clusters.entry("users", "first")["user"] = {"token": "renewed"}
        clusters.content["current-context"] = "second"
        clusters.write()
        await repository.set_replicas(WEB, 3)
        assert server.requests[-1].headers["authorization"] == "Bearer renewed"


async def test_a_server_of_another_address_is_read_from_the_start(
    clusters: Clusters, server: ApiServer, second: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=clusters.path)) as repository:
        await repository.wait_synced(DEADLINE_S)
        await server.watch()
        async with following(repository) as changes:
            assert (await anext(changes)).kind is ChangeKind.PRESENT
            assert (await anext(changes)).kind is ChangeKind.SYNCED
            clusters.entry("clusters", "first")["cluster"]["server"] = clusters.servers["second"]
            clusters.write()
            with pytest.raises(ClusterUnreachable, match="address has changed"):
                await repository.probe()
            told = [await anext(changes) for _ in range(4)]
        assert [each.kind for each in told] == [
            ChangeKind.LAGGED, ChangeKind.PRESENT, ChangeKind.PRESENT, ChangeKind.SYNCED,
        ]  # fmt: skip
        await repository.wait_synced(DEADLINE_S)
        assert {each.ref: each.replicas.desired for each in repository.list()} == {OTHER: 1, WEB: 7}
        await repository.set_replicas(WEB, 8)
        assert second.requests[-1].method == "PATCH"
        await second.watch()
        second.cluster.scale("web", 9)
        await second.notify()
        await until(lambda: repository.get(WEB).replicas.desired == 9)
        await until(lambda: not server.watches)
    assert "the cluster's address has changed" in caplog.text
    assert clusters.servers["second"] not in caplog.text


async def test_a_new_server_is_read_at_once_however_long_the_old_one_has_been_away(
    clusters: Clusters, server: ApiServer
) -> None:
    """The delay between two attempts, up to a minute, was the old one's."""
    resting = asyncio.Event()

    async def for_ever(_: float) -> None:
        resting.set()
        await asyncio.Event().wait()

    config = ClusterConfig(kubeconfig=clusters.path)
    async with KubernetesDeploymentRepository(config, sleep=for_ever) as repository:
        await repository.wait_synced(DEADLINE_S)
        await server.watch()
        await server.stop()
        await asyncio.wait_for(resting.wait(), DEADLINE_S)
        clusters.entry("clusters", "first")["cluster"]["server"] = clusters.servers["second"]
        clusters.write()
        with pytest.raises(ClusterUnreachable, match="address has changed"):
            await repository.probe()
        await repository.wait_synced(DEADLINE_S)
        assert repository.get(WEB).replicas.desired == 7


async def test_nothing_of_the_old_cluster_is_served_until_the_new_one_is_read(
    clusters: Clusters, second: ApiServer
) -> None:
    reached = asyncio.Event()

    async def never(_reply: Reply) -> None:
        reached.set()
        await asyncio.Event().wait()

    second.standing_faults["watch"] = second.standing_faults["list"] = never
    async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=clusters.path)) as repository:
        await repository.wait_synced(DEADLINE_S)
        clusters.entry("clusters", "first")["cluster"]["server"] = clusters.servers["second"]
        clusters.write()
        with pytest.raises(ClusterUnreachable):
            await repository.probe()
        await asyncio.wait_for(reached.wait(), DEADLINE_S)
        for read in (repository.list, lambda: repository.get(WEB), lambda: repository.find("web")):
            with pytest.raises(CacheNotSynced):
                read()
        assert not repository.sync_status().synced
        assert repository.sync_status().objects == 0


async def test_a_write_that_finds_another_cluster_is_not_sent_to_it(clusters: Clusters, second: ApiServer) -> None:
    """It was meant for the Deployment that was seen."""
    async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=clusters.path)) as repository:
        await repository.wait_synced(DEADLINE_S)
        clusters.entry("clusters", "first")["cluster"]["server"] = clusters.servers["second"]
        clusters.write()
        with pytest.raises(ClusterUnreachable, match="address has changed") as caught:
            await repository.set_replicas(WEB, 3)
        assert "may have been written" not in str(caught.value)
        assert not any(each.method == "PATCH" for each in second.requests)


async def test_a_write_whose_answer_arrives_after_the_change_is_not_shown_in_the_new_cluster(
    clusters: Clusters, server: ApiServer
) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def late(reply: Reply) -> None:
        arrived.set()
        await go_on.wait()
        await server.answer(reply)

    async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=clusters.path)) as repository:
        await repository.wait_synced(DEADLINE_S)
        server.faults["patch"].append(late)
        writing = asyncio.create_task(repository.set_replicas(WEB, 3))
        await arrived.wait()
        clusters.entry("clusters", "first")["cluster"]["server"] = clusters.servers["second"]
        clusters.write()
        with pytest.raises(ClusterUnreachable):
            await repository.probe()
        await repository.wait_synced(DEADLINE_S)
        go_on.set()
        assert (await writing).replicas.desired == 3
        assert repository.get(WEB).replicas.desired == 7
