"""Random histories of parking: several kdm, others who scale, and a kill between any two calls of the ports.

A history is a list of actions, which hypothesis makes. Each kdm is a service with a repository and a lot of its own,
over one cluster and one set of records. Its calls of the ports wait for their turn, which an action gives; and a kdm
can be killed before a call or after it, when the call was done and its answer is lost.

What is compared is a model: which count each Deployment is owed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Literal, Protocol

from attrs import define, field, frozen
from hypothesis import strategies as st

from kdm_core.errors import KdmError
from kdm_core.model import Deployment, DeploymentRef
from kdm_core.parked import Parked
from kdm_core.parking import Parking
from kdm_core.ports import DeploymentRepository, ParkingLot
from kdm_core.service import DeploymentService
from kdm_core.testing.turns import Killed, SteppedLot, SteppedRepository, Turns

WEB = DeploymentRef("shop", "web")
PROCESSES = 3
Kind = Literal["park", "restore", "wake"]


class World(Protocol):
    """What a history happens in: a cluster, and what is remembered of it."""

    def deployment(self) -> Deployment | None:
        """Return the Deployment as the cluster has it."""

    async def record(self) -> Parked | None:
        """Return its record, by the back door."""

    def create(self, replicas: int) -> None:
        """Create it; replace one that is there by another object."""

    def delete(self) -> None:
        """Delete it."""

    def scale(self, replicas: int) -> None:
        """Scale it, as somebody does without kdm."""

    def touch(self) -> None:
        """Change its status: a new version with the same spec."""

    def process(self) -> AbstractAsyncContextManager[tuple[DeploymentRepository, ParkingLot]]:
        """Return what one more kdm stands on."""

    def look_away(self, repository: DeploymentRepository, *, away: bool) -> None:
        """Let the cache of one kdm fall behind, or catch up."""


@define
class Owed:
    """The model: the count that each object is owed, and which it was woken to."""

    counts: dict[str, int] = field(factory=dict)
    woken: dict[str, int] = field(factory=dict)

    def others_scaled(self, before: Deployment | None, after: Deployment | None) -> None:
        """Somebody has scaled without kdm, or replaced the object: the count is theirs now."""
        if before is not None and (after is None or after.uid != before.uid or desired(after) != desired(before)):
            self.counts.pop(before.uid, None)
            self.woken.pop(before.uid, None)

    def kdm_scaled(
        self, kind: Kind, before: Deployment, after: Deployment, record: Parked | None, seen: Parked | None
    ) -> None:
        """Kdm has scaled.

        Args:
            kind: What it was asked to do.
            before: The Deployment before the write.
            after: The Deployment after it.
            record: What was remembered at that time.
            seen: What it had read of that.
        """
        uid, was = after.uid, desired(before)
        assert before.uid == uid, "another object was scaled than the one that was judged"
        if kind == "park":
            assert record is not None, "what is parked is remembered first"
            assert was > 0, "what is at zero cannot be parked again"
            assert desired(after) == 0
            if looks_woken(before, record):
                self.counts.setdefault(uid, record.replicas)
            else:
                self.counts[uid] = was
            self.woken.pop(uid, None)
            return
        assert was == 0 or self.woken.get(uid) == was or looks_woken(before, seen), "it is not kdm's to restore"
        if kind == "wake":
            assert was == 0, "what is not at zero needs no waking"
            if uid in self.counts:
                self.woken[uid] = desired(after)
            return
        if uid in self.counts:
            assert desired(after) == self.counts.pop(uid), "the count that comes back is the one that it had"
            self.woken.pop(uid, None)

    def check(self, found: Deployment | None, record: Parked | None) -> None:
        """Check that what is owed is remembered."""
        if found is None or found.uid not in self.counts:
            return
        if desired(found) == 0 or desired(found) == self.woken.get(found.uid):
            assert record is not None, f"the count {self.counts[found.uid]} is lost"
            assert (record.uid, record.replicas) == (found.uid, self.counts[found.uid])


def looks_woken(found: Deployment, record: Parked | None) -> bool:
    """Return whether a Deployment has the count that kdm has woken it to, or was about to.

    There is no telling then whether somebody else has scaled it to the same.
    """
    return record is not None and (record.uid, record.woken) == (found.uid, desired(found))


def desired(deployment: Deployment) -> int:
    """Return a Deployment's count."""
    return deployment.replicas.desired


@define
class _Process:
    """One kdm."""

    turns: Turns
    repository: DeploymentRepository
    lot: SteppedLot
    service: DeploymentService
    call: asyncio.Task[Parking] | None = None
    kind: Kind = "park"

    @property
    def busy(self) -> bool:
        return self.call is not None and not self.call.done()


@frozen
class Action:
    """One thing that happens in a history.

    Attributes:
        what: What.
        who: Which kdm does it.
        number: With what number.
        flag: Whether after the call, or away.
    """

    what: Literal["park", "restore", "wake", "step", "kill", "scale", "touch", "delete", "create", "look"]
    who: int = 0
    number: int = 0
    flag: bool = False


_WEIGHTS = {
    "step": 60, "park": 10, "restore": 8, "wake": 3, "kill": 4, "scale": 4, "touch": 4, "look": 3,
    "create": 1, "delete": 1,
}  # fmt: skip
"""Of a hundred actions; a call takes five steps or more."""

_WHAT = st.sampled_from([what for what, weight in _WEIGHTS.items() for _ in range(weight)])
HISTORIES = st.lists(
    st.builds(Action, _WHAT, st.integers(0, PROCESSES - 1), st.integers(0, 3), st.booleans()), max_size=70
)
"""Histories, to be given to :func:`run_history`."""


class History:
    """Runs a history in a world. See :func:`run_history`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._owed = Owed()
        self._processes: list[_Process] = []
        self._stack = AsyncExitStack()
        self._record: Parked | None = None

    async def run(self, actions: list[Action]) -> None:
        """Let the actions happen, and then restore what is parked."""
        async with self._stack:
            for who in range(PROCESSES):
                self._processes.append(await self._start(who))
            for action in actions:
                self._record = await self._world.record()
                await self._act(action)
                self._owed.check(self._world.deployment(), await self._world.record())
            for process in self._processes:
                await self._kill(process, after=False)
            await self._come_back()

    async def _start(self, who: int) -> _Process:
        repository, lot = await self._stack.enter_async_context(self._world.process())
        turns = Turns()
        stepped = SteppedRepository(repository, turns, lambda before, after: self._wrote(who, before, after))
        stepped.before = self._world.deployment

        async def sleep(_seconds: float) -> None:
            await asyncio.sleep(0)

        seeing = SteppedLot(lot, turns)
        service = DeploymentService(stepped, parking=seeing, clock=lambda: 0.0, sleep=sleep, max_replicas=10)
        return _Process(turns, repository, seeing, service)

    def _wrote(self, who: int, before: Deployment, after: Deployment) -> None:
        process = self._processes[who]
        self._owed.kdm_scaled(process.kind, before, after, self._record, process.lot.seen)

    async def _act(self, action: Action) -> None:
        process, world = self._processes[action.who], self._world
        before = world.deployment()
        match action.what:
            case "step":
                await self._step(process)
            case "kill":
                await self._kill(process, after=action.flag)
                self._processes[action.who] = await self._start(action.who)
            case "look":
                world.look_away(process.repository, away=action.flag)
            case "scale" if before is not None:
                world.scale(action.number)
            case "touch" if before is not None:
                world.touch()
            case "create":
                world.create(action.number)
            case "delete" if before is not None:
                world.delete()
            case "park" | "restore" | "wake":
                await self._ask(process, action.what, action.number)
        if action.what in {"scale", "create", "delete"}:
            self._owed.others_scaled(before, world.deployment())

    async def _ask(self, process: _Process, kind: Kind, number: int) -> None:
        if process.busy:
            return
        process.kind = kind
        park_id = f"night-{number}" if number in {1, 2} else None
        if kind == "park":
            call = process.service.park(WEB, park_id=park_id)
        else:
            call = process.service.restore(WEB, park_id=park_id, replicas=1 if kind == "wake" else None)
        process.turns.waiting.clear()
        process.call = asyncio.ensure_future(call)
        await self._settle(process)

    async def _step(self, process: _Process) -> None:
        if process.busy:
            process.turns.give()
            await self._settle(process)

    async def _settle(self, process: _Process) -> None:
        """Wait until its next call waits for a turn, or it is done."""
        assert process.call is not None
        waiting = asyncio.ensure_future(process.turns.waiting.wait())
        await asyncio.wait({process.call, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        if process.call.done():
            self._ended(process.call)

    async def _kill(self, process: _Process, *, after: bool) -> None:
        if process.busy:
            assert process.call is not None
            process.turns.kill(after=after)
            await asyncio.wait({process.call})
            self._ended(process.call)

    def _ended(self, call: asyncio.Task[Parking]) -> None:
        """Let nothing but kdm's own errors pass, and what was killed."""
        error = call.exception()
        if error is not None and not isinstance(error, KdmError | Killed):
            raise error

    async def _come_back(self) -> None:
        """Restore what is left, as the next morning does: every count that is owed comes back."""
        found, left = self._world.deployment(), await self._world.record()
        async with self._world.process() as (repository, lot):
            self._world.look_away(repository, away=False)
            service = DeploymentService(repository, parking=lot)
            with suppress(KdmError):
                await service.restore(WEB)
            after, record = self._world.deployment(), await self._world.record()
            if found is None:
                assert record is None, "what is gone is forgotten"
                return
            assert after is not None
            owed = self._owed.counts.get(found.uid)
            asleep = desired(found) == 0 or desired(found) == self._owed.woken.get(found.uid)
            if owed is not None and asleep:
                assert desired(after) == owed
                assert record is None
            elif desired(found) != 0 and not looks_woken(found, left):
                assert desired(after) == desired(found), "what somebody scaled is left alone"
            if desired(after) != 0:  # and nothing that was left behind is in the way
                parked = await service.park(WEB)
                assert (parked.previous, parked.replicas) == (desired(after), 0)
                back = await service.restore(WEB)
                assert back.replicas >= desired(after)


async def run_history(world: World, actions: list[Action]) -> None:
    """Let a history happen, and check all along that no count is lost, and nothing parked twice.

    Args:
        world: Where. It has one Deployment, ``WEB``, or none.
        actions: What happens.
    """
    await History(world).run(actions)


@asynccontextmanager
async def entered(
    repository: DeploymentRepository, lot: ParkingLot
) -> AsyncIterator[tuple[DeploymentRepository, ParkingLot]]:
    """Enter what one kdm stands on."""
    async with repository, lot:
        yield repository, lot
