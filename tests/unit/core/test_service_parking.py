"""Parking remembers a count and goes to zero; restoring brings back what was remembered, and nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_adapters.memory.parking import MemoryParkingLot
from kdm_core import (
    AuditUnavailable,
    Bulk,
    BulkItem,
    BulkRefused,
    Caller,
    ChangedSinceParked,
    ClusterUnreachable,
    DeploymentNotFound,
    DeploymentRef,
    DeploymentService,
    Forbidden,
    InvalidChange,
    InvalidReplicas,
    LabelSelector,
    NothingToPark,
    NotParked,
    Outcome,
    Park,
    ParkedState,
    ParkingFull,
    ParkingOff,
    ParkingRecordUnreadable,
    Query,
    ReasonRequired,
    Verb,
    WriteForbidden,
)
from kdm_core.parked import Parked
from kdm_core.policy import Globs, Grant, ReplicaBounds, Subjects
from kdm_core.trail import to_line
from unit.core.fixtures import ALICE, WEB, ListedAudit, policy, turns

API = DeploymentRef("shop", "api")
BY_ALICE = Caller(ALICE, "4f2c")


@pytest.fixture
async def lot() -> AsyncIterator[MemoryParkingLot]:
    async with MemoryParkingLot() as lot:
        yield lot


@pytest.fixture
def service(repository: MemoryDeploymentRepository, lot: MemoryParkingLot, audit: ListedAudit) -> DeploymentService:
    return DeploymentService(repository, parking=lot, audit=audit, max_replicas=50)


def desired(repository: MemoryDeploymentRepository, ref: DeploymentRef = WEB) -> int:
    return repository.cluster.deployments[ref].replicas.desired


class TestPark:
    async def test_remembers_the_count_and_goes_to_zero(
        self, service: DeploymentService, repository: MemoryDeploymentRepository
    ) -> None:
        parking = await service.park(WEB, caller=BY_ALICE, park_id="night", reason="nobody works")

        assert desired(repository) == 0
        assert (parking.previous, parking.replicas, parking.changed) == (3, 0, True)
        parked = service.get(WEB).parked
        assert parked == parking.parked
        assert parked is not None
        assert (parked.replicas, parked.by, parked.reason, parked.park_id) == (3, "alice", "nobody works", "night")

    async def test_what_could_not_be_restored_is_not_parked(
        self, service: DeploymentService, repository: MemoryDeploymentRepository
    ) -> None:
        """Somebody else may set more than ``max_replicas``, which holds for a restore as for any write."""
        repository.cluster.scale(WEB, 51)
        await turns()
        with pytest.raises(InvalidChange, match=r"has 51 replicas.* is 50: parked"):
            await service.park(WEB)
        with pytest.raises(BulkRefused, match=r"has 51 replicas.* is 50: parked"):
            await service.scale_many(Bulk((BulkItem(WEB, Park()),)))
        assert (desired(repository), service.parked()) == (51, ())

    async def test_what_is_parked_already_stays_as_it_is(
        self, service: DeploymentService, repository: MemoryDeploymentRepository
    ) -> None:
        first = await service.park(WEB, park_id="monday")
        await turns()
        version = repository.cluster.version

        again = await service.park(WEB, park_id="tuesday")

        assert (again.changed, again.parked) == (False, first.parked)
        assert repository.cluster.version == version

    async def test_at_zero_without_a_record_there_is_nothing_to_park(
        self, service: DeploymentService, repository: MemoryDeploymentRepository, lot: MemoryParkingLot
    ) -> None:
        repository.cluster.scale(WEB, 0)

        with pytest.raises(NothingToPark):
            await service.park(WEB)
        assert lot.list() == ()

    async def test_a_park_that_is_under_way_gets_its_turn_and_the_other_answers_with_its_record(
        self, repository: MemoryDeploymentRepository, lot: MemoryParkingLot
    ) -> None:
        held = repository.get(WEB)
        theirs = Parked(held.uid, 3, 1, "bob", park_id="theirs", version=held.resource_version, token="1")
        lot.records.put(WEB, theirs)
        seen: list[Parked | None] = []
        lot.records.watchers.append(lambda _, parked: seen.append(parked))

        async def pause(_: float) -> None:
            repository.cluster.scale(WEB, 0)  # what the other one does next

        answer = await DeploymentService(repository, parking=lot, sleep=pause).park(WEB, park_id="ours")
        assert (answer.changed, answer.parked, seen) == (False, theirs, [])

    async def test_a_park_that_was_cut_short_is_replaced(
        self, repository: MemoryDeploymentRepository, lot: MemoryParkingLot
    ) -> None:
        held = repository.get(WEB)
        lot.records.put(WEB, Parked(held.uid, 3, 1, "bob", park_id="theirs", version=held.resource_version, token="1"))

        answer = await DeploymentService(repository, parking=lot).park(WEB, park_id="ours")
        assert (answer.changed, desired(repository)) == (True, 0)
        assert [each.park_id for _, each in lot.list()] == ["ours"]

    async def test_a_refused_write_takes_the_record_back(
        self, service: DeploymentService, repository: MemoryDeploymentRepository, lot: MemoryParkingLot
    ) -> None:
        repository.faults.forbidden = True

        with pytest.raises(WriteForbidden):
            await service.park(WEB)
        assert (lot.list(), service.get(WEB).parked) == ((), None)

    async def test_an_answer_that_is_lost_leaves_the_record(
        self, service: DeploymentService, repository: MemoryDeploymentRepository
    ) -> None:
        repository.faults.answer_lost = True
        with pytest.raises(Exception, match="in time") as caught:
            await service.park(WEB)
        assert getattr(caught.value, "written", False) is None
        repository.faults.answer_lost = False

        again = await service.park(WEB)

        assert (again.changed, again.replicas) == (False, 0)
        assert (await service.restore(WEB)).replicas == 3

    async def test_without_the_lot_nothing_is_parked(
        self, service: DeploymentService, repository: MemoryDeploymentRepository, lot: MemoryParkingLot
    ) -> None:
        lot.unreachable = True

        with pytest.raises(ClusterUnreachable) as caught:
            await service.park(WEB)
        assert caught.value.written is False
        assert desired(repository) == 3

    async def test_a_full_lot_parks_nothing(
        self, service: DeploymentService, repository: MemoryDeploymentRepository, lot: MemoryParkingLot
    ) -> None:
        lot.records.limit = 0

        with pytest.raises(ParkingFull):
            await service.park(WEB)
        assert desired(repository) == 3

    async def test_a_record_that_cannot_be_read_is_kept_and_named(
        self, service: DeploymentService, lot: MemoryParkingLot
    ) -> None:
        await service.park(WEB)
        lot.records.damaged.add(WEB)

        for call in (service.park, service.restore):
            with pytest.raises(ParkingRecordUnreadable, match="it is kept"):
                await call(WEB)
        assert WEB in lot.records.records
        assert service.parking_status().unreadable

    async def test_a_dry_run_stores_nothing(
        self, service: DeploymentService, repository: MemoryDeploymentRepository, lot: MemoryParkingLot
    ) -> None:
        trial = await service.park(WEB, dry_run=True)

        assert (trial.previous, trial.replicas, trial.changed, trial.dry_run) == (3, 0, True, True)
        assert (desired(repository), lot.list()) == (3, ())

    async def test_without_a_lot_it_says_that_it_does_not_park(self, repository: MemoryDeploymentRepository) -> None:
        service = DeploymentService(repository)

        assert not service.parks
        for call in (service.park, service.restore):
            with pytest.raises(ParkingOff):
                await call(WEB)
        with pytest.raises(ParkingOff):
            service.parked()

    @pytest.mark.parametrize("park_id", ["", "-a", "a b", "a" * 64, "über", "a\n"])
    async def test_a_park_id_that_is_none_is_refused(self, service: DeploymentService, park_id: str) -> None:
        with pytest.raises(InvalidChange, match="parkId"):
            await service.park(WEB, park_id=park_id)


class TestRestore:
    async def test_brings_the_count_back_and_forgets_it(
        self, service: DeploymentService, repository: MemoryDeploymentRepository, lot: MemoryParkingLot
    ) -> None:
        await service.park(WEB)

        back = await service.restore(WEB)

        assert (back.previous, back.replicas, back.changed, back.parked) == (0, 3, True, None)
        assert (desired(repository), lot.list(), service.get(WEB).parked) == (3, (), None)
        with pytest.raises(NotParked):
            await service.restore(WEB)

    async def test_only_its_own_batch(self, service: DeploymentService, repository: MemoryDeploymentRepository) -> None:
        await service.park(WEB, park_id="monday")

        with pytest.raises(NotParked, match="'monday'"):
            await service.restore(WEB, park_id="tuesday")
        assert desired(repository) == 0
        assert (await service.restore(WEB, park_id="monday")).replicas == 3

    async def test_leaves_alone_what_somebody_has_scaled_and_names_both_counts(
        self, service: DeploymentService, repository: MemoryDeploymentRepository, lot: MemoryParkingLot
    ) -> None:
        await service.park(WEB)
        repository.cluster.scale(WEB, 2)

        with pytest.raises(ChangedSinceParked, match=r"with 2 replicas\. It had 3; that is forgotten now") as caught:
            await service.restore(WEB)
        assert (caught.value.current, caught.value.parked) == (2, 3)
        assert (desired(repository), lot.list()) == (2, ())

    async def test_a_dry_run_forgets_nothing(
        self, service: DeploymentService, repository: MemoryDeploymentRepository, lot: MemoryParkingLot
    ) -> None:
        await service.park(WEB)
        assert (await service.restore(WEB, dry_run=True)).replicas == 3
        repository.cluster.scale(WEB, 2)
        with pytest.raises(ChangedSinceParked) as caught:
            await service.restore(WEB, dry_run=True)
        assert not caught.value.forgotten
        assert len(lot.list()) == 1

    async def test_leaves_alone_what_was_made_again(
        self, service: DeploymentService, repository: MemoryDeploymentRepository, lot: MemoryParkingLot
    ) -> None:
        await service.park(WEB)
        repository.cluster.create(WEB, 0)

        with pytest.raises(ChangedSinceParked, match="created again"):
            await service.restore(WEB)
        assert (desired(repository), lot.list()) == (0, ())

    async def test_forgets_what_is_gone(
        self, service: DeploymentService, repository: MemoryDeploymentRepository, lot: MemoryParkingLot
    ) -> None:
        await service.park(WEB)
        repository.cluster.delete(WEB)

        with pytest.raises(DeploymentNotFound):
            await service.restore(WEB)
        assert lot.list() == ()

    async def test_keeps_what_is_only_out_of_sight(
        self, repository: MemoryDeploymentRepository, lot: MemoryParkingLot
    ) -> None:
        """A repository with a selector does not have what others still have: it must not forget it for them."""
        service = DeploymentService(repository, parking=lot, sees_all=False)
        await service.park(WEB)
        repository.cluster.delete(WEB)

        with pytest.raises(DeploymentNotFound):
            await service.restore(WEB)
        assert len(lot.list()) == 1
        assert service.parked() == ()

    async def test_a_crash_before_the_last_step_is_made_good_by_the_next_restore(
        self, service: DeploymentService, repository: MemoryDeploymentRepository, lot: MemoryParkingLot
    ) -> None:
        await service.park(WEB)
        repository.cluster.scale(WEB, 3)  # what a restore writes before its record goes

        again = await service.restore(WEB)

        assert (again.changed, again.replicas, lot.list()) == (False, 3, ())

    async def test_wakes_one_and_keeps_the_record(
        self, service: DeploymentService, repository: MemoryDeploymentRepository
    ) -> None:
        await service.park(WEB)

        awake = await service.restore(WEB, replicas=1)

        assert (awake.replicas, desired(repository)) == (1, 1)
        assert awake.parked is not None
        assert awake.parked.replicas == 3
        assert [each.state for each in service.parked()] == [ParkedState.WOKEN]
        assert not (await service.restore(WEB, replicas=1)).changed

    async def test_what_was_woken_goes_back_to_sleep_with_the_count_it_had(
        self, service: DeploymentService, repository: MemoryDeploymentRepository
    ) -> None:
        await service.park(WEB)
        await service.restore(WEB, replicas=1)

        await service.park(WEB, park_id="tuesday")

        assert desired(repository) == 0
        assert (await service.restore(WEB, park_id="tuesday")).replicas == 3

    async def test_what_was_woken_comes_back_whole(self, service: DeploymentService, lot: MemoryParkingLot) -> None:
        await service.park(WEB)
        await service.restore(WEB, replicas=1)

        assert (await service.restore(WEB)).replicas == 3
        assert lot.list() == ()

    @pytest.mark.parametrize(("replicas", "error"), [(0, InvalidChange), (51, InvalidReplicas), (-1, InvalidReplicas)])
    async def test_wakes_with_a_count_that_is_allowed(
        self, service: DeploymentService, replicas: int, error: type[Exception]
    ) -> None:
        await service.park(WEB)
        with pytest.raises(error):
            await service.restore(WEB, replicas=replicas)

    async def test_a_record_that_stays_is_a_warning_and_the_next_restore_removes_it(
        self, service: DeploymentService, lot: MemoryParkingLot
    ) -> None:
        await service.park(WEB)
        swap = lot.swap

        async def unreachable(*_: object) -> bool:
            raise ClusterUnreachable("the cluster cannot be reached")

        lot.swap = unreachable  # type: ignore[method-assign, assignment]
        back = await service.restore(WEB)
        lot.swap = swap  # type: ignore[method-assign]

        assert (back.replicas, len(back.warnings), len(lot.list())) == (3, 1, 1)
        assert not (await service.restore(WEB)).changed
        assert lot.list() == ()


class TestPermission:
    def grants(self, service: DeploymentService, *, zero: bool, most: int = 100, why: bool = False) -> None:
        bounds = ReplicaBounds(max=most, allow_zero=zero)
        verbs = frozenset({Verb.READ, Verb.SCALE})
        subjects = Subjects(users=frozenset({"alice"}))
        service.policy = policy(Grant(subjects, verbs, Globs(("*",)), replicas=bounds, require_reason=why))

    async def test_parking_needs_scale_to_zero(
        self, service: DeploymentService, repository: MemoryDeploymentRepository, lot: MemoryParkingLot
    ) -> None:
        self.grants(service, zero=False)

        with pytest.raises(Forbidden):
            await service.park(WEB, caller=BY_ALICE)
        assert (desired(repository), lot.list()) == (3, ())

    async def test_restoring_needs_scale_to_the_count_that_is_remembered(
        self, service: DeploymentService, repository: MemoryDeploymentRepository
    ) -> None:
        await service.park(WEB)
        self.grants(service, zero=True, most=2)

        with pytest.raises(Forbidden):
            await service.restore(WEB, caller=BY_ALICE)
        assert desired(repository) == 0
        assert (await service.restore(WEB, caller=BY_ALICE, replicas=2)).replicas == 2

    async def test_restoring_past_the_largest_count_is_refused(
        self, repository: MemoryDeploymentRepository, lot: MemoryParkingLot, service: DeploymentService
    ) -> None:
        await service.park(WEB)
        smaller = DeploymentService(repository, parking=lot, max_replicas=2)

        with pytest.raises(InvalidReplicas):
            await smaller.restore(WEB)
        assert (desired(repository), len(lot.list())) == (0, 1)

    async def test_a_grant_that_demands_a_reason_demands_it_here(self, service: DeploymentService) -> None:
        self.grants(service, zero=True, why=True)

        with pytest.raises(ReasonRequired):
            await service.park(WEB, caller=BY_ALICE)
        await service.park(WEB, caller=BY_ALICE, reason="night")
        with pytest.raises(ReasonRequired):
            await service.restore(WEB, caller=BY_ALICE)

    async def test_nobody_learns_what_is_parked_that_they_may_not_read(self, service: DeploymentService) -> None:
        await service.park(WEB)
        service.policy = policy()

        with pytest.raises(Forbidden):
            service.parked(caller=BY_ALICE)


class TestWhatIsParked:
    async def test_is_listed_by_batch_and_selector(
        self, service: DeploymentService, repository: MemoryDeploymentRepository
    ) -> None:
        repository.cluster.relabel(WEB, {"tier": "dev"})
        await service.park(WEB, park_id="monday")
        await service.park(API, park_id="tuesday")

        assert [each.ref for each in service.parked()] == [API, WEB]
        assert [each.ref for each in service.parked(park_id="monday")] == [WEB]
        assert [each.ref for each in service.parked(Query(selector=LabelSelector.parse("tier=dev")))] == [WEB]
        assert service.parked(Query(namespace="payments")) == ()

    async def test_says_how_it_compares_with_what_is_there(
        self, service: DeploymentService, repository: MemoryDeploymentRepository
    ) -> None:
        for ref in (WEB, API):
            await service.park(ref)
        repository.cluster.scale(WEB, 2)
        repository.cluster.create(API, 2)

        assert [each.state for each in service.parked()] == [ParkedState.GONE, ParkedState.CHANGED]
        assert service.parking_status().parked == 0

    async def test_counts_what_is_at_zero_and_how_old_it_is(self, service: DeploymentService) -> None:
        await service.park(WEB)
        first = service.get(WEB).parked
        assert first is not None
        await service.park(API)

        status = service.parking_status()

        assert (status.parked, status.oldest_at) == (2, first.at)


async def test_a_trail_that_is_full_is_no_reason_to_claim_a_write_that_was_not_needed(
    service: DeploymentService, audit: ListedAudit
) -> None:
    await service.park(WEB)
    audit.full_at_record = True
    with pytest.raises(AuditUnavailable, match="nothing had to be written") as caught:
        await service.park(WEB)
    assert caught.value.written is False
    with pytest.raises(AuditUnavailable, match="the write was done") as caught:
        await service.restore(WEB)
    assert caught.value.written is True


async def test_the_trail_says_park_and_restore_with_their_batch(service: DeploymentService, audit: ListedAudit) -> None:
    await service.park(WEB, caller=BY_ALICE, park_id="night", reason="nobody works")
    await service.restore(WEB, caller=BY_ALICE)
    with pytest.raises(NotParked):
        await service.restore(WEB, caller=BY_ALICE)

    lines = [json.loads(to_line(each)) for each in audit.events]
    assert [(each["action"], each["outcome"]) for each in lines] == [
        ("park", "success"),
        ("restore", "success"),
        ("restore", "rejected"),
    ]
    assert [(each["old_replicas"], each["new_replicas"]) for each in lines[:2]] == [(3, 0), (0, 3)]
    assert [each.get("park_id") for each in lines] == ["night", "night", None]
    assert lines[0]["change_reason"] == "nobody works"
    assert audit.events[2].outcome is Outcome.REJECTED
