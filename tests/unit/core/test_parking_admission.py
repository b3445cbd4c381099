"""Admission may store another count than was asked for: no count is lost by that, and it is said."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_adapters.memory.parking import MemoryParkingLot
from kdm_core import DeploymentService, LabelSelector, ParkedState, SetTo, WriteInvalid
from kdm_core.bulk import Bulk, OnError, Park, Restore, Selection
from unit.core.fixtures import WEB, turns

INSTEAD = "the cluster stored {} replicas, where {} were asked for"


@pytest.fixture
async def lot() -> AsyncIterator[MemoryParkingLot]:
    async with MemoryParkingLot() as lot:
        yield lot


@pytest.fixture
def service(repository: MemoryDeploymentRepository, lot: MemoryParkingLot) -> DeploymentService:
    return DeploymentService(repository, parking=lot, max_replicas=50)


def desired(repository: MemoryDeploymentRepository) -> int:
    return repository.cluster.deployments[WEB].replicas.desired


def at_least_one(replicas: int) -> int:
    return max(replicas, 1)


async def test_one_that_admission_keeps_at_one_is_woken_and_gets_its_whole_count_back(
    service: DeploymentService, repository: MemoryDeploymentRepository
) -> None:
    repository.cluster.admit(at_least_one)

    parking = await service.park(WEB, park_id="night")
    await turns()

    assert (parking.previous, parking.replicas, parking.changed) == (3, 1, True)
    assert parking.warnings == (INSTEAD.format(1, 0),)
    assert [(each.state, each.parked.replicas) for each in service.parked()] == [(ParkedState.WOKEN, 3)]
    assert (await service.restore(WEB, park_id="night")).replicas == 3
    assert (desired(repository), service.parked()) == (3, ())


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_park_that_admission_undoes_is_refused_and_nothing_is_remembered(
    service: DeploymentService, repository: MemoryDeploymentRepository, lot: MemoryParkingLot, dry_run: bool
) -> None:
    repository.cluster.admit(lambda _: 3)

    with pytest.raises(
        WriteInvalid, match="kept Deployment 'shop/web' at 3 replicas, where 0 were asked for"
    ) as caught:
        await service.park(WEB, dry_run=dry_run)

    assert caught.value.written is False
    assert (desired(repository), lot.list()) == (3, ())


@pytest.mark.parametrize("wake", [None, 1])
async def test_a_restore_that_admission_undoes_forgets_no_count(
    service: DeploymentService, repository: MemoryDeploymentRepository, wake: int | None
) -> None:
    await service.park(WEB, park_id="night")
    await turns()
    repository.cluster.admit(lambda _: 0)

    with pytest.raises(WriteInvalid, match="at 0 replicas"):
        await service.restore(WEB, park_id="night", replicas=wake)

    repository.cluster.admit(int)
    assert (await service.restore(WEB, park_id="night")).replicas == 3
    assert desired(repository) == 3


async def test_one_that_admission_wakes_to_more_gets_its_whole_count_back(
    service: DeploymentService, repository: MemoryDeploymentRepository
) -> None:
    await service.park(WEB, park_id="night")
    await turns()
    repository.cluster.admit(lambda replicas: max(replicas, 2))

    woken = await service.restore(WEB, replicas=1)
    await turns()

    assert (woken.replicas, woken.warnings) == (2, (INSTEAD.format(2, 1),))
    assert (await service.restore(WEB)).replicas == 3


async def test_a_count_that_admission_made_less_on_restore_is_named(
    service: DeploymentService, repository: MemoryDeploymentRepository
) -> None:
    await service.park(WEB)
    await turns()
    repository.cluster.admit(lambda replicas: min(replicas, 2))

    restored = await service.restore(WEB)

    assert (restored.replicas, restored.warnings, restored.parked) == (2, (INSTEAD.format(2, 3),), None)


async def test_in_a_batch_it_is_said_once_and_what_admission_undoes_has_failed(
    service: DeploymentService, repository: MemoryDeploymentRepository, lot: MemoryParkingLot
) -> None:
    everything = LabelSelector.parse("")
    repository.cluster.admit(at_least_one)

    def of(change: Park | Restore) -> Bulk:
        return Bulk(Selection(change, WEB.namespace, everything, everything=True), on_error=OnError.CONTINUE)

    parked = await service.scale_many(of(Park("night")))
    assert [each.warnings for each in parked.items if each.planned.ref == WEB] == [(INSTEAD.format(1, 0),)]
    await turns()
    repository.cluster.admit(lambda _: 1)
    failed = await service.scale_many(of(Restore("night")))
    assert {(each.outcome.value, each.written) for each in failed.items} == {("failed", False)}
    assert dict(lot.list())[WEB].replicas == 3


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_single_write_says_that_the_cluster_stored_another_count(
    service: DeploymentService, repository: MemoryDeploymentRepository, dry_run: bool
) -> None:
    repository.cluster.admit(lambda replicas: min(replicas, 4))

    scaled = await service.set_replicas(WEB, SetTo(9), dry_run=dry_run)

    stores = "would store" if dry_run else "stored"
    assert scaled.warnings == (f"the cluster {stores} 4 replicas, where 9 were asked for",)
