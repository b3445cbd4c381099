"""Ports whose calls happen one by one, when they are given a turn, and can be killed before or after one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar

from attrs import define, field

from kdm_core.model import Deployment, DeploymentRef
from kdm_core.parked import Parked
from kdm_core.ports import DeploymentRepository, ParkingLot, WrappedRepository
from kdm_core.scaling import ANY, Expect

T = TypeVar("T")


class Killed(BaseException):
    """This kdm is gone: no code of it runs on."""


@define
class Turns:
    """Lets the calls of one kdm happen one by one.

    Attributes:
        dead: Whether it was killed.
    """

    dead: bool = False
    _kill_after: bool = False
    _go: asyncio.Event = field(factory=asyncio.Event)
    waiting: asyncio.Event = field(factory=asyncio.Event)

    async def take(self, call: Callable[[], Awaitable[T]]) -> T:
        """Wait for a turn, then call."""
        if not self.dead:
            self.waiting.set()
            await self._go.wait()
            self._go.clear()
        if self.dead and not self._kill_after:
            raise Killed
        try:
            return await call()
        finally:
            if self.dead:
                raise Killed

    def give(self) -> None:
        """Let the next call happen."""
        self.waiting.clear()
        self._go.set()

    def kill(self, *, after: bool) -> None:
        """Kill it: before its next call, or after that."""
        self.dead, self._kill_after = True, after
        self.give()


class SteppedRepository(WrappedRepository):
    """A repository whose calls that reach the cluster wait for their turn."""

    def __init__(
        self, repository: DeploymentRepository, turns: Turns, wrote: Callable[[Deployment, Deployment], None]
    ) -> None:
        super().__init__(repository)
        self._turns = turns
        self._wrote = wrote
        self.before: Callable[[], Deployment | None] = lambda: None

    async def fetch(self, ref: DeploymentRef) -> Deployment:
        return await self._turns.take(lambda: self._repository.fetch(ref))

    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, expect: Expect = ANY, dry_run: bool = False
    ) -> Deployment:
        async def write() -> Deployment:
            before = self.before()
            written = await self._repository.set_replicas(ref, replicas, expect=expect, dry_run=dry_run)
            assert before is not None
            self._wrote(before, written)
            return written

        return await self._turns.take(write)


class SteppedLot(ParkingLot):
    """A lot whose calls wait for their turn."""

    def __init__(self, lot: ParkingLot, turns: Turns) -> None:
        self._lot = lot
        self._turns = turns
        self.seen: Parked | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None:
        pass

    def list(self) -> tuple[tuple[DeploymentRef, Parked], ...]:
        return self._lot.list()

    def unreadable(self) -> tuple[str, ...]:
        return self._lot.unreadable()

    async def read(self, ref: DeploymentRef) -> Parked | None:
        self.seen = await self._turns.take(lambda: self._lot.read(ref))
        return self.seen

    async def swap(self, ref: DeploymentRef, expected: Parked | None, new: Parked | None) -> bool:
        return await self._turns.take(lambda: self._lot.swap(ref, expected, new))
