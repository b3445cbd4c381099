"""Relative changes, expectations and dry runs: judged by their result, refused by the cluster, recorded once."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import (
    ANY,
    AuditUnavailable,
    Caller,
    ClusterUnreachable,
    Contended,
    Deployment,
    DeploymentNotFound,
    DeploymentRef,
    DeploymentService,
    Expect,
    Forbidden,
    InvalidChange,
    InvalidName,
    InvalidReplicas,
    OnBound,
    Outcome,
    OutOfBounds,
    PreconditionFailed,
    ScaleBy,
    SetTo,
    Verb,
    WriteConflict,
)
from kdm_core.trail import to_line
from unit.core.fixtures import ALICE, WEB, Clock, ListedAudit, Meter, grant, policy

SCALE = Verb.SCALE
A_LOT = 2**31


class OthersWrite(MemoryDeploymentRepository):
    """A cluster in which others change the count just before each write arrives."""

    others = 1

    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, expect: Expect = ANY, dry_run: bool = False
    ) -> Deployment:
        if self.others:
            self.others -= 1
            self.cluster.scale(ref, self.cluster.deployments[ref].replicas.desired + 10)
        return await super().set_replicas(ref, replicas, expect=expect, dry_run=dry_run)


class Hangs(MemoryDeploymentRepository):
    """A cluster whose writes hang until a test lets them go on."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = asyncio.Event()
        self.go_on = asyncio.Event()

    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, expect: Expect = ANY, dry_run: bool = False
    ) -> Deployment:
        self.arrived.set()
        await self.go_on.wait()
        return await super().set_replicas(ref, replicas, expect=expect, dry_run=dry_run)


class Moves(MemoryDeploymentRepository):
    """A cluster in which a Deployment gets another label, and another count, just before a write arrives."""

    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, expect: Expect = ANY, dry_run: bool = False
    ) -> Deployment:
        self.cluster.relabel(ref, {"team": "others"})
        self.cluster.scale(ref, 7)
        return await super().set_replicas(ref, replicas, expect=expect, dry_run=dry_run)


def stored(repository: MemoryDeploymentRepository, ref: DeploymentRef = WEB) -> int:
    return repository.cluster.deployments[ref].replicas.desired


class TestRelativeChanges:
    async def test_are_relative_to_what_is_there(
        self, repository: MemoryDeploymentRepository, audit: ListedAudit
    ) -> None:
        service = DeploymentService(repository, audit=audit)

        more = await service.set_replicas(WEB, ScaleBy(4), caller=Caller(ALICE, "r1"))
        fewer = await service.set_replicas(WEB, ScaleBy(-2))
        none = await service.set_replicas(WEB, ScaleBy(0))

        assert [(each.previous, each.replicas, each.changed) for each in (more, fewer, none)] == [
            (3, 7, True),
            (7, 5, True),
            (5, 5, False),
        ]
        assert stored(repository) == service.get(WEB).replicas.desired == 5
        first = audit.events[0]
        assert (first.actor, first.request_id, first.old_replicas, first.new_replicas) == (ALICE, "r1", 3, 7)
        assert len(audit.events) == 3

    @pytest.mark.parametrize(
        ("change", "result"),
        [
            (ScaleBy(7), 10),
            (ScaleBy(8), None),
            (ScaleBy(-3), 0),
            (ScaleBy(-4), None),
            (ScaleBy(-3, min=1), None),
            (ScaleBy(3, max=5), None),
            (ScaleBy(100, max=500), None),
            (ScaleBy(8, on_bound=OnBound.CLAMP), 10),
            (ScaleBy(3, max=5, on_bound=OnBound.CLAMP), 5),
            (ScaleBy(-9, on_bound=OnBound.CLAMP), 0),
            (ScaleBy(-9, min=2, on_bound=OnBound.CLAMP), 2),
            # Past a bound already: a step back is one, but nothing goes the other way.
            (ScaleBy(1, max=2, on_bound=OnBound.CLAMP), 3),
            (ScaleBy(-1, max=1, on_bound=OnBound.CLAMP), 1),
            (ScaleBy(-1, min=5, on_bound=OnBound.CLAMP), 3),
            (ScaleBy(1, min=5, on_bound=OnBound.CLAMP), 5),
            # Nothing was asked for: no bound makes a step of it.
            (ScaleBy(0, max=2, on_bound=OnBound.CLAMP), 3),
            (ScaleBy(0, min=5, on_bound=OnBound.CLAMP), 3),
        ],
    )
    async def test_stay_within_bounds(
        self, repository: MemoryDeploymentRepository, change: ScaleBy, result: int | None
    ) -> None:
        service = DeploymentService(repository, max_replicas=10)
        if result is None:
            with pytest.raises(OutOfBounds, match="has 3 replicas"):
                await service.set_replicas(WEB, change)
        else:
            assert (await service.set_replicas(WEB, change)).replicas == result
        assert stored(repository) == (3 if result is None else result)

    @pytest.mark.parametrize(
        "change",
        [
            ScaleBy(True),
            ScaleBy(1.5),  # type: ignore[arg-type] # that is the point
            ScaleBy(A_LOT),
            ScaleBy(1, min=-1),
            ScaleBy(1, max=A_LOT),
            ScaleBy(1, min=5, max=4),
            ScaleBy(1, min=11),
        ],
    )
    async def test_that_can_never_be_right_are_refused(
        self, repository: MemoryDeploymentRepository, audit: ListedAudit, change: ScaleBy
    ) -> None:
        with pytest.raises(InvalidChange):
            await DeploymentService(repository, audit=audit, max_replicas=10).set_replicas(WEB, change)
        assert [each.outcome for each in audit.events] == [Outcome.REJECTED]

    async def test_are_judged_by_the_policy_for_their_result(
        self, repository: MemoryDeploymentRepository, audit: ListedAudit
    ) -> None:
        allowed = policy(grant("alice", SCALE, maximum=5))
        service = DeploymentService(repository, policy=allowed, audit=audit)

        await service.set_replicas(WEB, ScaleBy(2), caller=Caller(ALICE))
        with pytest.raises(Forbidden, match="to 6 replicas"):
            await service.set_replicas(WEB, ScaleBy(1), caller=Caller(ALICE))
        with pytest.raises(Forbidden):
            await service.set_replicas(WEB, ScaleBy(1), caller=Caller(ALICE.__class__("mallory")))

        assert stored(repository) == 5
        assert [each.outcome for each in audit.events] == [Outcome.SUCCESS, Outcome.DENIED, Outcome.DENIED]

    async def test_tell_nobody_without_permission_what_is_there(self, repository: MemoryDeploymentRepository) -> None:
        """Neither the count, which the bounds would give away, nor whether there is one."""
        service = DeploymentService(repository, policy=policy(grant("alice", SCALE, names="api")))
        for name in ("web", "nothing"):
            with pytest.raises(Forbidden) as raised:
                await service.set_replicas(DeploymentRef("shop", name), ScaleBy(-100), caller=Caller(ALICE))
            assert str(raised.value).endswith(f"on Deployment 'shop/{name}'")

    async def test_count_from_what_others_made_of_it_meanwhile(self) -> None:
        async with OthersWrite() as repository:
            repository.cluster.create(WEB, 3)
            scaled = await DeploymentService(repository).set_replicas(WEB, ScaleBy(1))
            assert (scaled.previous, scaled.replicas) == (13, 14)

    async def test_are_judged_again_when_others_change_the_count(self) -> None:
        async with OthersWrite() as repository:
            repository.cluster.create(WEB, 3)
            service = DeploymentService(repository, max_replicas=10)
            with pytest.raises(OutOfBounds, match="has 13 replicas"):
                await service.set_replicas(WEB, ScaleBy(1))
            assert stored(repository) == 13

    async def test_whose_turn_does_not_come_say_for_certain_that_nothing_was_written(self, audit: ListedAudit) -> None:
        """The one before hangs: to wait for it until a deadline would leave open what happened."""
        async with Hangs() as repository:
            repository.cluster.create(WEB, 3)
            service = DeploymentService(repository, audit=audit, contention_timeout_s=0.01)
            first = asyncio.ensure_future(service.set_replicas(WEB, ScaleBy(1)))
            await repository.arrived.wait()
            with pytest.raises(Contended, match="its turn did not come in time") as raised:
                await service.set_replicas(WEB, ScaleBy(1))
            assert (raised.value.written, raised.value.retryable) == (False, True)
            repository.go_on.set()
            assert (await first).replicas == 4
            assert (await service.set_replicas(WEB, ScaleBy(1))).replicas == 5

    async def test_give_up_when_others_never_stop(self, audit: ListedAudit, clock: Clock) -> None:
        async def sleep(seconds: float) -> None:
            assert 0 <= seconds <= 0.5
            clock.now_s += 1.0

        async with OthersWrite() as repository:
            repository.others = 1000
            repository.cluster.create(WEB, 3)
            service = DeploymentService(
                repository, audit=audit, max_replicas=A_LOT - 1, clock=clock, sleep=sleep, contention_timeout_s=5.0
            )
            with pytest.raises(Contended, match=r"'shop/web' is being changed by others: \d+ attempts") as raised:
                await service.set_replicas(WEB, ScaleBy(1))
        assert raised.value.attempts == 6
        assert raised.value.written is False
        assert [each.outcome for each in audit.events] == [Outcome.FAILED]

    async def test_do_not_try_again_what_the_caller_did_not_expect(self) -> None:
        for expect in (Expect(replicas=3), Expect(uid="another"), Expect(resource_version="1")):
            async with OthersWrite() as repository:
                repository.cluster.create(WEB, 3)
                with pytest.raises(WriteConflict):
                    await DeploymentService(repository).set_replicas(WEB, ScaleBy(1), expect=expect)
                assert stored(repository) in {3, 13}

    async def test_of_what_does_not_exist(self, repository: MemoryDeploymentRepository) -> None:
        service = DeploymentService(repository)
        with pytest.raises(DeploymentNotFound):
            await service.set_replicas(DeploymentRef("shop", "nothing"), ScaleBy(1))
        with pytest.raises(InvalidName):
            await service.set_replicas(DeploymentRef("shop", "No_Name"), ScaleBy(1))

    async def test_fail_as_any_write_does(self, repository: MemoryDeploymentRepository) -> None:
        repository.faults.unreachable = True
        with pytest.raises(ClusterUnreachable):
            await DeploymentService(repository).set_replicas(WEB, ScaleBy(1))

    @given(
        st.integers(-20, 20), st.integers(0, 12), st.integers(0, 12) | st.none(), st.integers(0, 15), st.integers(0, 12)
    )
    def test_a_clamped_result_never_goes_the_other_way(
        self, delta: int, low: int, high: int | None, current: int, maximum: int
    ) -> None:
        """Nor further than it was asked to, unless the bound lies there."""
        change = ScaleBy(delta, low, high, OnBound.CLAMP)
        try:
            change.check(maximum)
        except InvalidChange:
            return
        result = change.result(WEB, current, maximum)
        assert (result - current) * delta >= 0
        assert delta or result == current
        top = maximum if high is None else min(high, maximum)
        assert result in {current, current + delta, low, top}
        if low <= current <= top:
            assert low <= result <= top


class TestWhatMovedToOthers:
    """A Deployment whose labels take it out of the caller's reach while a write is under way."""

    @pytest.mark.parametrize(
        ("change", "expect"),
        [
            (SetTo(5), Expect(replicas=3)),
            (ScaleBy(1), ANY),
            (ScaleBy(1), Expect(replicas=3)),
            (SetTo(5), Expect(uid="x")),
        ],
    )
    async def test_is_neither_shown_nor_written(
        self, audit: ListedAudit, change: SetTo | ScaleBy, expect: Expect
    ) -> None:
        async with Moves() as repository:
            repository.cluster.create(WEB, 3, labels={"team": "ours"})
            mine = policy(grant("alice", Verb.READ, SCALE, team="ours"))
            service = DeploymentService(repository, policy=mine, audit=audit)
            with pytest.raises(Forbidden) as raised:
                await service.set_replicas(WEB, change, expect=expect, caller=Caller(ALICE))
            assert raised.value.written is False
            assert "7" not in str(raised.value)
            assert stored(repository) == 7
            assert [each.outcome for each in audit.events] == [Outcome.DENIED]


class TestExpectations:
    async def test_are_the_clusters_to_judge(self, repository: MemoryDeploymentRepository, audit: ListedAudit) -> None:
        service = DeploymentService(repository, audit=audit)
        repository.break_watch()
        repository.cluster.scale(WEB, 8)

        with pytest.raises(WriteConflict, match="8 replicas, not 3"):
            await service.set_replicas(WEB, SetTo(5), expect=Expect(replicas=3))
        scaled = await service.set_replicas(WEB, SetTo(5), expect=Expect(replicas=8))

        assert (scaled.previous, scaled.replicas) == (8, 5)
        assert [each.outcome for each in audit.events] == [Outcome.REJECTED, Outcome.SUCCESS]

    @pytest.mark.parametrize("replicas", [-1, A_LOT, True])
    def test_of_a_count_that_is_none_are_refused(self, replicas: int) -> None:
        with pytest.raises(InvalidReplicas):
            Expect(replicas=replicas)

    async def test_a_condition_is_judged_once_the_caller_may_write(
        self, repository: MemoryDeploymentRepository
    ) -> None:
        def refuse(_: Deployment) -> None:
            raise PreconditionFailed("never")

        service = DeploymentService(repository, policy=policy(grant("alice", SCALE)))
        for change in (SetTo(5), ScaleBy(1)):
            with pytest.raises(PreconditionFailed):
                await service.set_replicas(WEB, change, caller=Caller(ALICE), condition=refuse)
            with pytest.raises(Forbidden):
                await service.set_replicas(WEB, change, condition=refuse)
        assert stored(repository) == 3


class TestDryRuns:
    @pytest.mark.parametrize("change", [SetTo(5), ScaleBy(2)])
    async def test_store_nothing_and_are_recorded_as_what_they_are(
        self, repository: MemoryDeploymentRepository, audit: ListedAudit, change: SetTo | ScaleBy
    ) -> None:
        meter = Meter()
        service = DeploymentService(repository, audit=audit, instrument=meter)

        scaled = await service.set_replicas(WEB, change, dry_run=True)

        assert (scaled.previous, scaled.replicas, scaled.changed, scaled.dry_run) == (3, 5, True, True)
        assert stored(repository) == service.get(WEB).replicas.desired == 3
        (event,) = audit.events
        assert (event.dry_run, event.outcome, event.new_replicas) == (True, Outcome.SUCCESS, 5)
        assert json.loads(to_line(event))["dry_run"] is True
        assert [each for each, _ in meter.writes] == ["success"]

    async def test_that_could_not_be_recorded_did_not_write(
        self, repository: MemoryDeploymentRepository, audit: ListedAudit
    ) -> None:
        audit.full_at_record = True
        with pytest.raises(AuditUnavailable, match="the dry run was done, but not recorded") as raised:
            await DeploymentService(repository, audit=audit).set_replicas(WEB, SetTo(5), dry_run=True)
        assert raised.value.written is False
        with pytest.raises(AuditUnavailable, match="the write was done, but not recorded") as raised:
            await DeploymentService(repository, audit=audit).set_replicas(WEB, SetTo(5))
        assert raised.value.written is True
