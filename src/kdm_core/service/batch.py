"""One batch under way: a few writes at a time, and what came of each, whatever goes wrong in the middle."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, Protocol

from attrs import evolve, frozen

from kdm_core.bulk import AT_A_TIME, BATCH_S, OnError, Park, Plan, Planned, Restore
from kdm_core.bulk_progress import BulkProgress, BulkResult, BulkWait, Halt, ItemOutcome, ItemResult
from kdm_core.errors import (
    AuditUnavailable,
    ChangedSinceParked,
    ClusterTimeout,
    Contended,
    DeploymentNotFound,
    KdmError,
    NotParked,
    NotTried,
    Unavailable,
    WriteConflict,
)
from kdm_core.model import Caller, DeploymentRef
from kdm_core.ports import ServiceInstrument
from kdm_core.rollout import RolloutOutcome, RolloutResult, Target, WaitFor
from kdm_core.scaling import Scaled, SetTo, stored_instead
from kdm_core.service.parker import Parker
from kdm_core.service.parking_rounds import Asked
from kdm_core.service.recording import Recorder
from kdm_core.service.writing import Write, Writer

DRY_RUN_S: Final = 20.0
"""How long a plan may begin to ask the cluster, in seconds: somebody waits for it. The rest is not asked then."""


class Follow(Protocol):
    """Waits for a rollout: :meth:`kdm_core.service.DeploymentService.rollout`."""

    def __call__(
        self,
        ref: DeploymentRef,
        caller: Caller = ...,
        *,
        target: Scaled | Target | None = ...,
        wait_for: WaitFor = ...,
        timeout_s: float,
        valid_s: float = ...,
    ) -> Awaitable[RolloutResult]:
        """Wait."""


@frozen
class Hands:
    """What does the work of batches.

    Attributes:
        writer: Writes.
        recorder: Records.
        instrument: Counts.
        clock: Monotonic seconds.
        follow: Waits for rollouts.
        parker: Parks and restores; None where nothing is parked.
    """

    writer: Writer
    recorder: Recorder
    instrument: ServiceInstrument
    clock: Callable[[], float]
    follow: Follow
    parker: Parker | None = None


class Batch:
    """One batch.

    Args:
        hands: What does the work.
        slots: As many requests as may be under way at a time.
        identifier: Its id.
        plan: What is to be done.
        caller: Who asks.
        reason: Why.
        progress: Learns of each item as it ends.
        halt: Ends it before its time.
        dry_run: Whether only to try.
    """

    def __init__(
        self,
        hands: Hands,
        slots: asyncio.Semaphore,
        identifier: str,
        plan: Plan,
        caller: Caller,
        reason: str,
        progress: BulkProgress,
        halt: Halt,
        *,
        dry_run: bool,
    ) -> None:
        self._hands = hands
        self._slots = slots
        self._id = identifier
        self._plan = plan
        self._caller = caller
        self._reason = reason
        self._progress = progress
        self._halt = halt
        self._dry_run = dry_run
        self._results: dict[DeploymentRef, ItemResult] = {}
        self._failed = ""
        self._silent: dict[str, str] = {}
        self._ends_at = math.inf

    async def refused(self, error: KdmError) -> KdmError:
        """Record that nothing of it is done, and return why."""
        for each in self._plan.items:
            self._record(each, each.refusal or error)
            await asyncio.sleep(0)  # each record may reach the disk
        return error

    async def run(self, wait: BulkWait | None) -> BulkResult:
        """Do it, and return what came of it. A cancellation ends what is under way, too: its end is not known then."""
        plan, began = self._plan, self._hands.clock()
        self._ends_at = began + (DRY_RUN_S if self._dry_run else BATCH_S)
        self._progress.planned(self._id, plan)
        todo = iter(plan.items)
        halted = asyncio.ensure_future(self._halt.wait())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(AT_A_TIME, len(plan.items))):
                    group.create_task(self._work(todo, group, wait, halted, began))
        finally:
            halted.cancel()
        return BulkResult(self._id, plan, tuple(self._results[each.ref] for each in plan.items), self._dry_run)

    async def _work(
        self,
        todo: Iterator[Planned],
        group: asyncio.TaskGroup,
        wait: BulkWait | None,
        halted: asyncio.Future[None],
        began: float,
    ) -> None:
        for each in todo:
            target: Scaled | Target | None
            if each.changes:
                async with self._slots:
                    result, target = await self._write(each)
            elif each.forgets and not self._dry_run and not self._over():
                async with self._slots:
                    result, target = await self._forget(each), _target_of(each)
            else:
                result, target = self._untouched(each), _target_of(each)
                await asyncio.sleep(0)  # a record may reach the disk
            self._results[each.ref] = result
            self._hands.instrument.bulk_item(result.outcome.value)
            self._progress.ended(result)
            if wait is not None and target is not None:
                group.create_task(self._follow(each.ref, target, wait, began, halted))

    def _untouched(self, item: Planned) -> ItemResult:
        if item.refusal is not None:
            return self._record(item, item.refusal)
        return self._record(item, None, ItemOutcome.UNCHANGED)

    async def _write(self, item: Planned) -> tuple[ItemResult, Scaled | None]:
        """Write one item, unless the batch is over. Returns what to wait for, where something was written."""
        if why := self._over() or self._silent.get(item.ref.namespace, ""):
            return self._not_tried(item, why), None
        try:
            scaled, warnings = await self._do(item)
        except KdmError as error:
            return self._failure(item, error), None
        except Exception as error:  # noqa: BLE001 - what came of the others must not be lost with it
            return self._failure(item, error), None
        outcome = ItemOutcome.PLANNED if self._dry_run else ItemOutcome.DONE
        instead = stored_instead(item.after, scaled.replicas, dry_run=scaled.dry_run) if item.after is not None else ()
        new = tuple(each for each in dict.fromkeys((*warnings, *instead)) if each not in item.warnings)
        result = ItemResult(item, outcome, deployment=scaled.deployment, warnings=new)
        return result, None if self._dry_run else scaled

    async def _forget(self, item: Planned) -> ItemResult:
        """Leave one item alone as it was planned, and have what is remembered of it put away."""
        try:
            await self._do(item)
        except (ChangedSinceParked, DeploymentNotFound, NotParked, WriteConflict):
            pass  # so it was planned; or somebody else has changed it again, and then it is not ours to judge
        except KdmError as error:
            return ItemResult(item, ItemOutcome.UNCHANGED, warnings=(f"it is still remembered as parked: {error}",))
        except Exception as error:  # noqa: BLE001 - what came of the others must not be lost with it
            return self._failure(item, error)
        return ItemResult(item, ItemOutcome.UNCHANGED)

    async def _do(self, item: Planned) -> tuple[Scaled, tuple[str, ...]]:
        """Write one item, and return what was written, and what is to be said of it."""
        hands, change = self._hands, item.change
        if not isinstance(change, Park | Restore):
            assert item.after is not None  # noqa: S101 - it is not refused
            write = Write(
                item.ref,
                SetTo(item.after),
                self._caller,
                item.expect,
                self._dry_run,
                None,
                self._reason,
                override=self._plan.override,
                batch=self._id,
            )
            return await hands.writer.write(write), ()
        assert hands.parker is not None  # noqa: S101 - or it would have been refused
        asked = Asked(
            item.ref,
            self._caller,
            change.park_id,
            reason=self._reason,
            dry_run=self._dry_run,
            override=self._plan.override,
            expect=item.expect,
            batch=self._id,
        )
        if isinstance(change, Park):
            parking = await hands.parker.park(evolve(asked, park_id=change.park_id or self._id))
        else:
            parking = await hands.parker.restore(evolve(asked, result=item.after))
        return parking.scaled, parking.warnings

    def _failure(self, item: Planned, error: Exception) -> ItemResult:
        general = not isinstance(error, KdmError) or (
            isinstance(error, Unavailable) and not isinstance(error, Contended) and not error.of_one
        )
        if self._dry_run and general and isinstance(error, KdmError):
            self._failed = self._failed or str(error)
            return _not_asked(item, str(error))
        shown = str(error) if isinstance(error, KdmError) else "internal error"
        why = f"'{item.ref}' failed before: {shown}"
        if self._plan.on_error is OnError.CONTINUE and isinstance(error, ClusterTimeout):
            # A webhook of one namespace may hang: the others get their turn. In a second one it is the cluster.
            self._silent.setdefault(item.ref.namespace, why)
            general = len(self._silent) > 1
        if general or (self._plan.on_error is OnError.ABORT and not self._dry_run):
            self._failed = self._failed or why
        return ItemResult(item, ItemOutcome.FAILED, error)

    def _not_tried(self, item: Planned, why: str) -> ItemResult:
        error = NotTried(f"Deployment '{item.ref}' had no turn before the batch ended: {why}")
        result = self._record(item, error, ItemOutcome.SKIPPED)
        return _not_asked(item, why) if self._dry_run else result

    def _over(self) -> str:
        """Return why nothing more is begun; "" while the batch goes on."""
        if self._failed or self._halt.reason:
            return self._failed or self._halt.reason
        if self._hands.clock() >= self._ends_at:
            return f"it may take {DRY_RUN_S if self._dry_run else BATCH_S:g} s"
        return ""

    def _record(self, item: Planned, error: KdmError | None, outcome: ItemOutcome = ItemOutcome.REFUSED) -> ItemResult:
        try:
            self._hands.recorder.untried(
                self._caller, item, error, dry_run=self._dry_run, batch=self._id, why=self._reason
            )
        except AuditUnavailable as lost:  # nothing was to be written for this item; the next write will find out, too
            lost.written = False
            return ItemResult(item, ItemOutcome.FAILED, lost)
        return ItemResult(item, outcome, error)

    async def _follow(
        self,
        ref: DeploymentRef,
        target: Scaled | Target,
        wait: BulkWait,
        began: float,
        halted: asyncio.Future[None],
    ) -> None:
        """Wait for one item's Pods, until the deadline of all, or until the batch is ended."""
        now = self._hands.clock()
        aim = target.target if isinstance(target, Scaled) else target
        following = asyncio.ensure_future(
            self._hands.follow(
                ref,
                self._caller,
                target=target,
                wait_for=wait.wait_for,
                timeout_s=max(0.0, began + wait.timeout_s - now),
                valid_s=max(0.0, began + wait.valid_s - now),
            )
        )
        either: set[asyncio.Future[Any]] = {following, halted}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                rollout = following.result()
            else:
                elapsed_s = self._hands.clock() - now
                rollout = RolloutResult(RolloutOutcome.INTERRUPTED, aim, wait.wait_for, elapsed_s, self._halt.reason)
        except Exception as error:  # noqa: BLE001 - what was written is known, and must not be lost with it
            said = str(error) if isinstance(error, KdmError) else f"internal error: {type(error).__name__}"
            rollout = RolloutResult(RolloutOutcome.UNKNOWN, aim, wait.wait_for, message=said)
        finally:
            following.cancel()
        self._results[ref] = evolve(self._results[ref], rollout=rollout)
        self._progress.followed(ref, rollout)


def _target_of(item: Planned) -> Target | None:
    """Return what to wait for where nothing is written: that the Pods are as many as are desired already."""
    return None if item.refusal is not None or item.deployment is None else Target.of(item.deployment)


def _not_asked(item: Planned, why: str) -> ItemResult:
    return ItemResult(item, ItemOutcome.PLANNED, warnings=(f"the cluster has not been asked about it: {why}",))
