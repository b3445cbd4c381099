"""The in-memory lot keeps the contract that every lot keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import pytest

from kdm_adapters.memory.parking import MemoryParkingLot, MemoryRecords
from kdm_core import DeploymentRef, ParkingLot
from kdm_core.testing.parking import ParkingHarness, ParkingLotContract


class MemoryParkingHarness(ParkingHarness):
    """Lots over records in memory."""

    def __init__(self) -> None:
        self._records = MemoryRecords()
        self.lot: MemoryParkingLot = MemoryParkingLot(self._records)

    def another(self) -> AbstractAsyncContextManager[ParkingLot]:
        return MemoryParkingLot(self._records)

    async def damage(self, ref: DeploymentRef) -> None:
        self._records.damaged.add(ref)

    async def is_there(self, ref: DeploymentRef) -> bool:
        return ref in self._records.records

    async def leave(self) -> None:
        self.lot.unreachable = True


class TestMemoryParkingLot(ParkingLotContract):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[MemoryParkingHarness]:
        harness = MemoryParkingHarness()
        async with harness.lot:
            yield harness
