"""What is remembered of parked Deployments, in this process' memory: the fake for tests and the embedded default."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from kdm_core.errors import CacheNotSynced, ClusterUnreachable, ParkingFull, ParkingRecordUnreadable
from kdm_core.model import DeploymentRef
from kdm_core.parked import Parked
from kdm_core.ports import ParkingLot


class MemoryRecords:
    """Every record there is, for several lots of one cluster. Call it on the lots' event loop.

    Attributes:
        records: The records.
        damaged: Of which Deployments the record cannot be read.
        limit: How many there is room for.
        watchers: Called with every change.
    """

    def __init__(self, limit: int = 100_000) -> None:
        self.records: dict[DeploymentRef, Parked] = {}
        self.damaged: set[DeploymentRef] = set()
        self.limit = limit
        self.watchers: list[Callable[[DeploymentRef, Parked | None], None]] = []

    def put(self, ref: DeploymentRef, parked: Parked | None) -> None:
        """Set or remove a record, as anybody may who can write where the records are."""
        self.records.pop(ref, None)
        if parked is not None:
            self.records[ref] = parked
        for watcher in self.watchers:
            watcher(ref, parked)


class MemoryParkingLot(ParkingLot):
    """A ``ParkingLot`` whose records end with this process, for several kdm in it at once.

    ``records`` is the back door. ``unreachable`` makes everything that asks fail.

    It does not imitate a watch's delay: what one lot writes, all show at once.

    Args:
        records: The records, for several lots of one cluster; None for records of its own.
    """

    def __init__(self, records: MemoryRecords | None = None) -> None:
        self.records = records or MemoryRecords()
        self.unreachable = False
        self._entered = False

    async def __aenter__(self) -> Self:
        """See the port."""
        self._entered = True
        self.records.watchers.append(self._changed)
        for ref, parked in self.list():
            self.on_change(ref, parked)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None:
        """See the port."""
        self.records.watchers.remove(self._changed)

    def list(self) -> tuple[tuple[DeploymentRef, Parked], ...]:
        """See the port."""
        if not self._entered:
            raise CacheNotSynced("it is not known yet what is parked")
        return tuple(
            (ref, self.records.records[ref]) for ref in sorted(self.records.records) if ref not in self.records.damaged
        )

    def unreadable(self) -> tuple[str, ...]:
        """See the port."""
        return tuple(_where(ref) for ref in sorted(self.records.damaged))

    async def read(self, ref: DeploymentRef) -> Parked | None:
        """See the port."""
        await self._reach(ref)
        return self.records.records.get(ref)

    async def swap(self, ref: DeploymentRef, expected: Parked | None, new: Parked | None) -> bool:
        """See the port."""
        await self._reach(ref)
        held = self.records.records
        if held.get(ref) != expected:
            return False
        if new is not None and ref not in held and len(held) >= self.records.limit:
            raise ParkingFull("memory", f"{self.records.limit} records")
        if new != expected:
            self.records.put(ref, new)
        return True

    async def _reach(self, ref: DeploymentRef) -> None:
        await asyncio.sleep(0)  # others get their turn meanwhile, as with any request
        if self.unreachable:
            raise ClusterUnreachable("what is parked cannot be looked up")
        if ref in self.records.damaged:
            raise ParkingRecordUnreadable(ref, _where(ref), "it was damaged")

    def _changed(self, ref: DeploymentRef, parked: Parked | None) -> None:
        self.on_change(ref, parked)


def _where(ref: DeploymentRef) -> str:
    return f"the record of '{ref}' in memory"
