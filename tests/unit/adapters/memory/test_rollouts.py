"""Rollouts in memory: they take time, meet quotas, get stuck, pause and are overtaken, as a test or a clock says."""

from __future__ import annotations

import pytest

from kdm_adapters.memory import MemoryCluster, MemoryDeploymentRepository, Pace, demo
from kdm_core import Deployment, DeploymentCondition, DeploymentRef, ReplicaStatus, RolloutState, rollout_of
from unit.core.fixtures import Timers

WEB = DeploymentRef("shop", "web")
API = DeploymentRef("shop", "api")


def counts(deployment: Deployment) -> tuple[int, int, int, int, int]:
    held = deployment.replicas
    return held.desired, held.current, held.updated, held.ready, held.available


def steps(cluster: MemoryCluster, ref: DeploymentRef = WEB) -> list[tuple[tuple[int, int, int, int, int], str]]:
    """Take every step there is. Returns the counts and the state after each."""
    found = []
    while cluster.step(ref):
        held = cluster.deployments[ref]
        found.append((counts(held), rollout_of(held).state.value))
    return found


@pytest.fixture
def cluster() -> MemoryCluster:
    cluster = MemoryCluster(settle=False)
    cluster.create(WEB, 3)
    cluster.settle(WEB)
    return cluster


class TestSteps:
    """Step by step, as the controllers of a cluster."""

    def test_up(self, cluster: MemoryCluster) -> None:
        cluster.scale(WEB, 5)
        assert rollout_of(cluster.deployments[WEB]).state is RolloutState.OBSERVING
        assert steps(cluster) == [
            ((5, 3, 3, 3, 3), "settling"),
            ((5, 5, 5, 3, 3), "settling"),
            ((5, 5, 5, 4, 4), "settling"),
            ((5, 5, 5, 5, 5), "settled"),
        ]
        assert not cluster.step(WEB)

    def test_down_and_to_zero(self, cluster: MemoryCluster) -> None:
        cluster.scale(WEB, 1)
        assert steps(cluster) == [((1, 3, 3, 3, 3), "settling"), ((1, 1, 1, 1, 1), "settled")]
        cluster.scale(WEB, 0)
        assert steps(cluster)[-1] == ((0, 0, 0, 0, 0), "settled")

    def test_a_quota_blocks_until_there_is_room(self, cluster: MemoryCluster) -> None:
        cluster.create(API, 4)
        steps(cluster, API)
        cluster.set_quota("shop", 8)
        cluster.scale(WEB, 6)
        assert steps(cluster)[-1] == ((6, 4, 4, 4, 4), "blocked")
        failure = cluster.deployments[WEB].replica_failure
        assert failure is not None
        assert (failure.status, failure.reason) == ("True", "FailedCreate")
        assert not cluster.step(WEB), "nothing changes by trying again"

        cluster.scale(API, 2)
        steps(cluster, API)

        assert steps(cluster)[-1] == ((6, 6, 6, 6, 6), "settled")
        assert cluster.deployments[WEB].replica_failure is None

    def test_pods_that_do_not_start_stall_when_the_deadline_passes(self, cluster: MemoryCluster) -> None:
        cluster.break_pods(WEB)
        cluster.roll_out(WEB)
        assert steps(cluster) == [((3, 3, 0, 3, 3), "settling")]
        cluster.expire(WEB)
        assert rollout_of(cluster.deployments[WEB]).state is RolloutState.STALLED
        cluster.break_pods(WEB, broken=False)
        assert steps(cluster)[-1] == ((3, 3, 3, 3, 3), "settled")
        assert cluster.deployments[WEB].progressing == DeploymentCondition("True", "NewReplicaSetAvailable")

    def test_a_paused_one_scales_and_does_not_roll_out(self, cluster: MemoryCluster) -> None:
        cluster.pause(WEB)
        cluster.roll_out(WEB)
        cluster.scale(WEB, 4)
        assert steps(cluster)[-1] == ((4, 4, 0, 4, 4), "paused")
        cluster.pause(WEB, paused=False)
        assert steps(cluster)[-1] == ((4, 4, 4, 4, 4), "settled")

    def test_a_scale_in_the_middle_of_another(self, cluster: MemoryCluster) -> None:
        cluster.scale(WEB, 5)
        cluster.step(WEB)
        cluster.step(WEB)
        cluster.scale(WEB, 4)
        assert steps(cluster) == [
            ((4, 5, 5, 3, 3), "settling"),
            ((4, 4, 4, 3, 3), "settling"),
            ((4, 4, 4, 4, 4), "settled"),
        ]

    def test_a_status_can_say_anything(self, cluster: MemoryCluster) -> None:
        failing = DeploymentCondition("True", "FailedCreate", "no")
        written = cluster.report(WEB, current=7, available=0, replica_failure=failing)
        assert counts(written) == (3, 7, 3, 3, 0)
        assert (written.replica_failure, written.progressing) == (failing, None)
        cluster.scale(WEB, 4)
        assert cluster.report(WEB, observed=False).observed_generation == 1

    def test_what_is_gone_takes_no_step(self, cluster: MemoryCluster) -> None:
        cluster.delete(WEB)
        assert not cluster.step(WEB)


class TestPace:
    """By a clock, without work when nothing is to do."""

    async def test_counts_move_over_some_seconds_and_then_nothing_is_left_to_do(self) -> None:
        timers = Timers()
        cluster = MemoryCluster(pace=Pace(0.5, 1.0), call_later=timers.call_later)
        async with MemoryDeploymentRepository(cluster=cluster) as repository:
            cluster.create(WEB, 3)
            cluster.settle(WEB)
            await timers.advance(10)
            assert timers.pending == 0
            await repository.set_replicas(WEB, 6)
            seen = [counts(repository.get(WEB))]
            for _ in range(12):
                await timers.advance(0.5)
                if counts(repository.get(WEB)) != seen[-1]:
                    seen.append(counts(repository.get(WEB)))
            assert seen == [(6, 3, 3, 3, 3), (6, 6, 6, 3, 3), (6, 6, 6, 4, 4), (6, 6, 6, 5, 5), (6, 6, 6, 6, 6)]
            assert timers.pending == 0

    async def test_many_pods_come_in_seconds_too(self) -> None:
        timers = Timers()
        cluster = MemoryCluster(pace=Pace(), call_later=timers.call_later)
        cluster.create(WEB, 1000)
        await timers.advance(30)
        assert cluster.deployments[WEB].replicas == ReplicaStatus(1000, 1000, 1000, 1000, 1000)

    async def test_room_that_is_made_is_noticed(self) -> None:
        timers = Timers()
        cluster = MemoryCluster(pace=Pace(), call_later=timers.call_later)
        cluster.set_quota("shop", 4)
        for ref in (API, WEB):
            cluster.create(ref, 3)
            await timers.advance(10)
        assert rollout_of(cluster.deployments[WEB]).state is RolloutState.BLOCKED
        assert timers.pending == 0
        cluster.delete(API)
        await timers.advance(10)
        assert rollout_of(cluster.deployments[WEB]).state is RolloutState.SETTLED

    async def test_a_deployment_that_goes_is_left_alone(self) -> None:
        timers = Timers()
        cluster = MemoryCluster(pace=Pace(), call_later=timers.call_later)
        cluster.create(WEB, 3)
        cluster.delete(WEB)
        await timers.advance(10)
        assert (cluster.deployments, timers.pending) == ({}, 0)

    async def test_the_demo_begins_settled_and_moves_when_it_is_scaled(self) -> None:
        timers = Timers()
        cluster = MemoryCluster(pace=Pace(), call_later=timers.call_later)
        demo.seed(cluster)
        assert {rollout_of(each).state for each in cluster.deployments.values()} == {RolloutState.SETTLED}
        await timers.advance(10)
        assert timers.pending == 0
        ref = DeploymentRef("default", "nginx-deployment")
        cluster.scale(ref, 5)
        assert rollout_of(cluster.deployments[ref]).state is RolloutState.OBSERVING
        await timers.advance(10)
        assert rollout_of(cluster.deployments[ref]).state is RolloutState.SETTLED

    def test_without_a_loop_it_is_settled_at_once(self) -> None:
        cluster = MemoryCluster(pace=Pace())
        assert cluster.create(WEB, 3).replicas == ReplicaStatus(3, 3, 3, 3, 3)
