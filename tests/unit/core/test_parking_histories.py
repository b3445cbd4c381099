"""Whatever several kdm and others do at the same time, and whenever a kdm is killed: no count is lost."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

from attrs import define, field
from hypothesis import given, settings

from kdm_adapters.memory import MemoryCluster, MemoryDeploymentRepository
from kdm_adapters.memory.parking import MemoryParkingLot, MemoryRecords
from kdm_core import Deployment, DeploymentRepository, ParkingLot
from kdm_core.parked import Parked
from kdm_core.testing.parking_histories import HISTORIES, WEB, Action, entered, run_history


@define
class MemoryWorld:
    """A cluster and records in memory."""

    cluster: MemoryCluster = field(factory=lambda: MemoryCluster(settle=False))
    records: MemoryRecords = field(factory=MemoryRecords)

    def deployment(self) -> Deployment | None:
        return self.cluster.deployments.get(WEB)

    async def record(self) -> Parked | None:
        return self.records.records.get(WEB)

    def create(self, replicas: int) -> None:
        self.cluster.create(WEB, replicas)

    def delete(self) -> None:
        self.cluster.delete(WEB)

    def scale(self, replicas: int) -> None:
        self.cluster.scale(WEB, replicas)

    def touch(self) -> None:
        self.cluster.report(WEB, observed=False)

    def process(self) -> AbstractAsyncContextManager[tuple[DeploymentRepository, ParkingLot]]:
        return entered(MemoryDeploymentRepository(cluster=self.cluster), MemoryParkingLot(self.records))

    def look_away(self, repository: DeploymentRepository, *, away: bool) -> None:
        assert isinstance(repository, MemoryDeploymentRepository)
        repository.faults.disconnected = away


def happens(actions: list[Action]) -> None:
    async def run() -> None:
        world = MemoryWorld()
        world.create(3)
        await run_history(world, actions)

    asyncio.run(run())


@given(HISTORIES)
@settings(max_examples=300)
def test_no_history_loses_a_count_or_parks_anything_twice(actions: list[Action]) -> None:
    happens(actions)
