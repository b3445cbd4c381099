"""Many changes at once: judged first, written a few at a time, and right about what was written whatever goes wrong."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from kdm_adapters.memory.parking import MemoryParkingLot
from kdm_core import (
    ANY,
    LOCAL,
    AuditUnavailable,
    Bulk,
    BulkItem,
    BulkProgress,
    BulkRefused,
    BulkTooLarge,
    BulkWait,
    CacheNotSynced,
    Caller,
    ClusterUnreachable,
    DeploymentRef,
    DeploymentService,
    Effect,
    Expect,
    Forbidden,
    Halt,
    InvalidChange,
    InvalidQuery,
    InvalidReplicas,
    ItemResult,
    LabelSelector,
    OnBound,
    OnError,
    Outcome,
    OutOfBounds,
    OwnerConflict,
    Park,
    ParkingOff,
    Plan,
    PlanChanged,
    Restore,
    RolloutOutcome,
    RolloutResult,
    ScaleBy,
    ScaleTimes,
    Selection,
    SetTo,
    Verb,
)
from kdm_core.bulk import AT_A_TIME, BATCH_S
from unit.core.bulk_stage import CountingRepository, of_tier, outcomes, written
from unit.core.fixtures import ALICE, WEB, Clock, ListedAudit, Timers, grant, policy, turns

READ, SCALE = Verb.READ, Verb.SCALE


@pytest.fixture
async def repository() -> AsyncIterator[CountingRepository]:
    async with CountingRepository() as repository:
        yield repository


@pytest.fixture
def service(repository: CountingRepository, audit: ListedAudit) -> DeploymentService:
    return DeploymentService(repository, audit=audit)


class TestFactor:
    @pytest.mark.parametrize(
        ("factor", "before", "after"),
        [
            ("0.5", 5, 3), ("0.5", 4, 2), ("0.5", 1, 1), ("0.1", 1, 1), ("0.1", 4, 1), ("0.5", 0, 0), ("2", 0, 0),
            ("1.5", 3, 5), ("1.5", 1, 2), ("1.1", 3, 3), ("1.1", 5, 6), ("0.333333", 3, 1), ("1", 7, 7),
            ("0.15", 10, 2), ("1.005", 100, 101), ("2.675", 100, 268), ("0.000001", 1000, 1),
        ],
    )  # fmt: skip
    def test_it_multiplies_exactly_and_rounds_half_up_but_stops_nothing(
        self, factor: str, before: int, after: int
    ) -> None:
        assert ScaleTimes(Decimal(factor)).result(WEB, before, 1000) == after

    def test_rounding_reaches_zero_only_where_min_is_zero(self) -> None:
        assert ScaleTimes(Decimal("0.1"), min=0).result(WEB, 4, 1000) == 0
        assert ScaleTimes(Decimal("0.1"), min=2, on_bound=OnBound.CLAMP).result(WEB, 4, 1000) == 2

    def test_bounds_reject_or_clamp_and_never_turn_a_step_around(self) -> None:
        with pytest.raises(OutOfBounds) as caught:
            ScaleTimes(Decimal(3), max=10).result(WEB, 5, 1000)
        assert (caught.value.current, caught.value.result, caught.value.maximum) == (5, 15, 10)
        assert ScaleTimes(Decimal(3), max=10, on_bound=OnBound.CLAMP).result(WEB, 5, 1000) == 10
        assert ScaleTimes(Decimal(3), max=10, on_bound=OnBound.CLAMP).result(WEB, 12, 1000) == 12
        with pytest.raises(OutOfBounds):
            ScaleTimes(Decimal(3)).result(WEB, 400, 1000)

    @pytest.mark.parametrize(
        "factor", ["0", "-1", "-0.5", "1000.1", "1e9", "1e-7", "0.1234567", "NaN", "sNaN", "Infinity", "1e999999"]
    )
    def test_what_is_no_factor_is_refused(self, factor: str) -> None:
        with pytest.raises(InvalidChange, match="factor: must be a number greater than 0"):
            ScaleTimes(Decimal(factor)).check(1000)

    @pytest.mark.parametrize("factor", [2, 0.5, "0.5", None])
    def test_a_factor_that_is_no_decimal_is_refused(self, factor: Any) -> None:
        with pytest.raises(InvalidChange, match="factor: must be a Decimal"):
            ScaleTimes(factor).check(1000)

    async def test_one_deployment_can_be_multiplied_too(self, repository: CountingRepository) -> None:
        ref = repository.create("a", 5)
        scaled = await DeploymentService(repository).set_replicas(ref, ScaleTimes(Decimal("0.5")))
        assert (scaled.previous, scaled.replicas) == (5, 3)


class TestSelection:
    def test_nothing_selects_everything_but_saying_so(self) -> None:
        with pytest.raises(InvalidQuery, match="all: true"):
            Selection(SetTo(0))
        with pytest.raises(InvalidQuery, match="all: true"):
            Selection(SetTo(0), "shop")
        with pytest.raises(InvalidQuery, match="exclude each other"):
            Selection(SetTo(0), selector=of_tier(SetTo(0)).of.selector, everything=True)  # type: ignore[union-attr]
        assert Selection(SetTo(0), everything=True).everything

    async def test_a_selection_of_nothing_is_an_answer(self, service: DeploymentService) -> None:
        result = await service.scale_many(of_tier(SetTo(1), "nowhere"))
        assert (result.items, result.complete) == ((), True)

    async def test_a_selection_has_only_what_the_caller_may_read(self, repository: CountingRepository) -> None:
        """Neither its items, nor its refusals, nor its size tell of anything else."""
        for index in range(501):
            repository.create(f"hidden-{index}", 1, "secret")
        repository.create("seen", 1)
        caller = Caller(ALICE)
        service = DeploymentService(repository, policy=policy(grant("alice", READ, SCALE, namespaces="shop")))
        result = await service.scale_many(of_tier(SetTo(2)), caller=caller)
        assert outcomes(result) == {"seen": "done"}
        hidden = Bulk(Selection(SetTo(2), "secret", everything=True))
        with pytest.raises(Forbidden):
            await service.scale_many(hidden, caller=caller)
        nowhere = Bulk(Selection(SetTo(2), "never-was", everything=True))
        with pytest.raises(Forbidden):
            await service.scale_many(nowhere, caller=caller)

    async def test_a_named_item_that_may_not_be_seen_is_refused_like_one_that_does_not_exist(
        self, repository: CountingRepository
    ) -> None:
        repository.create("there", 1, "secret")
        service = DeploymentService(repository, policy=policy(grant("alice", READ, SCALE, namespaces="shop")))
        items = tuple(BulkItem(DeploymentRef("secret", name), SetTo(1)) for name in ("there", "absent"))
        with pytest.raises(BulkRefused) as caught:
            await service.scale_many(Bulk(items), caller=Caller(ALICE))
        first, second = (str(why).replace(ref.name, "") for ref, why in caught.value.items)
        assert first == second

    async def test_more_than_500_are_refused_before_anything(
        self, repository: CountingRepository, service: DeploymentService
    ) -> None:
        for index in range(501):
            repository.create(f"d-{index}", 1)
        version = repository.cluster.version
        with pytest.raises(BulkTooLarge) as caught:
            await service.scale_many(of_tier(SetTo(2)))
        assert (caught.value.total, caught.value.limit) == (501, 500)
        items = tuple(BulkItem(DeploymentRef("shop", f"d-{index}"), SetTo(1)) for index in range(501))
        with pytest.raises(BulkTooLarge):
            await service.scale_many(Bulk(items))
        assert (repository.sent, repository.cluster.version) == (0, version)

    async def test_a_deployment_named_twice_is_refused(self, service: DeploymentService) -> None:
        with pytest.raises(InvalidQuery, match="'shop/web' is there more than once"):
            await service.scale_many(Bulk((BulkItem(WEB, SetTo(1)), BulkItem(WEB, SetTo(2)))))
        with pytest.raises(InvalidQuery, match="must not be empty"):
            await service.scale_many(Bulk(()))

    async def test_one_that_the_cache_does_not_have_yet_is_asked_for(
        self, repository: CountingRepository, service: DeploymentService
    ) -> None:
        repository.break_watch()
        ref = repository.create("new", 2)
        result = await service.scale_many(Bulk((BulkItem(ref, ScaleBy(1)),)))
        assert outcomes(result) == {"new": "done"}
        assert repository.counts() == {"new": 3}


async def test_500_deployments_are_written_never_more_than_8_at_a_time(
    repository: CountingRepository, service: DeploymentService, audit: ListedAudit
) -> None:
    for index in range(500):
        repository.create(f"d-{index:03}", index % 7)
    result = await service.scale_many(of_tier(SetTo(3)))
    assert set(repository.counts().values()) == {3}
    assert repository.most == AT_A_TIME == 8
    assert len(result.items) == len(audit.events) == 500
    assert {each.batch for each in audit.events} == {result.batch}
    assert repository.sent == sum(index % 7 != 3 for index in range(500))


async def test_several_batches_share_the_8(repository: CountingRepository, service: DeploymentService) -> None:
    for tier in ("a", "b", "c"):
        for index in range(30):
            repository.create(f"{tier}-{index}", 1, tier=tier)
    await asyncio.gather(*(service.scale_many(of_tier(SetTo(2), tier)) for tier in ("a", "b", "c")))
    assert repository.most == 8
    assert set(repository.counts().values()) == {2}


class TestAbort:
    async def test_one_refusal_and_nothing_is_written(self, repository: CountingRepository, audit: ListedAudit) -> None:
        """Proven by the cluster's version. Each item is in the trail, the refused one with its own reason."""
        for index in range(20):
            repository.create(f"d-{index}", 1)
        repository.create("pinned", 1)
        limited = grant("alice", READ, SCALE, names="d-*")
        service = DeploymentService(repository, policy=policy(limited, grant("alice", READ)), audit=audit)
        version = repository.cluster.version
        with pytest.raises(BulkRefused) as caught:
            await service.scale_many(of_tier(SetTo(5)), caller=Caller(ALICE))
        assert [(ref.name, type(why)) for ref, why in caught.value.items] == [("pinned", Forbidden)]
        assert (repository.cluster.version, repository.sent, caught.value.written) == (version, 0, False)
        assert len(audit.events) == 21
        assert {each.outcome for each in audit.events if each.name != "pinned"} == {Outcome.REJECTED}
        assert [each.outcome for each in audit.events if each.name == "pinned"] == [Outcome.DENIED]

    async def test_every_bound_reason_and_expectation_is_checked_before_the_first_write(
        self, repository: CountingRepository
    ) -> None:
        first, second = repository.create("a", 1), repository.create("b", 9)
        service = DeploymentService(repository, max_replicas=10)
        version = repository.cluster.version
        for refused in (
            BulkItem(second, ScaleBy(2)),
            BulkItem(second, SetTo(1), Expect(replicas=8)),
            BulkItem(second, SetTo(1), Expect(uid="another")),
            BulkItem(DeploymentRef("shop", "absent"), SetTo(1)),
            BulkItem(DeploymentRef("shop", "No Name"), SetTo(1)),
        ):
            with pytest.raises(BulkRefused):
                await service.scale_many(Bulk((BulkItem(first, SetTo(4)), refused)))
        with pytest.raises(InvalidReplicas):
            await service.scale_many(Bulk((BulkItem(first, SetTo(4)), BulkItem(second, SetTo(11)))))
        with pytest.raises(InvalidChange, match="reason"):
            await service.scale_many(of_tier(SetTo(1), reason="x" * 257))
        assert repository.cluster.version == version

    async def test_after_a_failure_nothing_more_is_begun(self, repository: CountingRepository) -> None:
        """What is under way is finished. Each says what became of it."""
        refs = [repository.create(f"d-{index:02}", 1) for index in range(40)]
        repository.fails[refs[10]] = "refused"
        result = await DeploymentService(repository).scale_many(of_tier(SetTo(2)))
        said = outcomes(result)
        assert said["d-10"] == "failed"
        assert {said[f"d-{index:02}"] for index in range(10)} == {"done"}
        assert {said[f"d-{index:02}"] for index in range(20, 40)} == {"skipped"}
        assert not result.complete
        counts = repository.counts()
        assert {name: count == 2 for name, count in counts.items()} == written(result)
        skipped = next(each for each in result.items if each.ref.name == "d-39")
        assert "'shop/d-10' failed before: an admission webhook refused it" in str(skipped.error)


class TestContinue:
    async def test_the_refused_are_left_out_and_named(self, repository: CountingRepository) -> None:
        for name, count in (("a", 1), ("b", 99), ("c", 3)):
            repository.create(name, count)
        service = DeploymentService(repository, max_replicas=100)
        result = await service.scale_many(of_tier(ScaleBy(5), on_error=OnError.CONTINUE))
        assert outcomes(result) == {"a": "done", "b": "refused", "c": "done"}
        assert repository.counts() == {"a": 6, "b": 99, "c": 8}
        assert isinstance(result.items[1].error, OutOfBounds)

    async def test_a_failure_of_one_is_no_failure_of_the_others(self, repository: CountingRepository) -> None:
        refs = [repository.create(f"d-{index:02}", 1) for index in range(40)]
        repository.fails = {refs[3]: "refused", refs[5]: "overtaken"}
        result = await DeploymentService(repository).scale_many(of_tier(SetTo(2), on_error=OnError.CONTINUE))
        failed = {name for name, outcome in outcomes(result).items() if outcome != "done"}
        assert failed == {"d-03", "d-05"}
        assert repository.counts()["d-05"] == 77, "what somebody else set is not overwritten"

    @pytest.mark.parametrize("fault", ["unreachable", "overloaded", "lost before", "lost after", "defect"])
    async def test_what_would_fail_for_all_ends_the_batch(self, repository: CountingRepository, fault: str) -> None:
        refs = [repository.create(f"d-{index:02}", 1) for index in range(40)]
        repository.fails = {refs[12]: fault}  # type: ignore[dict-item]
        result = await DeploymentService(repository).scale_many(of_tier(SetTo(2), on_error=OnError.CONTINUE))
        said, counts = written(result), repository.counts()
        unknown = fault in {"lost before", "lost after", "defect"}
        assert said.pop("d-12") is (None if unknown else False)
        assert counts.pop("d-12") == (2 if fault == "lost after" else 1)
        assert {name: count == 2 for name, count in counts.items()} == said
        assert outcomes(result)["d-39"] == "skipped"

    async def test_a_webhook_that_cannot_be_asked_about_some_keeps_no_other_from_its_turn(
        self, repository: CountingRepository
    ) -> None:
        refs = [repository.create(f"d-{index:02}", 1) for index in range(40)]
        repository.fails = dict.fromkeys(refs[:20], "webhook")
        result = await DeploymentService(repository).scale_many(of_tier(SetTo(2), on_error=OnError.CONTINUE))
        assert Counter(outcomes(result).values()) == {"failed": 20, "done": 20}
        assert all(isinstance(each.error, ClusterUnreachable) for each in result.items[:20])

    @pytest.mark.parametrize("fault", ["lost before", "lost after"])
    async def test_a_namespace_whose_writes_are_not_answered_keeps_no_other_namespace_from_its_turn(
        self, repository: CountingRepository, fault: str
    ) -> None:
        slow = [repository.create(f"a-{index:02}", 1, namespace="a") for index in range(20)]
        for index in range(20):
            repository.create(f"z-{index:02}", 1, namespace="z")
        repository.fails = dict.fromkeys(slow, fault)  # type: ignore[arg-type]
        result = await DeploymentService(repository).scale_many(of_tier(SetTo(2), on_error=OnError.CONTINUE))
        came = Counter((each.planned.ref.namespace, each.outcome.value) for each in result.items)
        assert came == {("a", "failed"): AT_A_TIME, ("a", "skipped"): 20 - AT_A_TIME, ("z", "done"): 20}

    async def test_where_a_second_namespace_is_not_answered_it_is_the_cluster_and_ends_the_batch(
        self, repository: CountingRepository
    ) -> None:
        refs = [repository.create("d", 1, namespace=f"n-{index:02}") for index in range(40)]
        repository.fails = dict.fromkeys(refs, "lost before")
        result = await DeploymentService(repository).scale_many(of_tier(SetTo(2), on_error=OnError.CONTINUE))
        assert {each.outcome.value for each in result.items[AT_A_TIME + 1 :]} == {"skipped"}
        assert repository.sent <= AT_A_TIME + 1


class TestPlan:
    async def test_a_dry_run_stores_nothing_and_shows_all(
        self, repository: CountingRepository, service: DeploymentService, audit: ListedAudit
    ) -> None:
        for name, count in (("a", 1), ("b", 2)):
            repository.create(name, count)
        version = repository.cluster.version
        result = await service.scale_many(of_tier(SetTo(2)), dry_run=True, wait=BulkWait(60))
        assert outcomes(result) == {"a": "planned", "b": "unchanged"}
        assert [(each.planned.before, each.planned.after, each.written) for each in result.items] == [
            (1, 2, False), (2, 2, False),
        ]  # fmt: skip
        assert repository.cluster.version == version
        assert [(each.dry_run, each.batch) for each in audit.events] == [(True, result.batch)] * 2

    async def test_it_shows_what_the_cluster_would_refuse(self, repository: CountingRepository) -> None:
        refs = [repository.create(f"d-{index}", 1) for index in range(3)]
        repository.fails = {refs[1]: "refused"}
        result = await DeploymentService(repository).scale_many(of_tier(SetTo(2)), dry_run=True)
        assert outcomes(result) == {"d-0": "planned", "d-1": "failed", "d-2": "planned"}
        assert result.items[1].written is False

    async def test_without_the_cluster_it_is_shown_and_says_so(self, repository: CountingRepository) -> None:
        refs = [repository.create(f"d-{index:02}", 1) for index in range(30)]
        repository.fails = dict.fromkeys(refs, "unreachable")
        result = await DeploymentService(repository).scale_many(of_tier(SetTo(2)), dry_run=True)
        assert set(outcomes(result).values()) == {"planned"}
        assert all("the cluster has not been asked" in each.warnings[0] for each in result.items)
        assert repository.sent <= AT_A_TIME

    async def test_its_tag_lets_exactly_it_be_done(
        self, repository: CountingRepository, service: DeploymentService
    ) -> None:
        repository.create("a", 1)
        plan = await service.scale_many(of_tier(ScaleBy(1)), dry_run=True)
        done = await service.scale_many(of_tier(ScaleBy(1), reason="sale"), if_plan={plan.plan.tag})
        assert done.complete
        version = repository.cluster.version
        with pytest.raises(PlanChanged) as caught:
            await service.scale_many(of_tier(ScaleBy(1)), if_plan={plan.plan.tag})
        assert caught.value.tag != plan.plan.tag
        assert repository.cluster.version == version

    async def test_a_write_between_the_check_and_the_write_is_noticed(self, repository: CountingRepository) -> None:
        """The plan holds, and somebody is faster: nothing of theirs is overwritten."""
        ref = repository.create("a", 1)
        repository.fails = {ref: "overtaken"}
        service = DeploymentService(repository)
        plan = await service.scale_many(of_tier(SetTo(5)), dry_run=True)
        repository.cluster.scale(ref, 1)
        result = await service.scale_many(of_tier(SetTo(5)), if_plan={plan.plan.tag})
        assert (outcomes(result), repository.counts()) == ({"a": "failed"}, {"a": 77})
        assert result.items[0].written is False

    async def test_a_deployment_made_again_between_the_check_and_the_write_is_not_touched(
        self, repository: CountingRepository
    ) -> None:
        repository.create("a", 1)
        repository.before_write = lambda ref: None if repository.sent > 1 else repository.create(ref.name, 1)
        result = await DeploymentService(repository).scale_many(of_tier(SetTo(5)))
        assert (outcomes(result), repository.counts()) == ({"a": "failed"}, {"a": 1})


class TestEnds:
    async def test_a_halt_finishes_what_is_under_way_and_skips_the_rest(
        self, repository: CountingRepository, audit: ListedAudit
    ) -> None:
        for index in range(40):
            repository.create(f"d-{index:02}", 1)
        halt = Halt()
        repository.before_write = lambda ref: halt.stop("kdm is stopping") if ref.name == "d-09" else None
        service = DeploymentService(repository, audit=audit)
        result = await service.scale_many(of_tier(SetTo(2)), halt=halt)
        said = written(result)
        assert {name: count == 2 for name, count in repository.counts().items()} == said
        assert list(said.values()).count(True) in range(8, 18)
        assert "kdm is stopping" in str(result.items[-1].error)
        assert len(audit.events) == 40
        assert {each.name for each in audit.events if each.outcome is Outcome.SUCCESS} == {
            name for name, was in said.items() if was
        }

    async def test_its_time_ends_it(self, repository: CountingRepository, clock: Clock) -> None:
        for index in range(40):
            repository.create(f"d-{index:02}", 1)

        def pass_time(ref: DeploymentRef) -> None:
            clock.now_s += BATCH_S if ref.name == "d-20" else 0

        repository.before_write = pass_time
        result = await DeploymentService(repository, clock=clock).scale_many(of_tier(SetTo(2)))
        assert {name: count == 2 for name, count in repository.counts().items()} == written(result)
        assert outcomes(result)["d-39"] == "skipped"

    async def test_a_policy_that_changes_in_the_middle_holds_at_once(self, repository: CountingRepository) -> None:
        for index in range(40):
            repository.create(f"d-{index:02}", 1)
        service = DeploymentService(repository)

        def change(ref: DeploymentRef) -> None:
            if ref.name == "d-09":
                service.policy = policy(grant("local", READ))

        repository.before_write = change
        result = await service.scale_many(of_tier(SetTo(2), on_error=OnError.CONTINUE))
        assert {name: count == 2 for name, count in repository.counts().items()} == written(result)
        assert isinstance(result.items[-1].error, Forbidden)

    async def test_a_trail_that_fills_up_in_the_middle_ends_it(
        self, repository: CountingRepository, audit: ListedAudit
    ) -> None:
        for index in range(40):
            repository.create(f"d-{index:02}", 1)

        def fill(ref: DeploymentRef) -> None:
            audit.full = audit.full or ref.name == "d-09"

        repository.before_write = fill
        service = DeploymentService(repository, audit=audit)
        result = await service.scale_many(of_tier(SetTo(2), on_error=OnError.CONTINUE))
        assert {name: count == 2 for name, count in repository.counts().items()} == written(result)
        assert any(each.written and isinstance(each.error, AuditUnavailable) for each in result.items)
        assert repository.sent < 20
        with pytest.raises(AuditUnavailable):
            await service.scale_many(of_tier(SetTo(3)))

    async def test_a_cancelled_batch_leaves_in_the_trail_what_it_may_have_written(
        self, repository: CountingRepository, audit: ListedAudit
    ) -> None:
        for index in range(40):
            repository.create(f"d-{index:02}", 1)
        service = DeploymentService(repository, audit=audit)
        begun = asyncio.Event()
        repository.before_write = lambda ref: begun.set() if ref.name == "d-19" else None
        running = asyncio.ensure_future(service.scale_many(of_tier(SetTo(2))))
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await turns()
        changed = {name for name, count in repository.counts().items() if count == 2}
        assert changed <= {each.name for each in audit.events}
        assert repository.under_way == 0


class TestWait:
    async def test_one_deadline_holds_for_all(self, repository: CountingRepository) -> None:
        timers = Timers()
        refs = [repository.create(name, 1) for name in ("slow", "quick")]
        repository.create("same", 2)
        for each in repository.cluster.deployments:
            repository.cluster.settle(each)
        service = DeploymentService(repository, clock=timers, call_later=timers.call_later)
        waiting = asyncio.ensure_future(service.scale_many(of_tier(SetTo(2)), wait=BulkWait(60)))
        await turns(50)
        repository.cluster.settle(refs[1])
        await turns()
        assert not waiting.done()
        await timers.advance(60)
        result = await waiting
        ended = {each.ref.name: each.rollout.outcome for each in result.items if each.rollout}
        assert ended == {
            "slow": RolloutOutcome.TIMEOUT, "quick": RolloutOutcome.DONE, "same": RolloutOutcome.DONE,
        }  # fmt: skip
        assert result.complete, "the writes are done, whatever became of the Pods"

    async def test_a_halt_ends_the_waits(self, repository: CountingRepository) -> None:
        repository.create("a", 1)
        halt = Halt()
        waiting = asyncio.ensure_future(
            DeploymentService(repository).scale_many(of_tier(SetTo(2)), wait=BulkWait(600), halt=halt)
        )
        await turns(20)
        halt.stop("kdm is stopping")
        (item,) = (await waiting).items
        assert item.written is True
        assert item.rollout is not None
        assert (item.rollout.outcome, item.rollout.message) == (RolloutOutcome.INTERRUPTED, "kdm is stopping")

    async def test_progress_has_each_item_once(self, repository: CountingRepository) -> None:
        said: list[str] = []

        class Heard(BulkProgress):
            def planned(self, batch: str, plan: Plan) -> None:
                said.append(f"begun {len(plan.items)}" if batch else "no id")

            def ended(self, result: ItemResult) -> None:
                said.append(f"{result.ref.name} {result.outcome}")
                repository.cluster.settle(result.ref)

            def followed(self, ref: DeploymentRef, rollout: RolloutResult) -> None:
                said.append(f"{ref.name} {rollout.outcome}, followed")

        for name in ("a", "b"):
            repository.cluster.settle(repository.create(name, 1))
        await DeploymentService(repository).scale_many(of_tier(SetTo(2)), wait=BulkWait(60), progress=Heard())
        assert said[0] == "begun 2"
        assert sorted(said[1:]) == ["a done", "a done, followed", "b done", "b done, followed"]
        assert said.index("a done") < said.index("a done, followed")


class TestOwners:
    def autoscaled(self, repository: CountingRepository, name: str, least: int, most: int) -> None:
        ref = repository.create(name, 3)
        repository.cluster.autoscalers.put(ref, name, least=least, most=most)

    async def test_what_would_be_changed_back_is_refused_unless_it_is_overridden(
        self, repository: CountingRepository, service: DeploymentService
    ) -> None:
        self.autoscaled(repository, "a", 2, 5)
        repository.create("b", 3)
        with pytest.raises(BulkRefused) as caught:
            await service.scale_many(of_tier(SetTo(9)))
        assert [(ref.name, type(why)) for ref, why in caught.value.items] == [("a", OwnerConflict)]
        asked = of_tier(SetTo(9))
        plan = await service.scale_many(evolve(asked, override=True), dry_run=True)
        assert [each.planned.effect for each in plan.items] == [Effect.REVERTS, None]
        assert "HorizontalPodAutoscaler 'a' sets it to 5" in plan.items[0].planned.warnings[0]
        assert (await service.scale_many(evolve(asked, override=True), if_plan={plan.plan.tag})).complete
        assert repository.counts() == {"a": 9, "b": 9}

    async def test_a_plans_tag_moves_with_what_an_owner_will_do(
        self, repository: CountingRepository, service: DeploymentService
    ) -> None:
        self.autoscaled(repository, "a", 2, 5)
        plan = (await service.scale_many(of_tier(SetTo(0)), dry_run=True)).plan
        assert plan.items[0].effect is Effect.SUSPENDS
        repository.cluster.autoscalers.delete(DeploymentRef("shop", "a"))
        with pytest.raises(PlanChanged):
            await service.scale_many(of_tier(SetTo(0)), if_plan={plan.tag})

    async def test_an_owner_that_went_before_the_write_is_not_said_to_be_overridden(
        self, repository: CountingRepository, audit: ListedAudit
    ) -> None:
        self.autoscaled(repository, "a", 2, 5)
        ref = DeploymentRef("shop", "a")
        repository.fails = {ref: "overtaken"}

        def part(ref: DeploymentRef) -> None:
            if repository.sent == 1:
                repository.cluster.autoscalers.delete(ref)
            else:
                repository.fails.clear()

        repository.before_write = part
        service = DeploymentService(repository, audit=audit)
        scaled = await service.set_replicas(ref, ScaleBy(20), override=True)
        assert (repository.sent, scaled.owners) == (2, ())
        assert [each.overrides for each in audit.events] == [""]

    async def test_what_stays_as_it_is_is_neither_refused_nor_warned_of(
        self, repository: CountingRepository, service: DeploymentService
    ) -> None:
        self.autoscaled(repository, "a", 4, 5)
        result = await service.scale_many(of_tier(SetTo(3)))
        assert (outcomes(result), result.items[0].planned.warnings) == ({"a": "unchanged"}, ())


class TestParking:
    async def test_what_is_parked_together_comes_back_together(self, repository: CountingRepository) -> None:
        before = {"a": 1, "b": 5, "idle": 0}
        for name, count in before.items():
            repository.create(name, count)
        async with MemoryParkingLot() as lot:
            service = DeploymentService(repository, parking=lot)
            parked = await service.scale_many(of_tier(Park()))
            assert repository.counts() == {"a": 0, "b": 0, "idle": 0}
            assert {each.parked.park_id for each in service.parked()} == {parked.batch}
            plan = await service.scale_many(of_tier(Restore(parked.batch)), dry_run=True)
            assert [(each.planned.before, each.planned.after) for each in plan.items] == [(0, 1), (0, 5), (0, 0)]
            result = await service.scale_many(of_tier(Restore(parked.batch)), if_plan={plan.plan.tag})
            assert result.complete
            assert repository.counts() == before
            assert service.parked() == ()

    async def test_one_that_somebody_scaled_meanwhile_is_left_alone_and_named(
        self, repository: CountingRepository
    ) -> None:
        refs = [repository.create(name, 3) for name in ("a", "b")]
        async with MemoryParkingLot() as lot:
            service = DeploymentService(repository, parking=lot)
            await service.scale_many(of_tier(Park("night")))
            repository.cluster.scale(refs[0], 7)
            result = await service.scale_many(of_tier(Restore("night")))
            assert outcomes(result) == {"a": "unchanged", "b": "done"}
            assert "somebody scaled it since it was parked with 3" in result.items[0].planned.warnings[0]
            assert repository.counts() == {"a": 7, "b": 3}

    async def test_one_that_somebody_scaled_meanwhile_is_forgotten_and_stays_at_zero_when_somebody_stops_it(
        self, repository: CountingRepository, audit: ListedAudit
    ) -> None:
        ref = repository.create("a", 3)
        async with MemoryParkingLot() as lot:
            service = DeploymentService(repository, parking=lot, audit=audit)
            await service.scale_many(of_tier(Park("night")))
            repository.cluster.scale(ref, 7)
            await service.scale_many(of_tier(Restore("night")), dry_run=True)
            await service.scale_many(of_tier(Restore("other")))
            assert len(service.parked()) == 1, "it is another batch, or a trial"
            audit.events.clear()
            result = await service.scale_many(of_tier(Restore("night")))
            assert (outcomes(result), result.complete) == ({"a": "unchanged"}, True)
            assert service.parked() == ()
            assert [(each.verb, each.batch) for each in audit.events] == [(Verb.RESTORE, result.batch)]
            repository.cluster.scale(ref, 0)
            assert outcomes(await service.scale_many(of_tier(Restore("night")))) == {"a": "unchanged"}
            assert repository.counts() == {"a": 0}

    @pytest.mark.parametrize("replicas", [0, 3, 5])
    @pytest.mark.parametrize("by_name", [False, True])
    async def test_one_that_was_deleted_and_created_again_is_left_alone_named_and_forgotten(
        self, repository: CountingRepository, replicas: int, *, by_name: bool
    ) -> None:
        refs = [repository.create(name, 3) for name in ("a", "b")]
        restore = Restore("night")
        bulk = Bulk(tuple(BulkItem(each, restore) for each in refs)) if by_name else of_tier(restore)
        async with MemoryParkingLot() as lot:
            service = DeploymentService(repository, parking=lot)
            await service.scale_many(of_tier(Park("night")))
            repository.cluster.delete(refs[0])
            repository.create("a", replicas)
            plan = await service.scale_many(bulk, dry_run=True)
            await service.scale_many(of_tier(Restore("other")))
            assert len(service.parked()) == 2, "a trial forgets nothing, and neither does another batch"
            result = await service.scale_many(bulk, if_plan={plan.plan.tag})
            assert (outcomes(result), result.complete) == ({"a": "unchanged", "b": "done"}, True)
            (warning,) = result.items[0].planned.warnings
            assert "deleted and created again since it was parked with 3" in warning
            assert (repository.counts(), service.parked(), lot.list()) == ({"a": replicas, "b": 3}, (), ())

    async def test_one_that_is_gone_does_not_keep_the_others_of_its_batch_from_coming_back(
        self, repository: CountingRepository, audit: ListedAudit
    ) -> None:
        refs = [repository.create(name, 3) for name in ("a", "b")]
        bulk = Bulk(tuple(BulkItem(each, Restore("night")) for each in refs))
        async with MemoryParkingLot() as lot:
            service = DeploymentService(repository, parking=lot, audit=audit)
            await service.scale_many(of_tier(Park("night")))
            repository.cluster.delete(refs[0])
            plan = await service.scale_many(bulk, dry_run=True)
            assert [(each.planned.before, each.planned.after) for each in plan.items] == [(None, None), (0, 3)]
            assert len(lot.list()) == 2
            audit.events.clear()
            result = await service.scale_many(bulk)
            assert (outcomes(result), written(result)) == (
                {"a": "unchanged", "b": "done"},
                {"a": False, "b": True},
            )
            (warning,) = result.items[0].planned.warnings
            assert "does not exist any more: it was deleted since it was parked with 3" in warning
            assert (repository.counts(), lot.list()) == ({"b": 3}, ())
            assert sorted((each.name, each.outcome.value) for each in audit.events) == [
                ("a", "rejected"),
                ("b", "success"),
            ]

    async def test_a_batch_that_comes_back_forgets_those_of_it_that_are_gone_though_no_selector_finds_them(
        self, repository: CountingRepository
    ) -> None:
        gone, held, other = (repository.create(name, 3) for name in ("gone", "held", "other"))
        elsewhere = repository.create("elsewhere", 3, "billing")
        async with MemoryParkingLot() as lot:
            service = DeploymentService(repository, parking=lot)
            for ref in (gone, held, elsewhere):
                await service.park(ref, park_id="night")
            await service.park(other, park_id="else")
            for ref in (gone, other, elsewhere):
                repository.cluster.delete(ref)
            of_shop = Bulk(Selection(Restore("night"), "shop", LabelSelector.parse("tier=web")))

            async def left(service: DeploymentService, bulk: Bulk, *, dry_run: bool = False) -> set[str]:
                await service.scale_many(bulk, dry_run=dry_run)
                return {ref.name for ref, _ in lot.list()}

            assert await left(service, of_shop, dry_run=True) == {"gone", "held", "other", "elsewhere"}
            partial = DeploymentService(repository, parking=lot, sees_all=False)
            assert await left(partial, of_shop) == {"gone", "other", "elsewhere"}, "it may be out of sight"
            assert await left(service, of_shop) == {"other", "elsewhere"}
            assert await left(service, of_tier(Restore("night"))) == {"other"}
            assert await left(service, of_tier(Restore())) == set()
            assert repository.counts() == {"held": 3}

    async def test_one_that_was_never_parked_and_is_not_there_is_refused_as_ever(
        self, repository: CountingRepository
    ) -> None:
        ref = repository.create("a", 3)
        async with MemoryParkingLot() as lot:
            service = DeploymentService(repository, parking=lot)
            await service.park(ref, park_id="night")
            repository.cluster.delete(ref)
            for change in (Restore("other"), Park(), SetTo(3)):
                with pytest.raises(BulkRefused, match="not found"):
                    await service.scale_many(Bulk((BulkItem(ref, change),)))
            partial = DeploymentService(repository, parking=lot, sees_all=False)
            with pytest.raises(BulkRefused, match="not found"):
                await partial.scale_many(Bulk((BulkItem(ref, Restore("night")),)))
            assert len(lot.list()) == 1

    async def test_one_that_comes_back_after_it_was_planned_as_gone_is_left_alone(
        self, repository: CountingRepository
    ) -> None:
        ref = repository.create("a", 3)

        class Meanwhile(BulkProgress):
            def planned(self, _batch: str, _plan: Plan) -> None:
                repository.create("a", 0)

        async with MemoryParkingLot() as lot:
            service = DeploymentService(repository, parking=lot)
            await service.park(ref, park_id="night")
            repository.cluster.delete(ref)
            bulk = Bulk((BulkItem(ref, Restore("night")),))
            result = await service.scale_many(bulk, progress=Meanwhile())
            assert (outcomes(result), repository.counts()) == ({"a": "unchanged"}, {"a": 0})

    async def test_nothing_is_restored_before_it_is_known_what_is_parked(self, repository: CountingRepository) -> None:
        repository.create("a", 0)
        service = DeploymentService(repository, parking=MemoryParkingLot())
        with pytest.raises(CacheNotSynced):
            await service.scale_many(of_tier(Restore()))

    async def test_one_that_is_awake_with_its_whole_count_is_not_parked_any_more(
        self, repository: CountingRepository
    ) -> None:
        ref = repository.create("a", 3)
        async with MemoryParkingLot() as lot:
            service = DeploymentService(repository, parking=lot)
            await service.park(ref, park_id="night")
            await service.restore(ref, replicas=3)
            assert outcomes(await service.scale_many(of_tier(Restore("night")))) == {"a": "unchanged"}
            assert (repository.counts(), service.parked()) == ({"a": 3}, ())

    async def test_what_could_not_be_forgotten_is_named(self, repository: CountingRepository) -> None:
        ref = repository.create("a", 3)
        async with MemoryParkingLot() as lot:
            service = DeploymentService(repository, parking=lot)
            await service.scale_many(of_tier(Park("night")))
            repository.cluster.scale(ref, 7)
            lot.unreachable = True
            result = await service.scale_many(of_tier(Restore("night")))
            assert outcomes(result) == {"a": "unchanged"}
            assert "still remembered" in result.items[0].warnings[0]

    async def test_what_an_owner_will_do_is_said_once(self, repository: CountingRepository) -> None:
        ref = repository.create("a", 3)
        repository.cluster.autoscalers.put(ref, "a", least=2, most=5)
        async with MemoryParkingLot() as lot:
            result = await DeploymentService(repository, parking=lot).scale_many(of_tier(Park("night")))
        said = [*result.items[0].planned.warnings, *result.items[0].warnings]
        assert [("stops scaling" in each) for each in said] == [True]

    async def test_a_park_that_is_overtaken_is_not_done(self, repository: CountingRepository) -> None:
        ref = repository.create("a", 3)
        repository.fails = {ref: "overtaken"}
        async with MemoryParkingLot() as lot:
            service = DeploymentService(repository, parking=lot)
            result = await service.scale_many(of_tier(Park("night")))
            assert (outcomes(result), repository.counts()) == ({"a": "failed"}, {"a": 77})
            assert service.parked() == ()

    async def test_without_a_place_to_remember_nothing_is_parked(self, service: DeploymentService) -> None:
        for change in (Park(), Restore()):
            with pytest.raises(ParkingOff):
                await service.scale_many(of_tier(change))


async def test_an_item_keeps_what_it_expects_until_it_is_written(repository: CountingRepository) -> None:
    ref = repository.create("a", 1)
    held = repository.get(ref)
    expect = Expect(held.resource_version, 1, held.uid)
    repository.before_write = lambda _: repository.cluster.report(ref, current=1)
    result = await DeploymentService(repository).scale_many(Bulk((BulkItem(ref, SetTo(2), expect),)), caller=LOCAL)
    assert (outcomes(result), repository.counts()) == ({"a": "failed"}, {"a": 1})
    assert expect != ANY
