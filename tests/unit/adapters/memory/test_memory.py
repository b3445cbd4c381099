"""What the in-memory repository does beyond the contract: imitate a cluster, and fail when it is told to."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest

from kdm_adapters.memory import MemoryDeploymentRepository, demo
from kdm_adapters.memory.cluster import MemoryCluster
from kdm_core import (
    CacheNotSynced,
    CacheStale,
    ChangeKind,
    ClusterOverloaded,
    ClusterTimeout,
    ClusterUnreachable,
    Deployment,
    DeploymentNotFound,
    DeploymentRef,
    InvalidName,
    InvalidReplicas,
    KdmError,
    NamespaceNotWatched,
    ReplicaStatus,
    WatchInstrument,
    WriteConflict,
    WriteForbidden,
    WriteInvalid,
)

WEB = DeploymentRef("shop", "web")


class LagMeter(WatchInstrument):
    def __init__(self) -> None:
        self.lagged = 0

    def subscriber_lagged(self) -> None:
        self.lagged += 1


class TestCluster:
    """What happens in a cluster by itself."""

    async def test_the_status_follows_a_scale(self) -> None:
        async with MemoryDeploymentRepository() as repository:
            repository.cluster.create(WEB, 3)
            await asyncio.sleep(0)  # the turn on which the status follows
            settled = repository.get(WEB)
            assert settled.replicas == ReplicaStatus(3, 3, 3, 3, 3)
            assert settled.observed_generation == settled.generation == 1

            written = await repository.set_replicas(WEB, 5)

            assert written.replicas == ReplicaStatus(5, 3, 3, 3, 3)
            assert (written.generation, written.observed_generation) == (2, 1)
            await asyncio.sleep(0)
            followed = repository.get(WEB)
            assert followed.replicas == ReplicaStatus(5, 5, 5, 5, 5)
            assert (followed.generation, followed.observed_generation) == (2, 2)
            assert int(followed.resource_version) > int(written.resource_version) > int(settled.resource_version)

    async def test_the_status_can_be_kept_back(self) -> None:
        cluster = MemoryCluster(settle=False)
        async with MemoryDeploymentRepository(cluster=cluster) as repository:
            cluster.create(WEB, 3)
            await asyncio.sleep(0)
            assert repository.get(WEB).replicas == ReplicaStatus(3)
            assert repository.get(WEB).observed_generation == 0

            cluster.settle(WEB)

            assert repository.get(WEB).replicas == ReplicaStatus(3, 3, 3, 3, 3)
            version = cluster.version
            cluster.settle(WEB)
            cluster.settle(DeploymentRef("shop", "nothing"))
            assert cluster.version == version, "there was nothing to do"

    def test_without_a_loop_the_status_follows_at_once(self) -> None:
        cluster = MemoryCluster()
        assert cluster.create(WEB, 3).replicas == ReplicaStatus(3, 3, 3, 3, 3)

    def test_generation_counts_the_changes_of_the_spec_alone(self) -> None:
        cluster = MemoryCluster()
        changes: list[tuple[Callable[[], Deployment], int]] = [
            (lambda: cluster.create(WEB, 3), 1),
            (lambda: cluster.scale(WEB, 4), 2),
            (lambda: cluster.scale(WEB, 4), 2),
            (lambda: cluster.relabel(WEB, {"tier": "edge"}), 2),
            (lambda: cluster.pause(WEB), 3),
            (lambda: cluster.pause(WEB), 3),
            (lambda: cluster.pause(WEB, paused=False), 4),
        ]
        for change, generation in changes:
            assert change().generation == generation

    def test_every_write_has_a_version_of_its_own_and_what_changes_nothing_has_none(self) -> None:
        cluster = MemoryCluster(settle=False)
        versions = [
            int(each.resource_version)
            for each in (
                cluster.create(WEB, 3),
                cluster.create(DeploymentRef("shop", "api"), 1),
                cluster.scale(WEB, 4),
                cluster.relabel(WEB, {"tier": "edge"}),
            )
        ]
        assert versions == sorted(set(versions))
        cluster.scale(WEB, 4)
        cluster.relabel(WEB, {"tier": "edge"})
        assert cluster.version == versions[-1]
        cluster.delete(WEB)
        assert cluster.version > versions[-1]

    def test_created_anew_it_is_another_one(self) -> None:
        cluster = MemoryCluster()
        first, second = cluster.create(WEB, 3), cluster.create(WEB, 3)
        assert first.uid != second.uid
        assert int(second.resource_version) > int(first.resource_version)
        assert second.generation == 1

    def test_labels_are_copied(self) -> None:
        labels = {"tier": "edge"}
        created = MemoryCluster().create(WEB, 1, labels=labels)
        labels["tier"] = "core"
        assert created.labels == {"tier": "edge"}

    def test_counts_are_checked(self) -> None:
        with pytest.raises(InvalidReplicas):
            MemoryCluster().create(WEB, -1)

    async def test_a_paused_deployment_scales_too(self) -> None:
        async with MemoryDeploymentRepository() as repository:
            repository.cluster.create(WEB, 1, paused=True)
            await repository.set_replicas(WEB, 2)
            await asyncio.sleep(0)
            assert repository.get(WEB).replicas.ready == 2


class TestFaults:
    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            ("unreachable", ClusterUnreachable),
            ("timeout", ClusterTimeout),
            ("overloaded", ClusterOverloaded),
            ("conflict", WriteConflict),
            ("forbidden", WriteForbidden),
            ("invalid", WriteInvalid),
        ],
    )
    async def test_writes_fail_and_recover(self, fault: str, error: type[KdmError]) -> None:
        async with MemoryDeploymentRepository() as repository:
            repository.cluster.create(WEB, 1)
            setattr(repository.faults, fault, True)
            with pytest.raises(error, match="shop"):
                await repository.set_replicas(WEB, 2)
            assert repository.cluster.deployments[WEB].replicas.desired == 1
            setattr(repository.faults, fault, False)
            assert (await repository.set_replicas(WEB, 2)).replicas.desired == 2

    async def test_an_answer_that_is_lost_leaves_the_write_done(self) -> None:
        async with MemoryDeploymentRepository() as repository:
            repository.cluster.create(WEB, 1)
            repository.faults.answer_lost = True
            with pytest.raises(ClusterTimeout):
                await repository.set_replicas(WEB, 2)
            assert repository.get(WEB).replicas.desired == 2

    async def test_an_outage_ages_the_snapshot_and_is_made_up_for(self) -> None:
        """What happened while the cluster could not be reached is told as soon as it can be again."""
        now_s = 0.0
        async with MemoryDeploymentRepository(clock=lambda: now_s) as repository:
            repository.cluster.create(WEB, 1)
            changes = repository.changes()
            await anext(changes)
            await anext(changes)
            repository.faults.unreachable = True
            now_s = 7.0
            repository.cluster.delete(WEB)

            status = repository.sync_status()
            assert (status.connected, status.age_s) == (False, 7.0)
            assert repository.get(WEB).ref == WEB
            with pytest.raises(ClusterUnreachable):
                await repository.probe()

            repository.faults.unreachable = False
            assert repository.sync_status().healthy
            assert repository.sync_status().age_s == 0
            with pytest.raises(DeploymentNotFound):
                repository.get(WEB)
            assert (await anext(changes)).kind is ChangeKind.DELETED
            await changes.aclose()

    async def test_stale_by_fault_and_by_the_clock(self) -> None:
        now_s = 0.0
        async with MemoryDeploymentRepository(clock=lambda: now_s, stale_after_s=60, refuse_stale=True) as repository:
            repository.faults.stale = True
            with pytest.raises(CacheStale):
                repository.list()
            repository.faults.stale = False
            assert repository.list() == ()
            repository.break_watch()
            now_s = 60.0
            assert repository.list() == ()
            now_s = 60.1
            assert repository.sync_status().stale
            with pytest.raises(CacheStale, match="60 s"):
                repository.list()

    async def test_stale_reads_are_served_unless_they_are_refused(self) -> None:
        async with MemoryDeploymentRepository() as repository:
            repository.faults.stale = True
            assert repository.list() == ()
            assert not repository.sync_status().healthy

    async def test_not_synced_refuses_reads_and_wakes_who_waits(self) -> None:
        async with MemoryDeploymentRepository() as repository:
            repository.faults.not_synced = True
            assert repository.sync_status().resource_version == ""
            with pytest.raises(CacheNotSynced):
                repository.list()
            waiting = asyncio.create_task(repository.wait_synced(30))
            await asyncio.sleep(0)  # it begins to wait
            repository.faults.not_synced = False
            await waiting
            assert repository.list() == ()

    def test_a_fault_that_does_not_exist_cannot_be_set(self) -> None:
        """A misspelt fault must not make a test pass."""
        faults = MemoryDeploymentRepository().faults
        with pytest.raises(AttributeError, match="unreachabel"):
            faults.unreachabel = True


class TestRepository:
    async def test_can_be_filled_from_the_start(self) -> None:
        source = MemoryCluster()
        demo.seed(source)
        async with MemoryDeploymentRepository(source.deployments.values()) as repository:
            assert [(d.ref, d.replicas.desired, d.labels, d.paused) for d in repository.list()] == [
                (d.ref, d.replicas.desired, d.labels, d.paused) for _, d in sorted(source.deployments.items())
            ]

    def test_namespaces_are_checked(self) -> None:
        with pytest.raises(InvalidName):
            MemoryDeploymentRepository(namespaces=["Shop"])

    async def test_several_share_a_cluster(self) -> None:
        cluster = MemoryCluster()
        cluster.create(WEB, 1)
        async with (
            MemoryDeploymentRepository(cluster=cluster) as one,
            MemoryDeploymentRepository(cluster=cluster, namespaces=["payments"]) as other,
        ):
            await one.set_replicas(WEB, 2)
            assert cluster.deployments[WEB].replicas.desired == 2
            with pytest.raises(NamespaceNotWatched):
                other.get(WEB)
            assert other.list() == ()

    async def test_once_stopped_it_neither_sees_nor_writes(self) -> None:
        async with MemoryDeploymentRepository() as repository:
            repository.cluster.create(WEB, 1)
        repository.cluster.scale(WEB, 2)
        assert repository.get(WEB).replicas.desired == 1
        assert not repository.sync_status().connected
        with pytest.raises(ClusterUnreachable):
            await repository.set_replicas(WEB, 3)

    def test_before_it_is_entered_its_age_has_no_bound(self) -> None:
        assert MemoryDeploymentRepository().sync_status().age_s == math.inf

    async def test_only_who_still_listens_can_lag(self) -> None:
        meter = LagMeter()
        async with MemoryDeploymentRepository(buffer=2, instrument=meter) as repository:
            repository.cluster.create(WEB, 0)
            listening, closed = repository.changes(), repository.changes()
            await anext(listening)
            await anext(closed)
            await closed.aclose()
            for replicas in range(1, 4):
                repository.cluster.scale(WEB, replicas)
            assert meter.lagged == 1
            await listening.aclose()


class TestDemo:
    async def test_has_something_for_everything_there_is_to_try(self) -> None:
        cluster = MemoryCluster()
        demo.seed(cluster)
        async with MemoryDeploymentRepository(cluster=cluster) as repository:
            deployments = repository.list()
            counts = {each.ref.name: each.replicas.desired for each in repository.list("default")}
            assert len(deployments) == 12
            assert len({each.ref.namespace for each in deployments}) == 3
            assert (counts["nginx-deployment"], counts["redis-deployment"]) == (3, 1), "the RFDs' examples"
            assert any(each.replicas.desired == 0 for each in deployments)
            assert any(each.paused for each in deployments)
            assert len(repository.find("api")) == 2, "a name that is ambiguous"
            assert all(each.labels["app"] for each in deployments)
