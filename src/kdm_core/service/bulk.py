"""Many changes at once: all of them are judged first, then written a few at a time, each of them recorded."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Container
from typing import Final

from kdm_core.bulk import AT_A_TIME, Bulk, OnError, Restore, Selection
from kdm_core.bulk_progress import BulkProgress, BulkResult, BulkWait, Halt
from kdm_core.errors import BulkRefused, KdmError, PlanChanged
from kdm_core.model import ALL_NAMESPACES, LOCAL, Caller
from kdm_core.ports import DeploymentRepository, ParkingLot
from kdm_core.scaling import check_reason
from kdm_core.service.batch import Batch, Hands
from kdm_core.service.parker import is_gone
from kdm_core.service.permission import Permission
from kdm_core.service.planning import Planner, where_of

SILENT: Final = BulkProgress()


class Batches:
    """Runs batches on behalf of callers.

    Args:
        repository: Where the Deployments are.
        permission: Who may do what.
        hands: What does the work.
        max_replicas: The largest count.
        lot: Where the counts of parked Deployments are remembered; None where nothing is parked.
        sees_all: Whether a Deployment that the repository does not have does not exist.
    """

    def __init__(
        self,
        repository: DeploymentRepository,
        permission: Permission,
        hands: Hands,
        *,
        max_replicas: int,
        lot: ParkingLot | None,
        sees_all: bool,
    ) -> None:
        self._slots = asyncio.Semaphore(AT_A_TIME)
        self._planner = Planner(
            repository, permission, self._slots, max_replicas=max_replicas, lot=lot, sees_all=sees_all
        )
        self._hands = hands
        self._repository = repository
        self._lot = lot

    async def run(
        self,
        bulk: Bulk,
        caller: Caller,
        if_plan: Container[str] | None,
        wait: BulkWait | None,
        progress: BulkProgress,
        halt: Halt,
        *,
        dry_run: bool,
    ) -> BulkResult:
        """See :meth:`kdm_core.service.DeploymentService.scale_many`."""
        identifier, recorder = str(uuid.uuid4()), self._hands.recorder
        with recorder.attempt(caller, where_of(bulk), "", None, dry_run=dry_run, batch=identifier) as attempt:
            attempt.why = check_reason(bulk.reason)
            plan = await self._planner.plan(bulk, caller)
            recorder.check()
            attempt.goes_on = True
        batch = Batch(self._hands, self._slots, identifier, plan, caller, attempt.why, progress, halt, dry_run=dry_run)
        if if_plan is not None and plan.tag not in if_plan:
            raise await batch.refused(PlanChanged(plan.tag))
        if plan.refused and plan.on_error is OnError.ABORT and not dry_run:
            raise await batch.refused(BulkRefused(plan.refused, len(plan.items)))
        result = await batch.run(wait)
        if not dry_run:
            await self._forget_gone(bulk)
        return result

    async def _forget_gone(self, bulk: Bulk) -> None:
        """Forget what was parked in the restored batches and is gone: no selector finds it, so nobody else would."""
        changes = (bulk.of.change,) if isinstance(bulk.of, Selection) else tuple(each.change for each in bulk.of)
        restored = {each for each in changes if isinstance(each, Restore)}
        parker, where = self._hands.parker, where_of(bulk)
        if parker is None or self._lot is None or not restored:
            return
        try:
            remembered = self._lot.list()
        except KdmError:
            return  # another time: what was written is what counts
        for ref, record in remembered:
            here = where in {ALL_NAMESPACES, ref.namespace}
            if here and any(each.concerns(record) for each in restored) and is_gone(self._repository, ref):
                async with self._slots:
                    await parker.forget_gone(ref, record.park_id)


class Bulks:
    """A part of the service, which sets what it needs."""

    _batches: Batches

    async def scale_many(
        self,
        bulk: Bulk,
        *,
        caller: Caller = LOCAL,
        dry_run: bool = False,
        if_plan: Container[str] | None = None,
        wait: BulkWait | None = None,
        progress: BulkProgress = SILENT,
        halt: Halt | None = None,
    ) -> BulkResult:
        """Change many counts. Leaves one audit event for each item, whatever comes of it, all with the batch's id.

        First every item is judged, by what the cache knows: policy, bounds, reason, expectations. Then they are
        written, ``AT_A_TIME`` at a time, each only if the Deployment still is the object that was judged, with the
        count that was judged. What has the count already is not written. There is no transaction: what is written
        stays written when something later fails.

        Args:
            bulk: What is asked for.
            caller: Who asks.
            dry_run: Whether only to try: everything is judged, by the cluster too, and nothing is stored.
            if_plan: Tags of plans, one of which the plan of this moment must have; None for any plan.
            wait: How long to wait for the Pods of all that was done; None not to wait. A dry run never waits.
            progress: Learns of each item as it ends.
            halt: Ends the batch before its time: what is under way is finished, the rest is skipped.

        Returns:
            What came of each item. With ``dry_run`` that is the plan, refused items included.

        Raises:
            InvalidInput: It can never be right, it is too much at once (``BulkTooLarge``), or it parks where nothing is
                parked (``ParkingOff``).
            Forbidden: The policy lets the caller read nothing at all where it selects.
            NamespaceNotWatched: The selected namespace lies outside the watched ones.
            PlanChanged: What would be done is not what ``if_plan`` names; nothing was written.
            BulkRefused: An item is refused, and ``bulk.on_error`` is ``ABORT``; nothing was written.
            AuditUnavailable: It could not be recorded; nothing was written.
            CacheNotSynced, CacheStale: The repository cannot answer now.
        """
        return await self._batches.run(
            bulk, caller, if_plan, None if dry_run else wait, progress, halt or Halt(), dry_run=dry_run
        )
