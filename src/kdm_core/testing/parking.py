"""The contract of a :class:`~kdm_core.ports.ParkingLot`, to subclass where an adapter is tested.

Bring a ``harness`` fixture and nothing else; the tests are coroutines, for pytest-asyncio in auto mode.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager

import pytest
from attrs import evolve

from kdm_core.errors import CacheNotSynced, ClusterUnreachable, ParkingRecordUnreadable
from kdm_core.model import DeploymentRef
from kdm_core.parked import Parked
from kdm_core.ports import ParkingLot

WEB = DeploymentRef("shop", "web")
LONG = DeploymentRef("n" * 63, "d" * 250)
"""Longer than a key of many a store may be."""

RECORD = Parked("uid-1", 3, 1_795_000_000, "alice", 'it\'s "night", 夜', "night", None, "48213", "t")
DEADLINE_S = 10.0


class ParkingHarness(ABC):
    """A lot, and the back doors to what it stands on.

    Attributes:
        lot: The lot, entered.
    """

    lot: ParkingLot

    @abstractmethod
    def another(self) -> AbstractAsyncContextManager[ParkingLot]:
        """Return one more lot of the same records, as another process has it."""

    @abstractmethod
    async def damage(self, ref: DeploymentRef) -> None:
        """Make a record unreadable where it is kept."""

    @abstractmethod
    async def is_there(self, ref: DeploymentRef) -> bool:
        """Return whether something is kept for a Deployment, readable or not."""

    @abstractmethod
    async def leave(self) -> None:
        """Make what the lot stands on unreachable."""


async def until_listed(lot: ParkingLot, expected: dict[DeploymentRef, Parked]) -> None:
    """Wait until a lot lists exactly these records."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                if dict(lot.list()) == expected:
                    return
            except CacheNotSynced:
                pass
            await asyncio.sleep(0.01)


class ParkingLotContract:
    """What every lot promises."""

    async def test_what_is_put_is_read_as_it_was(self, harness: ParkingHarness) -> None:
        lot = harness.lot
        assert await lot.read(WEB) is None
        assert await lot.swap(WEB, None, RECORD)
        assert await lot.read(WEB) == RECORD

        woken = evolve(RECORD, woken=1, version="48300", reason="")
        assert await lot.swap(WEB, RECORD, woken)
        assert await lot.read(WEB) == woken

        assert await lot.swap(WEB, woken, None)
        assert await lot.read(WEB) is None

    async def test_a_record_that_is_not_the_expected_one_stays(self, harness: ParkingHarness) -> None:
        lot, other = harness.lot, evolve(RECORD, by="bob")
        await lot.swap(WEB, None, RECORD)

        assert not await lot.swap(WEB, None, other)
        assert not await lot.swap(WEB, other, None)
        assert not await lot.swap(WEB, evolve(RECORD, replicas=4), other)
        assert await lot.read(WEB) == RECORD

    async def test_records_do_not_touch_each_other(self, harness: ParkingHarness) -> None:
        refs = [WEB, DeploymentRef("shop", "web.a"), DeploymentRef("shop-web", "a"), LONG]
        refs += [DeploymentRef("n" * 63, "d" * 249 + "e"), DeploymentRef("shop", "w")]
        for number, ref in enumerate(refs, 1):
            assert await harness.lot.swap(ref, None, evolve(RECORD, replicas=number))
        await harness.lot.swap(WEB, evolve(RECORD, replicas=1), None)

        for number, ref in enumerate(refs[1:], 2):
            assert await harness.lot.read(ref) == evolve(RECORD, replicas=number)

    async def test_of_several_lots_that_put_at_once_one_succeeds(self, harness: ParkingHarness) -> None:
        async with harness.another() as another:
            records = [evolve(RECORD, token=str(number)) for number in range(8)]
            lots = [harness.lot, another] * 4
            put = await asyncio.gather(
                *(lot.swap(WEB, None, record) for lot, record in zip(lots, records, strict=True))
            )

            assert sum(put) == 1
            assert await another.read(WEB) == records[put.index(True)]

    async def test_lots_that_write_different_records_at_once_all_succeed(self, harness: ParkingHarness) -> None:
        async with harness.another() as another:
            refs = [DeploymentRef("shop", f"web-{number}") for number in range(20)]
            lots = [harness.lot, another] * 10
            put = await asyncio.gather(*(lot.swap(ref, None, RECORD) for lot, ref in zip(lots, refs, strict=True)))

            assert all(put)
            for ref in refs:
                assert await harness.lot.read(ref) == RECORD

    async def test_what_this_lot_writes_it_shows_at_once(self, harness: ParkingHarness) -> None:
        await until_listed(harness.lot, {})
        heard: list[tuple[DeploymentRef, Parked | None]] = []
        harness.lot.on_change = lambda ref, parked: heard.append((ref, parked))

        await harness.lot.swap(WEB, None, RECORD)
        assert harness.lot.list() == ((WEB, RECORD),)
        await harness.lot.swap(WEB, RECORD, None)
        assert harness.lot.list() == ()
        assert heard == [(WEB, RECORD), (WEB, None)]

    async def test_what_another_lot_writes_comes_into_view(self, harness: ParkingHarness) -> None:
        async with harness.another() as another:
            await harness.lot.swap(WEB, None, RECORD)
            await harness.lot.swap(LONG, None, RECORD)
            await until_listed(another, {LONG: RECORD, WEB: RECORD})
            await harness.lot.swap(WEB, RECORD, None)
            await until_listed(another, {LONG: RECORD})

    async def test_what_was_there_before_is_in_view_of_a_new_one(self, harness: ParkingHarness) -> None:
        await harness.lot.swap(WEB, None, RECORD)
        heard: dict[DeploymentRef, Parked | None] = {}
        async with harness.another() as another:
            another.on_change = heard.__setitem__
            await until_listed(another, {WEB: RECORD})

    async def test_a_record_that_cannot_be_read_is_kept_and_named(self, harness: ParkingHarness) -> None:
        for ref in (WEB, LONG):
            await harness.lot.swap(ref, None, RECORD)
        await harness.damage(WEB)

        with pytest.raises(ParkingRecordUnreadable):
            await harness.lot.read(WEB)
        for new in (None, RECORD):
            with pytest.raises(ParkingRecordUnreadable) as caught:
                await harness.lot.swap(WEB, RECORD, new)
            assert caught.value.written is False
        assert await harness.is_there(WEB)
        assert await harness.lot.read(LONG) == RECORD
        await until_listed(harness.lot, {LONG: RECORD})
        assert len(harness.lot.unreadable()) == 1

    async def test_without_what_it_stands_on_it_says_so_and_that_no_deployment_was_written(
        self, harness: ParkingHarness
    ) -> None:
        await harness.leave()

        with pytest.raises(ClusterUnreachable) as caught:
            await harness.lot.read(WEB)
        assert caught.value.written is False
        with pytest.raises(ClusterUnreachable) as caught:
            await harness.lot.swap(WEB, None, RECORD)
        assert caught.value.written is False
