"""History through the service: each change once, by whom, whatever arrives first, and only to those who may read it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kdm_adapters.memory import MemoryCluster, MemoryDeploymentRepository
from kdm_core import (
    ALLOW_ALL,
    Announcer,
    Caller,
    ChangeLog,
    ChangeTracker,
    ClusterTimeout,
    CountChange,
    DeploymentNotFound,
    DeploymentRef,
    DeploymentService,
    Expect,
    Forbidden,
    HistoryQuery,
    InvalidInput,
    InvalidQuery,
    LabelSelector,
    Policy,
    RolloutOutcome,
    ScaleBy,
    SetTo,
    Verb,
    WriteConflict,
)
from unit.core.fixtures import ALICE, MALLORY, WEB, ListedAudit, grant, policy

API = DeploymentRef("shop", "api")
FOR_ALICE = Caller(ALICE, "request-1")


class Announced(Announcer):
    def __init__(self) -> None:
        self.changes: list[CountChange] = []

    def announce(self, change: CountChange) -> None:
        self.changes.append(change)


@asynccontextmanager
async def kdm(
    cluster: MemoryCluster, who: Policy = ALLOW_ALL, log: ChangeLog | None = None, announcer: Announcer | None = None
) -> AsyncIterator[tuple[DeploymentService, MemoryDeploymentRepository]]:
    """Run a kdm that remembers, on a cluster that it may share with others."""
    async with MemoryDeploymentRepository(cluster=cluster) as repository:
        service = DeploymentService(repository, policy=who, tracker=ChangeTracker(log), announcer=announcer)
        async with service.remembering():
            yield service, repository


@pytest.fixture
def cluster() -> MemoryCluster:
    cluster = MemoryCluster(settle=False)
    cluster.create(WEB, 3, labels={"tier": "web"})
    cluster.create(API, 1)
    return cluster


def steps(changes: tuple[CountChange, ...]) -> list[tuple[int | None, int, str, str]]:
    return [(each.previous, each.desired, each.manager, each.actor) for each in changes]


async def test_an_own_write_is_one_entry_with_actor_reason_and_request(cluster: MemoryCluster) -> None:
    async with kdm(cluster) as (service, _):
        written = await service.set_replicas(WEB, SetTo(5), caller=FOR_ALICE, reason="sale")
        page = service.history(WEB)
    (change,) = page.changes
    assert steps(page.changes) == [(3, 5, "kdm", "alice")]
    assert (change.reason, change.request_id, change.uid) == ("sale", "request-1", written.uid)
    assert (change.resource_version, change.gap) == (written.resource_version, False)


async def test_others_changes_have_their_manager_and_come_newest_first(cluster: MemoryCluster) -> None:
    async with kdm(cluster) as (service, _):
        cluster.scale(WEB, 4, manager="kubectl-scale")
        await service.set_replicas(WEB, SetTo(6), caller=FOR_ALICE)
        cluster.scale(WEB, 2, manager="kube-controller-manager")
        assert steps(service.history(WEB).changes) == [
            (6, 2, "kube-controller-manager", ""),
            (4, 6, "kdm", "alice"),
            (3, 4, "kubectl-scale", ""),
        ]
        assert steps(service.history(WEB, limit=1).changes) == [(6, 2, "kube-controller-manager", "")]


async def test_where_the_answer_comes_first_the_event_changes_nothing_but_the_count_before(
    cluster: MemoryCluster,
) -> None:
    """The watch is behind: the cache knew 3, somebody had set 4 already, and the write replaced that."""
    async with kdm(cluster) as (service, repository):
        repository.break_watch()
        cluster.scale(WEB, 4, manager="kubectl-scale")
        await service.set_replicas(WEB, SetTo(5), caller=FOR_ALICE)
        assert steps(service.history(WEB).changes) == [(3, 5, "kdm", "alice")]
        assert steps(service.recent_changes(HistoryQuery()).changes) == [(3, 5, "kdm", "alice")]

        repository.heal_watch()

        (change,) = service.history(WEB).changes
        assert (change.desired, change.actor, change.gap) == (5, "alice", True), "it says that something is missing"


async def test_a_lost_answer_whose_write_arrived_is_one_entry_of_its_actor(cluster: MemoryCluster) -> None:
    async with kdm(cluster) as (service, repository):
        repository.faults.answer_lost = True
        with pytest.raises(ClusterTimeout):
            await service.set_replicas(WEB, SetTo(5), caller=FOR_ALICE, reason="sale")
        assert steps(service.history(WEB).changes) == [(3, 5, "kdm", "alice")]
        assert service.get(WEB).last_change is not None
        assert service.get(WEB).last_change.actor == "alice"  # type: ignore[union-attr]


async def test_a_write_whose_answer_is_lost_while_the_watch_is_broken_is_found_later(cluster: MemoryCluster) -> None:
    async with kdm(cluster) as (service, repository):
        repository.break_watch()
        repository.faults.answer_lost = True
        with pytest.raises(ClusterTimeout):
            await service.set_replicas(WEB, SetTo(5), caller=FOR_ALICE)
        assert service.history(WEB).changes == ()
        repository.heal_watch()
        assert steps(service.history(WEB).changes) == [(3, 5, "kdm", "alice")]


async def test_a_lost_write_is_not_taken_for_one_that_kubectl_made(cluster: MemoryCluster) -> None:
    async with kdm(cluster) as (service, repository):
        repository.faults.timeout = True
        with pytest.raises(ClusterTimeout):
            await service.set_replicas(WEB, SetTo(5), caller=FOR_ALICE)
        repository.faults.timeout = False
        cluster.scale(WEB, 5, manager="kubectl-edit")
        assert steps(service.history(WEB).changes) == [(3, 5, "kubectl-edit", "")]


async def test_a_caller_that_gives_up_leaves_its_entry(cluster: MemoryCluster) -> None:
    """The write was sent; nobody waits for its answer any more."""
    async with kdm(cluster) as (service, repository):
        stored = asyncio.Event()
        original = repository.set_replicas

        async def slow(*args: object, **kwargs: object) -> None:
            await original(*args, **kwargs)  # type: ignore[arg-type]
            stored.set()
            await asyncio.Event().wait()

        repository.set_replicas = slow  # type: ignore[method-assign,assignment]
        writing = asyncio.ensure_future(service.set_replicas(WEB, SetTo(5), caller=FOR_ALICE))
        await stored.wait()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        assert steps(service.history(WEB).changes) == [(3, 5, "kdm", "alice")]


async def test_what_was_refused_tried_or_changed_nothing_is_no_entry(cluster: MemoryCluster) -> None:
    async with kdm(cluster) as (service, _):
        with pytest.raises(WriteConflict):
            await service.set_replicas(WEB, SetTo(5), caller=FOR_ALICE, expect=Expect(replicas=9))
        await service.set_replicas(WEB, SetTo(7), caller=FOR_ALICE, dry_run=True)
        await service.set_replicas(WEB, SetTo(3), caller=FOR_ALICE)
        cluster.relabel(WEB, {"tier": "front"})
        cluster.roll_out(WEB)
        assert service.history(WEB).changes == ()


async def test_relative_writes_that_were_tried_again_are_one_entry_each(cluster: MemoryCluster) -> None:
    async with kdm(cluster) as (one, _), kdm(cluster) as (two, _):
        await asyncio.gather(
            *(each.set_replicas(WEB, ScaleBy(1), caller=FOR_ALICE) for each in (one, two) for _ in range(5))
        )
        for each in (one, two):
            changes = each.history(WEB).changes
            assert [(change.previous, change.desired) for change in changes] == [(n - 1, n) for n in range(13, 3, -1)]
            assert sum(change.actor == "alice" for change in changes) == 5, "the other's have no actor here"
            assert {change.manager for change in changes} == {"kdm"}


async def test_two_kdm_and_kubectl_racing_are_each_owed_their_own(cluster: MemoryCluster) -> None:
    async with kdm(cluster) as (one, _), kdm(cluster) as (two, _):
        await one.set_replicas(WEB, SetTo(5), caller=FOR_ALICE)
        await two.set_replicas(WEB, SetTo(6), caller=Caller(MALLORY))
        cluster.scale(WEB, 7, manager="kubectl-scale")
        assert steps(one.history(WEB).changes) == [
            (6, 7, "kubectl-scale", ""),
            (5, 6, "kdm", ""),
            (3, 5, "kdm", "alice"),
        ]
        assert steps(two.history(WEB).changes)[1:] == [(5, 6, "kdm", "mallory"), (3, 5, "kdm", "")]


async def test_only_what_the_caller_may_read_today_is_shown(cluster: MemoryCluster) -> None:
    audit = ListedAudit()
    async with MemoryDeploymentRepository(cluster=cluster) as repository:
        service = DeploymentService(
            repository, policy=policy(grant("alice", Verb.READ, names="web")), tracker=ChangeTracker(), audit=audit
        )
        async with service.remembering():
            cluster.scale(WEB, 4)
            cluster.scale(API, 4)
            assert [each.ref for each in service.recent_changes(HistoryQuery(), FOR_ALICE).changes] == [WEB]
            with pytest.raises(Forbidden):
                service.history(API, FOR_ALICE)
            with pytest.raises(Forbidden):
                service.recent_changes(HistoryQuery(), Caller(MALLORY))
            assert len(audit.events) == 2
            service.policy = policy(grant("alice", Verb.READ, names="api"))
            assert [each.ref for each in service.recent_changes(HistoryQuery(), FOR_ALICE).changes] == [API]


async def test_a_deleted_deployment_keeps_its_history_and_is_judged_by_its_last_labels(cluster: MemoryCluster) -> None:
    async with kdm(cluster, policy(grant("alice", Verb.READ, tier="web"))) as (service, _):
        cluster.scale(WEB, 4)
        uid = cluster.deployments[WEB].uid
        cluster.delete(WEB)
        (change,) = service.history(WEB, FOR_ALICE).changes
        assert change.uid == uid
        with pytest.raises(Forbidden):
            service.history(WEB, Caller(MALLORY))

        cluster.create(WEB, 1, labels={"tier": "web"})
        cluster.scale(WEB, 2)
        new, old = service.history(WEB, FOR_ALICE).changes
        assert (old, new.uid) == (change, cluster.deployments[WEB].uid)


async def test_what_nobody_knows_is_not_found(cluster: MemoryCluster) -> None:
    async with kdm(cluster) as (service, _):
        with pytest.raises(DeploymentNotFound):
            service.history(DeploymentRef("shop", "ghost"))
        cluster.delete(API)
        with pytest.raises(DeploymentNotFound):
            service.history(API)


async def test_twenty_of_each_and_so_many_in_all_are_kept(cluster: MemoryCluster) -> None:
    log = ChangeLog(25)
    async with kdm(cluster, log=log) as (service, _):
        for count in range(100, 130):
            cluster.scale(WEB, count)
        assert [each.desired for each in service.history(WEB).changes] == list(range(129, 109, -1))
        for count in range(10):
            cluster.scale(API, 200 + count)
        assert len(log) == 25
        assert len(service.history(API).changes) == 10
        assert [each.desired for each in service.history(WEB).changes] == list(range(129, 114, -1)), (
            "the oldest go first"
        )


async def test_pages_follow_each_other_without_gap_or_overlap_while_changes_go_on(cluster: MemoryCluster) -> None:
    async with kdm(cluster) as (service, _):
        for count in range(10, 20):
            cluster.scale(WEB, count)
            cluster.scale(API, count)
        found: list[CountChange] = []
        before: int | None = None
        while True:
            page = service.recent_changes(HistoryQuery(limit=3, before=before))
            found += page.changes
            cluster.scale(WEB, 100 + len(found))
            if page.next is None:
                break
            before = page.next
        assert len({each.number for each in found}) == len(found)
        assert [each.number for each in found] == sorted((each.number for each in found), reverse=True)
        assert sum(each.ref == API for each in found) == 10


async def test_filters_by_namespace_labels_and_time(cluster: MemoryCluster) -> None:
    async with kdm(cluster) as (service, _):
        cluster.scale(WEB, 4)
        cluster.scale(API, 4)
        now = service.history(WEB).changes[0].at

        def found(query: HistoryQuery) -> list[DeploymentRef]:
            return [each.ref for each in service.recent_changes(query).changes]

        assert found(HistoryQuery("shop")) == [API, WEB]
        assert found(HistoryQuery("other")) == []
        assert found(HistoryQuery(selector=LabelSelector.parse("tier=web"))) == [WEB]
        assert found(HistoryQuery(since=now + 60)) == []
        with pytest.raises(InvalidQuery):
            HistoryQuery(limit=0)


async def test_since_is_when_the_first_state_was_read(cluster: MemoryCluster) -> None:
    async with MemoryDeploymentRepository(cluster=cluster) as repository:
        repository.faults.disconnected = True
        service = DeploymentService(repository, tracker=ChangeTracker())
        async with service.remembering():
            assert service.recent_changes(HistoryQuery()).since is None
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert service.recent_changes(HistoryQuery()).since is not None


async def test_without_a_tracker_there_is_no_history(cluster: MemoryCluster) -> None:
    async with MemoryDeploymentRepository(cluster=cluster) as repository:
        service = DeploymentService(repository)
        async with service.remembering():
            await service.set_replicas(WEB, SetTo(5))
            assert not service.keeps_history
            with pytest.raises(InvalidInput):
                service.history(WEB)


async def test_each_own_change_is_announced_once_and_shown_with_the_deployment(cluster: MemoryCluster) -> None:
    announced = Announced()
    async with kdm(cluster, announcer=announced) as (service, repository):
        await service.set_replicas(WEB, SetTo(5), caller=FOR_ALICE, reason="sale")
        last = service.get(WEB).last_change
        assert last is not None
        assert (last.manager, last.actor, last.reason) == ("kdm", "alice", "sale")
        repository.break_watch()
        await service.set_replicas(WEB, SetTo(6), caller=FOR_ALICE)
        repository.heal_watch()
        await service.set_replicas(WEB, SetTo(6), caller=FOR_ALICE)
        cluster.scale(WEB, 7, manager="kubectl-scale")
        assert [(each.previous, each.desired) for each in announced.changes] == [(3, 5), (5, 6)]
        last = service.get(WEB).last_change
        assert last is not None
        assert (last.manager, last.actor) == ("kubectl-scale", "")


async def test_who_superseded_a_wait_is_named(cluster: MemoryCluster) -> None:
    async with kdm(cluster) as (service, _):
        written = await service.set_replicas(WEB, SetTo(5), caller=FOR_ALICE)
        cluster.scale(WEB, 7, manager="kubectl-scale")
        result = await service.rollout(WEB, target=written, timeout_s=0)
    assert result.outcome is RolloutOutcome.SUPERSEDED
    assert result.superseded_by is not None
    assert result.superseded_by.manager == "kubectl-scale"
    assert result.message.startswith("kubectl-scale set 7 replicas at 20")
