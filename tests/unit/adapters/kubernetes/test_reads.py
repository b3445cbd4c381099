"""Reading from memory: complete, ordered, cheap, and honest about its age."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from pathlib import Path

import pytest

from kdm_adapters.kubernetes import ClusterConfig, InvalidClusterConfig, KubernetesDeploymentRepository
from kdm_core.errors import (
    CacheNotSynced,
    CacheStale,
    ClusterTimeout,
    ClusterUnreachable,
    DeploymentNotFound,
    InvalidName,
    KdmError,
    NamespaceNotWatched,
)
from kdm_core.model import ChangeKind, DeploymentRef
from unit.adapters.kubernetes.api_server import DEADLINE_S, Answer, ApiServer, answering, breaking, hanging, refusing
from unit.adapters.kubernetes.conftest import HurriedTime, MakeRepository, following, until, until_held
from unit.adapters.kubernetes.watch.state_machine_driver import Recorder


async def test_before_the_first_sync_reads_say_why_they_cannot(make: MakeRepository, server: ApiServer) -> None:
    await server.stop()
    async with make() as repository:
        await until(lambda: "cannot be reached" in repository.sync_status().reason)
        for read in (repository.list, lambda: repository.find("web"), lambda: repository.get(DeploymentRef("a", "b"))):
            with pytest.raises(CacheNotSynced, match="cannot be reached"):
                read()
        with pytest.raises(CacheNotSynced, match="cannot be reached"):
            await repository.wait_synced(0)
        assert repository.sync_status().age_s == math.inf


async def test_the_missing_permission_is_named(make: MakeRepository, server: ApiServer) -> None:
    denied = refusing(
        403,
        "Forbidden",
        'deployments.apps is forbidden: User "u" cannot list resource "deployments" in API group "apps" '
        'in the namespace "shop"',
    )
    server.faults["watch"].extend([denied] * 1000)
    server.faults["list"].extend([denied] * 1000)
    async with make(namespaces=["shop"]) as repository:
        await server.until(lambda: server.count("list"))
        await until(lambda: "'list'" in repository.sync_status().reason)
        assert repository.sync_status().reason == (
            "namespace 'shop': kdm's identity 'u' lacks the RBAC permission 'list' on 'deployments' in namespace 'shop'"
        )


async def test_reads_cost_the_cluster_nothing_and_are_ordered(make: MakeRepository, server: ApiServer) -> None:
    for name in ("b", "blog/a", "a", "zoo/b"):
        server.cluster.create(name)
    async with make() as repository:
        await repository.wait_synced(DEADLINE_S)
        sent = len(server.requests)
        assert [str(d.ref) for d in repository.list()] == ["blog/a", "shop/a", "shop/b", "zoo/b"]
        assert [str(d.ref) for d in repository.list("shop")] == ["shop/a", "shop/b"]
        assert [str(d.ref) for d in repository.find("b")] == ["shop/b", "zoo/b"]
        assert repository.find("nope") == repository.list("nowhere") == ()
        with pytest.raises(DeploymentNotFound):
            repository.get(DeploymentRef("shop", "nope"))
        assert len(server.requests) == sent


async def test_an_unchanged_list_is_the_same_tuple(make: MakeRepository, server: ApiServer) -> None:
    await server.change(lambda c: c.create("web"), lambda c: c.create("blog/web"))
    async with make() as repository:
        await repository.wait_synced(DEADLINE_S)
        everything, shop = repository.list(), repository.list("shop")
        assert repository.list() is everything
        await server.change(lambda c: c.scale("blog/web", 2))
        await until(lambda: repository.list() is not everything)
        assert repository.list("shop") is shop


async def test_outside_the_watched_namespaces_is_told_apart(make: MakeRepository, server: ApiServer) -> None:
    async with make(namespaces=["shop"]) as repository:
        await repository.wait_synced(DEADLINE_S)
        for read in (lambda: repository.list("blog"), lambda: repository.get(DeploymentRef("blog", "web"))):
            with pytest.raises(NamespaceNotWatched):
                read()
        with pytest.raises(NamespaceNotWatched):
            repository.changes("blog")
    assert server.requests


async def test_namespaces_are_checked_at_once(make: MakeRepository) -> None:
    with pytest.raises(InvalidName):
        make(namespaces=["Shop"])
    with pytest.raises(InvalidClusterConfig, match="no namespace"):
        make(namespaces=[])


async def test_past_its_bound_the_cache_is_stale_and_says_so(
    make: MakeRepository, server: ApiServer, hurried: HurriedTime
) -> None:
    await server.change(lambda c: c.create("web"))
    async with make(stale_after_s=60) as repository:
        await repository.wait_synced(DEADLINE_S)
        await server.watch()
        await until(lambda: repository.sync_status().healthy)
        hurried.ahead_s += 65
        status = repository.sync_status()
        assert status.stale
        assert not status.healthy
        assert status.reason.startswith("nothing heard from the cluster for 65 s")
        assert repository.list(), "reads are refused only where configured"


async def test_stale_reads_are_refused_where_configured(
    make: MakeRepository, server: ApiServer, hurried: HurriedTime
) -> None:
    await server.change(lambda c: c.create("web"))
    async with make(stale_after_s=60, refuse_stale=True) as repository:
        await repository.wait_synced(DEADLINE_S)
        assert repository.list()
        hurried.ahead_s += 65
        with pytest.raises(CacheStale, match="60 s are allowed"):
            repository.list()
        await server.watch()
        await server.change(lambda c: c.scale("web", 2))
        await until(lambda: not repository.sync_status().stale)
        assert repository.list()


async def test_a_state_from_before_the_machine_slept_is_stale_and_watched_anew_at_once(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of a suspended machine stands still, but for the one that is asked."""
    clock_gettime, slept_s = time.clock_gettime, 0.0
    goes_on = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    monkeypatch.setattr(time, "clock_gettime", lambda which: clock_gettime(which) + (which == goes_on) * slept_s)
    async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=server.kubeconfig(tmp_path))) as repository:
        await repository.wait_synced(DEADLINE_S)
        await server.watch()
        assert not repository.sync_status().stale
        slept_s = 3600.0
        assert repository.sync_status().stale
        await server.watch(2)


async def test_the_oldest_source_counts(make: MakeRepository, server: ApiServer) -> None:
    await server.change(lambda c: c.create("web"), lambda c: c.create("blog/web"))
    server.faults["watch"].append(hanging)
    async with make(namespaces=["blog", "shop"]) as repository:
        await server.until(lambda: len(server.watches) == 1)
        await until(lambda: repository.sync_status().objects == 1)
        status = repository.sync_status()
        assert not status.synced
        assert status.resource_version == ""
        assert status.age_s == math.inf


@pytest.mark.parametrize("fault", [answering(200, b"ok"), refusing(403, "Forbidden"), refusing(429, "TooMany")])
async def test_a_cluster_that_answers_is_there(make: MakeRepository, server: ApiServer, fault: Answer) -> None:
    async with make() as repository:
        server.faults["get"].append(fault)
        await repository.probe()
        assert server.count("get") == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (answering(500, b"[-]etcd failed: reason withheld"), ClusterUnreachable),
        (answering(503, b"<html>"), ClusterUnreachable),
        (refusing(401, "Unauthorized"), ClusterUnreachable),
        (hanging, ClusterTimeout),
        (breaking, ClusterUnreachable),
    ],
)
async def test_a_cluster_that_cannot_serve_is_told(
    make: MakeRepository, server: ApiServer, fault: Answer, error: type[KdmError], monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault is hanging:
        monkeypatch.setattr("kdm_adapters.kubernetes.repository.PROBE_TIMEOUT_S", 0.1)
    async with make() as repository:
        server.faults["get"].extend([fault] * 2)
        with pytest.raises(error):
            await repository.probe()


async def test_a_late_subscriber_first_gets_the_present_state(make: MakeRepository, server: ApiServer) -> None:
    await server.change(lambda c: c.create("web"), lambda c: c.create("api"))
    async with make() as repository:
        await until_held(repository, web=1, api=1)
        await server.watch()
        async with following(repository) as changes:
            told = [await anext(changes) for _ in range(3)]
            await server.change(lambda c: c.scale("web", 2), lambda c: c.delete("api"))
            told += [await anext(changes) for _ in range(2)]
    assert [(change.kind, change.deployment and change.deployment.ref.name) for change in told] == [
        (ChangeKind.PRESENT, "api"),
        (ChangeKind.PRESENT, "web"),
        (ChangeKind.SYNCED, None),
        (ChangeKind.MODIFIED, "web"),
        (ChangeKind.DELETED, "api"),
    ]


async def raising_subscriber(repository: KubernetesDeploymentRepository) -> None:
    with suppress(ZeroDivisionError):
        async with following(repository) as changes:
            await anext(changes)
            raise ZeroDivisionError


async def test_a_subscriber_that_lags_or_raises_hurts_nobody_else(make: MakeRepository, server: ApiServer) -> None:
    class Lags(Recorder):
        lagged = 0

        def subscriber_lagged(self) -> None:
            self.lagged += 1

    told = Lags()
    await server.change(lambda c: c.create("web"))
    async with make(buffer=3, instrument=told) as repository:
        await until_held(repository, web=1)
        await server.watch()
        async with following(repository, "shop") as slow:
            assert [(await anext(slow)).kind for _ in range(2)] == [ChangeKind.PRESENT, ChangeKind.SYNCED]
            await raising_subscriber(repository)
            async with following(repository) as quick:
                while (await anext(quick)).kind is not ChangeKind.SYNCED:
                    pass
                for desired in range(2, 9):
                    server.cluster.scale("web", desired)
                    await server.notify()
                    change = await anext(quick)
                    assert change.deployment is not None
                    assert change.deployment.replicas.desired == desired
            assert told.lagged == 1
            kinds = [(await anext(slow)) for _ in range(3)]
            assert [change.kind for change in kinds] == [ChangeKind.LAGGED, ChangeKind.PRESENT, ChangeKind.SYNCED]
            assert kinds[1].deployment is not None
            assert kinds[1].deployment.replicas.desired == 8


async def test_a_follower_of_one_namespace_hears_of_no_other(make: MakeRepository, server: ApiServer) -> None:
    async with make() as repository:
        await repository.wait_synced(DEADLINE_S)
        await server.watch()
        async with following(repository, "shop") as changes:
            assert (await anext(changes)).kind is ChangeKind.SYNCED
            await server.change(lambda c: c.create("blog/web"), lambda c: c.create("web"))
            change = await anext(changes)
            assert change.deployment is not None
            assert str(change.deployment.ref) == "shop/web"
