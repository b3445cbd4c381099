"""Why a change is made: checked, audited, demanded where a grant says so; and what is known of a write that failed."""

from __future__ import annotations

import json

import pytest
from attrs import evolve

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import (
    ALLOW_ALL,
    ANY,
    Caller,
    ClusterTimeout,
    ClusterUnrecognized,
    Deployment,
    DeploymentRef,
    DeploymentService,
    Expect,
    Forbidden,
    InvalidChange,
    KdmError,
    Outcome,
    Policy,
    ReasonRequired,
    ScaleBy,
    SetTo,
    Verb,
    WriteConflict,
)
from kdm_core.trail import to_line
from unit.core.fixtures import ALICE, MALLORY, WEB, ListedAudit, Timers, grant, policy

CALLER = Caller(ALICE)
DEMANDING = evolve(grant("alice", Verb.READ, Verb.SCALE), require_reason=True)


@pytest.fixture
def audit() -> ListedAudit:
    return ListedAudit()


def made(repository: MemoryDeploymentRepository, audit: ListedAudit, rules: Policy = ALLOW_ALL) -> DeploymentService:
    timers = Timers()

    async def sleep(seconds: float) -> None:
        timers.now_s += max(seconds, 0.01)

    return DeploymentService(repository, policy=rules, audit=audit, clock=timers, sleep=sleep)


@pytest.mark.parametrize("change", [SetTo(5), ScaleBy(2)])
async def test_a_reason_is_audited(
    repository: MemoryDeploymentRepository, audit: ListedAudit, change: SetTo | ScaleBy
) -> None:
    await made(repository, audit).set_replicas(WEB, change, caller=CALLER, reason="  sale, für alle 🎉 ")
    (event,) = audit.events
    assert (event.change_reason, event.reason, event.outcome) == ("sale, für alle 🎉", "", Outcome.SUCCESS)
    line = to_line(event)
    assert line.isascii()
    assert json.loads(line)["change_reason"] == "sale, für alle 🎉"


async def test_without_a_reason_the_trail_is_as_before(
    repository: MemoryDeploymentRepository, audit: ListedAudit
) -> None:
    await made(repository, audit).set_replicas(WEB, SetTo(5))
    assert "change_reason" not in json.loads(to_line(audit.events[0]))


@pytest.mark.parametrize(
    "reason", ["a\nb", "a\x1b[2Jb", "a\0", "\u2028x\u2028y", "a\x7fb", "\ud800", "x" * 257, "a\u202eb", "a\u2066b"]
)
async def test_a_reason_is_one_line_of_at_most_256_characters(
    repository: MemoryDeploymentRepository, audit: ListedAudit, reason: str
) -> None:
    with pytest.raises(InvalidChange, match="reason: must"):
        await made(repository, audit).set_replicas(WEB, SetTo(5), reason=reason)
    assert repository.get(WEB).replicas.desired == 3
    assert [(each.outcome, each.change_reason) for each in audit.events] == [(Outcome.REJECTED, "")]
    await made(repository, audit).set_replicas(WEB, SetTo(5), reason="x" * 256)


class TestDemanded:
    """Where a grant demands a reason."""

    @pytest.mark.parametrize("change", [SetTo(5), ScaleBy(2)])
    @pytest.mark.parametrize("reason", ["", "   "])
    @pytest.mark.parametrize("dry_run", [False, True])
    async def test_a_write_without_one_is_refused(
        self,
        repository: MemoryDeploymentRepository,
        audit: ListedAudit,
        change: SetTo | ScaleBy,
        reason: str,
        *,
        dry_run: bool,
    ) -> None:
        service = made(repository, audit, policy(DEMANDING))
        with pytest.raises(ReasonRequired) as raised:
            await service.set_replicas(WEB, change, caller=CALLER, reason=reason, dry_run=dry_run)
        assert (raised.value.code, raised.value.written) == ("reason-required", False)
        assert str(raised.value).endswith("without a reason")
        assert repository.get(WEB).replicas.desired == 3
        (event,) = audit.events
        assert (event.outcome, event.dry_run) == (Outcome.DENIED, dry_run)
        await service.set_replicas(WEB, change, caller=CALLER, reason="sale", dry_run=dry_run)

    async def test_who_may_not_write_at_all_does_not_learn_of_it(
        self, repository: MemoryDeploymentRepository, audit: ListedAudit
    ) -> None:
        with pytest.raises(Forbidden) as raised:
            await made(repository, audit, policy(DEMANDING)).set_replicas(WEB, SetTo(5), caller=Caller(MALLORY))
        assert type(raised.value) is Forbidden

    async def test_another_grant_that_demands_none_is_enough(
        self, repository: MemoryDeploymentRepository, audit: ListedAudit
    ) -> None:
        service = made(repository, audit, policy(DEMANDING, grant("alice", Verb.SCALE, maximum=5)))
        await service.set_replicas(WEB, SetTo(5), caller=CALLER)
        with pytest.raises(ReasonRequired):
            await service.set_replicas(WEB, SetTo(6), caller=CALLER)

    async def test_a_name_is_resolved_with_one_alone(
        self, repository: MemoryDeploymentRepository, audit: ListedAudit
    ) -> None:
        service = made(repository, audit, policy(DEMANDING))
        for namespace in ("shop", "*"):
            with pytest.raises(ReasonRequired):
                service.resolve("web", namespace, Verb.SCALE, CALLER, SetTo(5))
            assert service.resolve("web", namespace, Verb.SCALE, CALLER, SetTo(5), "sale") == WEB
        assert service.get(WEB, CALLER).replicas.desired == 3, "reading needs none"


class Scripted(MemoryDeploymentRepository):
    """Fails in the order it is given, first its writes, then its look-ups."""

    def __init__(self, writes: list[KdmError], fetches: list[KdmError]) -> None:
        super().__init__()
        self.cluster.create(WEB, 3)
        self.cluster.settle(WEB)
        self._writes = writes
        self._fetches = fetches
        self.sent = 0

    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, expect: Expect = ANY, dry_run: bool = False
    ) -> Deployment:
        self.sent += 1
        if self._writes:
            raise self._writes.pop(0)
        return await super().set_replicas(ref, replicas, expect=expect, dry_run=dry_run)

    async def fetch(self, ref: DeploymentRef) -> Deployment:
        if self._fetches:
            raise self._fetches.pop(0)
        return await super().fetch(ref)


class TestWritten:
    """Whether a write that failed was stored: what a client that tries again must know."""

    @pytest.mark.parametrize("error", [ClusterTimeout("m"), ClusterUnrecognized("m")], ids=lambda e: e.code)
    @pytest.mark.parametrize(("dry_run", "written"), [(False, None), (True, False)])
    async def test_a_write_that_may_have_been_stored(
        self, audit: ListedAudit, error: KdmError, *, dry_run: bool, written: bool | None
    ) -> None:
        async with Scripted([type(error)("m")], []) as repository:
            with pytest.raises(type(error)) as raised:
                await made(repository, audit).set_replicas(WEB, SetTo(5), dry_run=dry_run)
        assert raised.value.written is written
        assert audit.events[0].dry_run is dry_run

    async def test_a_look_up_that_failed_after_a_conflict_stored_nothing(self, audit: ListedAudit) -> None:
        async with Scripted([WriteConflict("m")], [ClusterTimeout("m")]) as repository:
            with pytest.raises(ClusterTimeout) as raised:
                await made(repository, audit).set_replicas(WEB, ScaleBy(1))
        assert raised.value.written is False

    @pytest.mark.parametrize("change", [SetTo(5), ScaleBy(2)])
    async def test_a_conflict_with_a_status_that_somebody_writes_is_none(
        self, audit: ListedAudit, change: SetTo | ScaleBy
    ) -> None:
        """The API server gives up on a patch that meets five other writes: count and uid are as expected all along."""
        async with Scripted([], []) as repository:
            held = repository.get(WEB)
            repository._writes += [WriteConflict("m", held) for _ in range(7)]
            scaled = await made(repository, audit).set_replicas(WEB, change, expect=Expect(replicas=3, uid=held.uid))
            assert (scaled.previous, scaled.replicas, repository.sent) == (3, 5, 8)
        assert [each.outcome for each in audit.events] == [Outcome.SUCCESS]

    async def test_a_conflict_that_does_not_end_is_one_in_the_end(self, audit: ListedAudit) -> None:
        async with Scripted([], []) as repository:
            held = repository.get(WEB)
            repository._writes += [WriteConflict("m", held) for _ in range(10_000)]
            with pytest.raises(WriteConflict) as raised:
                await made(repository, audit).set_replicas(WEB, SetTo(5), expect=Expect(replicas=3))
        assert raised.value.written is False

    async def test_a_conflict_with_another_count_is_not_tried_again(self, audit: ListedAudit) -> None:
        async with Scripted([], []) as repository:
            with pytest.raises(WriteConflict):
                await made(repository, audit).set_replicas(WEB, SetTo(5), expect=Expect(replicas=4))
            assert repository.sent == 1
