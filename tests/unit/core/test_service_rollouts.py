"""Waiting for a rollout through the service: from the cache alone, on each change and at each timer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop
from attrs import evolve

from kdm_adapters.memory import MemoryCluster, MemoryDeploymentRepository
from kdm_core import (
    LOCAL,
    CacheNotSynced,
    Caller,
    Deployment,
    DeploymentCondition,
    DeploymentNotFound,
    DeploymentRef,
    DeploymentService,
    Expect,
    Forbidden,
    InvalidInput,
    InvalidName,
    InvalidQuery,
    NamespaceNotWatched,
    NotSeenYet,
    Observation,
    Outcome,
    Query,
    RolloutOutcome,
    RolloutResult,
    RolloutState,
    ScaleBy,
    SetTo,
    Target,
    Verb,
    WaitFor,
)
from unit.core.fixtures import ALICE, MALLORY, WEB, ListedAudit, Timers, grant, policy, turns

API = DeploymentRef("shop", "api")
STALLED = DeploymentCondition("False", "ProgressDeadlineExceeded", "it has timed out progressing")
FAILING = DeploymentCondition("True", "FailedCreate", "exceeded quota: pods")


class Repository(MemoryDeploymentRepository):
    """Counts what is asked of it. Its Deployments move when a test says so."""

    def __init__(self) -> None:
        super().__init__(cluster=MemoryCluster(settle=False))
        self.requests = 0
        self.looks: list[DeploymentRef] = []
        self.followers = 0

    async def _request(self, doing: str) -> None:
        self.requests += 1
        await super()._request(doing)

    def observed(self, ref: DeploymentRef) -> Observation:
        self.looks.append(ref)
        return super().observed(ref)

    def follow(self, ref: DeploymentRef, on_change: Callable[[], None]) -> Callable[[], None]:
        end = super().follow(ref, on_change)
        self.followers += 1
        ended = False

        def end_once() -> None:
            nonlocal ended
            self.followers -= not ended
            ended = True
            end()

        return end_once


@pytest.fixture
async def repository() -> AsyncIterator[Repository]:
    async with Repository() as repository:
        for ref, replicas in ((WEB, 3), (API, 8)):
            repository.cluster.create(ref, replicas, labels={"tier": "web"})
            repository.cluster.settle(ref)
        yield repository


@pytest.fixture
def timers() -> Timers:
    return Timers()


@pytest.fixture
def service(repository: Repository, timers: Timers) -> DeploymentService:
    return DeploymentService(repository, clock=timers, call_later=timers.call_later)


async def waiting(
    service: DeploymentService, target: Target | None = None, caller: Caller = LOCAL, timeout_s: float = 60.0
) -> asyncio.Task[RolloutResult]:
    """Begin to wait."""
    task = asyncio.create_task(service.rollout(WEB, caller, target=target, timeout_s=timeout_s))
    await turns()
    return task


async def test_a_write_is_waited_for_until_its_pods_are_available(
    service: DeploymentService, repository: Repository, timers: Timers
) -> None:
    scaled = await service.set_replicas(WEB, SetTo(5))
    requests = repository.requests
    task = asyncio.create_task(service.rollout(WEB, target=scaled, timeout_s=60))
    states = []
    while repository.cluster.step(WEB):
        await timers.advance(2.0)
        states.append((task.done(), repository.get(WEB).replicas.available))

    assert states == [(False, 3), (False, 3), (False, 4), (True, 5)]
    result = await task
    assert (result.outcome, result.message, result.warnings) == (RolloutOutcome.DONE, "", ())
    assert (result.target, result.elapsed_s) == (scaled.target, 6.0)
    assert result.deployment == repository.get(WEB)
    assert repository.requests == requests, "waiting asks the cluster nothing"


@pytest.mark.parametrize(("wait_for", "steps"), [(WaitFor.SCALED, 2), (WaitFor.READY, 4), (WaitFor.AVAILABLE, 4)])
async def test_what_is_waited_for_can_be_chosen(
    service: DeploymentService, repository: Repository, wait_for: WaitFor, steps: int
) -> None:
    scaled = await service.set_replicas(WEB, SetTo(5))
    task = asyncio.create_task(service.rollout(WEB, target=scaled, wait_for=wait_for, timeout_s=60))
    taken = 0
    while not task.done():
        assert repository.cluster.step(WEB)
        taken += 1
        await turns()
    assert taken == steps
    assert (await task).wait_for is wait_for


async def test_from_5_to_3_is_not_done_before_two_pods_are_gone(
    service: DeploymentService, repository: Repository
) -> None:
    repository.cluster.scale(WEB, 5)
    repository.cluster.settle(WEB)
    scaled = await service.set_replicas(WEB, SetTo(3))
    task = await waiting(service, scaled.target)
    repository.cluster.report(WEB)
    await turns()
    repository.cluster.report(WEB, current=4, updated=4, ready=4, available=4)
    await turns()
    assert not task.done()
    repository.cluster.report(WEB, current=3, updated=3, ready=3, available=3)
    assert (await task).outcome is RolloutOutcome.DONE


async def test_what_is_settled_is_not_waited_for(service: DeploymentService, repository: Repository) -> None:
    result = await service.rollout(WEB, timeout_s=0)
    assert (result.outcome, result.elapsed_s) == (RolloutOutcome.DONE, 0.0)
    assert repository.followers == 0


async def test_a_timeout_of_zero_looks_once(service: DeploymentService, repository: Repository, timers: Timers) -> None:
    repository.cluster.scale(WEB, 5)
    repository.cluster.report(WEB, current=5, updated=5)
    task = await waiting(service, timeout_s=0)
    await timers.advance(0)
    assert (await task).message == "5 Pods desired, 5 created, 3 ready, 3 available"
    assert (await task).outcome is RolloutOutcome.TIMEOUT


async def test_the_deadline_is_a_timeout_with_the_counts(
    service: DeploymentService, repository: Repository, timers: Timers
) -> None:
    repository.cluster.scale(WEB, 5)
    repository.cluster.step(WEB)
    repository.cluster.step(WEB)
    task = await waiting(service)
    await timers.advance(59)
    assert not task.done()
    await timers.advance(1)
    result = await task
    assert (result.outcome, result.elapsed_s) == (RolloutOutcome.TIMEOUT, 60)
    assert result.message == "5 Pods desired, 5 created, 3 ready, 3 available"
    assert timers.pending == 0


async def test_the_overlay_of_an_own_write_is_no_observation(
    service: DeploymentService, repository: Repository, timers: Timers
) -> None:
    """A watch that is cut for the whole wait: unknown, although reads show the new count."""
    repository.break_watch()
    scaled = await service.set_replicas(WEB, SetTo(5))
    task = await waiting(service, scaled.target)
    repository.cluster.settle(WEB)
    await timers.advance(60)
    result = await task
    assert service.get(WEB).replicas.desired == 5
    assert (result.outcome, result.deployment and result.deployment.replicas.desired) == (RolloutOutcome.UNKNOWN, 3)


async def test_a_watch_that_comes_back_ends_the_wait(service: DeploymentService, repository: Repository) -> None:
    repository.break_watch()
    scaled = await service.set_replicas(WEB, SetTo(5))
    task = await waiting(service, scaled.target)
    repository.cluster.settle(WEB)
    await turns()
    assert not task.done()
    repository.heal_watch()
    assert (await task).outcome is RolloutOutcome.DONE


async def test_a_write_that_changes_nothing_is_done_at_once(service: DeploymentService) -> None:
    scaled = await service.set_replicas(WEB, SetTo(3))
    assert (await service.rollout(WEB, target=scaled, timeout_s=1)).outcome is RolloutOutcome.DONE


async def test_somebody_elses_count_supersedes(service: DeploymentService, repository: Repository) -> None:
    scaled = await service.set_replicas(WEB, SetTo(5))
    task = await waiting(service, scaled.target)
    repository.cluster.scale(WEB, 7)
    result = await task
    assert result.outcome is RolloutOutcome.SUPERSEDED
    assert result.message.startswith("kubectl set 7 replicas at 20")
    assert result.message.endswith("Z, where 5 were waited for")
    assert result.deployment is not None
    assert result.deployment.replicas.desired == 7


@pytest.mark.parametrize("again", [False, True], ids=["deleted", "created again"])
async def test_a_deployment_that_goes_is_deleted(
    service: DeploymentService, repository: Repository, *, again: bool
) -> None:
    scaled = await service.set_replicas(WEB, SetTo(5))
    task = await waiting(service, scaled.target)
    repository.cluster.delete(WEB)
    if again:
        repository.cluster.create(WEB, 5)
        repository.cluster.settle(WEB)
    result = await task
    assert result.outcome is RolloutOutcome.DELETED
    assert (result.deployment is not None) == again
    assert (await service.rollout(WEB, target=scaled.target, timeout_s=1)).outcome is RolloutOutcome.DELETED


async def test_a_quota_blocks_after_five_seconds_and_not_when_it_is_lifted(
    service: DeploymentService, repository: Repository, timers: Timers
) -> None:
    repository.cluster.set_quota("shop", 12)
    scaled = await service.set_replicas(WEB, SetTo(5))
    task = await waiting(service, scaled.target)
    while repository.cluster.step(WEB):
        await timers.advance(0.1)
    await timers.advance(4)
    assert not task.done()
    assert service.list().deployments[1].replica_failure is not None
    repository.cluster.set_quota("shop", 13)
    while repository.cluster.step(WEB):
        await timers.advance(1)
    assert (await task).outcome is RolloutOutcome.DONE

    repository.cluster.set_quota("shop", 14)
    task = await waiting(service, (await service.set_replicas(WEB, SetTo(9))).target)
    while repository.cluster.step(WEB):
        await timers.advance(0.1)
    await timers.advance(5)
    result = await task
    assert (result.outcome, result.message.partition(" (")[0]) == (
        RolloutOutcome.BLOCKED,
        'pods "web-..." is forbidden: exceeded quota: pods, requested: pods=1',
    )
    assert timers.pending == 0


async def test_a_progress_deadline_stalls(service: DeploymentService, repository: Repository, timers: Timers) -> None:
    repository.cluster.roll_out(WEB)
    repository.cluster.break_pods(WEB)
    task = await waiting(service)
    while repository.cluster.step(WEB):
        await turns()
    repository.cluster.expire(WEB)
    await timers.advance(5)
    assert (await task).outcome is RolloutOutcome.STALLED


async def test_paused_is_done_with_a_warning(service: DeploymentService, repository: Repository) -> None:
    repository.cluster.pause(WEB)
    repository.cluster.roll_out(WEB)
    scaled = await service.set_replicas(WEB, SetTo(5))
    task = await waiting(service, scaled.target)
    while repository.cluster.step(WEB):
        await turns()
    result = await task
    assert result.outcome is RolloutOutcome.DONE
    assert result.warnings == ("its rollouts are paused, and Pods of an older revision run",)


class TestPermission:
    """The policy holds from beginning to end."""

    async def test_who_may_not_read_may_not_wait(self, repository: Repository, timers: Timers) -> None:
        audit = ListedAudit()
        service = DeploymentService(
            repository, policy=policy(grant("alice", Verb.SCALE)), audit=audit, call_later=timers.call_later
        )
        for caller in (Caller(MALLORY), Caller(ALICE)):
            with pytest.raises(Forbidden):
                await service.rollout(WEB, caller, timeout_s=60)
            with pytest.raises(Forbidden):
                await service.rollout(WEB, caller, target=Target("u", "1", 1), timeout_s=60)
        assert {(each.verb, each.outcome) for each in audit.events} == {(Verb.READ, Outcome.DENIED)}

    async def test_who_may_write_and_not_read_learns_nothing_more_and_no_error_hides_the_write(
        self, repository: Repository
    ) -> None:
        service = DeploymentService(repository, policy=policy(grant("alice", Verb.SCALE)))
        scaled = await service.set_replicas(WEB, SetTo(5), caller=Caller(ALICE))
        result = await service.rollout(WEB, Caller(ALICE), target=scaled, timeout_s=60)
        assert (result.outcome, result.deployment) == (RolloutOutcome.INTERRUPTED, None)

    async def test_a_new_policy_interrupts_those_who_may_not_read_any_more(
        self, service: DeploymentService, repository: Repository
    ) -> None:
        repository.cluster.scale(WEB, 5)
        alice, mallory = [await waiting(service, caller=Caller(each)) for each in (ALICE, MALLORY)]
        service.policy = policy(grant("alice", Verb.READ))
        result = await mallory
        assert (result.outcome, result.deployment) == (RolloutOutcome.INTERRUPTED, None)
        assert not alice.done()
        repository.cluster.settle(WEB)
        assert (await alice).outcome is RolloutOutcome.DONE

    async def test_labels_that_change_interrupt_those_who_may_not_read_any_more(
        self, service: DeploymentService, repository: Repository
    ) -> None:
        service.policy = policy(grant("alice", Verb.READ, tier="web"))
        repository.cluster.scale(WEB, 5)
        task = await waiting(service, caller=Caller(ALICE))
        repository.cluster.relabel(WEB, {"tier": "db"})
        assert (await task).outcome is RolloutOutcome.INTERRUPTED

    async def test_a_certificate_that_expires_interrupts(
        self, service: DeploymentService, repository: Repository, timers: Timers
    ) -> None:
        repository.cluster.scale(WEB, 5)
        task = asyncio.create_task(service.rollout(WEB, timeout_s=60, valid_s=7))
        await timers.advance(7)
        result = await task
        assert (result.outcome, result.elapsed_s) == (RolloutOutcome.INTERRUPTED, 7)
        assert timers.pending == 0


class TestEnds:
    """A wait leaves nothing behind, however it ends."""

    async def test_a_shutdown_interrupts_now_and_from_now_on(
        self, service: DeploymentService, repository: Repository
    ) -> None:
        repository.cluster.scale(WEB, 5)
        task = await waiting(service)
        service.stop_waiting()
        result = await task
        assert (result.outcome, result.message) == (RolloutOutcome.INTERRUPTED, "kdm is stopping")
        assert (await service.rollout(WEB, timeout_s=60)).outcome is RolloutOutcome.INTERRUPTED
        assert (await service.rollout(API, timeout_s=60)).outcome is RolloutOutcome.DONE, "it is known at once"
        assert repository.followers == 0

    async def test_a_repository_that_stops_interrupts(self) -> None:
        async with Repository() as repository:
            repository.cluster.create(WEB, 3)
            task = await waiting(DeploymentService(repository))
        assert (await task).outcome is RolloutOutcome.INTERRUPTED

    async def test_who_is_cancelled_leaves_nothing_behind_and_others_go_on(
        self, service: DeploymentService, repository: Repository, timers: Timers
    ) -> None:
        repository.cluster.scale(WEB, 5)
        repository.cluster.report(WEB, replica_failure=FAILING)
        first, second = await waiting(service), await waiting(service)
        first.cancel()
        await turns()
        assert first.cancelled()
        assert repository.followers == 1
        second.cancel()
        await turns()
        assert (repository.followers, timers.pending) == (0, 0)

    async def test_many_wait_for_the_same_at_the_cost_of_one_look_a_change(
        self, service: DeploymentService, repository: Repository
    ) -> None:
        repository.cluster.scale(WEB, 5)
        tasks = [await waiting(service) for _ in range(50)]
        repository.looks.clear()
        repository.cluster.scale(API, 9)
        await turns()
        assert repository.looks == [], "nobody waits for that one"
        repository.cluster.report(WEB, current=4)
        repository.cluster.report(WEB, current=5)
        await turns()
        assert repository.looks == [WEB]
        assert repository.followers == 1
        repository.cluster.settle(WEB)
        assert {each.outcome for each in await asyncio.gather(*tasks)} == {RolloutOutcome.DONE}

    @pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
    def test_on_either_event_loop(self, factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        async def scale_and_wait() -> list[RolloutOutcome]:
            async with Repository() as repository:
                repository.cluster.create(WEB, 3)
                service = DeploymentService(repository)
                done = await waiting(service, timeout_s=30)
                repository.cluster.settle(WEB)
                outcomes = [(await done).outcome]
                repository.cluster.scale(WEB, 5)
                outcomes.append((await service.rollout(WEB, timeout_s=0.001)).outcome)
                return outcomes

        with asyncio.Runner(loop_factory=factory) as runner:
            assert runner.run(scale_and_wait()) == [RolloutOutcome.DONE, RolloutOutcome.TIMEOUT]


class TestRefusals:
    """What cannot be waited for."""

    async def test_a_dry_run_is_not_waited_for(self, service: DeploymentService) -> None:
        tried = await service.set_replicas(WEB, SetTo(5), dry_run=True)
        with pytest.raises(InvalidInput, match="dry run"):
            await service.rollout(WEB, target=tried, timeout_s=60)

    @pytest.mark.parametrize("timeout_s", [-1, float("nan"), float("inf")])
    async def test_a_timeout_is_a_time(self, service: DeploymentService, timeout_s: float) -> None:
        with pytest.raises(InvalidInput, match="timeout"):
            await service.rollout(WEB, timeout_s=timeout_s)

    async def test_what_is_not_there_is_not_found(self, service: DeploymentService) -> None:
        with pytest.raises(DeploymentNotFound):
            await service.rollout(DeploymentRef("shop", "nothing"), timeout_s=60)
        with pytest.raises(InvalidName):
            await service.rollout(DeploymentRef("shop", "No"), timeout_s=60)

    async def test_what_was_not_read_yet_is_said(self, service: DeploymentService, repository: Repository) -> None:
        repository.faults.not_synced = True
        with pytest.raises(CacheNotSynced):
            await service.rollout(WEB, timeout_s=60)


class TestVersions:
    """An answer at least as new as what somebody has seen elsewhere."""

    async def test_an_own_write_is_new_enough_for_its_deployment_and_not_for_lists(
        self, service: DeploymentService, repository: Repository
    ) -> None:
        repository.break_watch()
        scaled = await service.set_replicas(WEB, SetTo(5))
        await service.wait_for_version(WEB, scaled.resource_version, 0)
        for where in (API, "shop", "*"):
            with pytest.raises(NotSeenYet) as raised:
                await service.wait_for_version(where, scaled.resource_version, 0)
            assert (raised.value.retryable, raised.value.written) == (True, False)
        task = asyncio.create_task(service.wait_for_version("*", scaled.resource_version, 30))
        await turns()
        repository.heal_watch()
        await task

    @pytest.mark.parametrize("version", ["", "-1", "abc", "\u0661", "1.5", "007", "00", "9" * 65, "9" * 5000])
    async def test_a_version_is_a_number(self, service: DeploymentService, version: str) -> None:
        with pytest.raises(InvalidQuery, match="resourceVersion"):
            await service.wait_for_version(WEB, version, 0)

    async def test_who_may_read_nothing_there_learns_nothing(self, repository: Repository) -> None:
        service = DeploymentService(repository, policy=policy(grant("alice", Verb.READ, names="web")))
        await service.wait_for_version(WEB, "1", 0, Caller(ALICE))
        for where in (WEB, "shop", "*"):
            with pytest.raises(Forbidden):
                await service.wait_for_version(where, "1", 0, Caller(MALLORY))

    async def test_a_namespace_is_one_that_is_watched(self) -> None:
        async with MemoryDeploymentRepository(namespaces=["shop"]) as repository:
            service = DeploymentService(repository)
            with pytest.raises(NamespaceNotWatched):
                await service.wait_for_version("blog", "1", 0)
            with pytest.raises(InvalidName):
                await service.wait_for_version("No", "1", 0)


def test_what_a_write_gives_to_wait_for(repository: Repository) -> None:
    held = repository.get(WEB)
    assert Target.of(held) == Target(held.uid, held.resource_version, 3)


async def test_what_came_of_a_write(service: DeploymentService) -> None:
    before = service.get(WEB)
    scaled = await service.set_replicas(WEB, ScaleBy(2), expect=Expect(uid=before.uid))
    assert (scaled.previous, scaled.replicas, scaled.changed, scaled.written) == (3, 5, True, True)
    assert (scaled.uid, scaled.resource_version) == (before.uid, service.get(WEB).resource_version)
    tried = await service.set_replicas(WEB, SetTo(9), dry_run=True)
    assert (tried.previous, tried.replicas, tried.changed, tried.written) == (5, 9, True, False)


async def test_lists_and_changes_by_state(service: DeploymentService, repository: Repository) -> None:
    settling = Query(states=frozenset({RolloutState.SETTLING, RolloutState.OBSERVING}))
    assert service.list(settling).deployments == ()
    repository.cluster.scale(WEB, 5)
    (found,) = service.list(settling).deployments
    assert found.ref == WEB
    page = service.list(evolve(settling, limit=1))
    assert (page.next, page.whole) == (None, False)
    changes = service.changes(settling)
    seen: list[tuple[str, Deployment | None]] = []
    for _ in range(2):
        change = await anext(changes)
        seen.append((change.kind.value, change.deployment))
    assert [kind for kind, _ in seen] == ["present", "synced"]
    repository.cluster.settle(WEB)
    assert (await anext(changes)).kind.value == "deleted"
    await changes.aclose()
