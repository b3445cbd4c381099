"""Parking and restoring one Deployment: what is judged, and what becomes of its record."""

from __future__ import annotations

import logging
from secrets import token_hex
from typing import Final

from attrs import evolve

from kdm_core.errors import (
    ChangedSinceParked,
    DeploymentNotFound,
    InvalidChange,
    KdmError,
    NamespaceNotWatched,
    NothingToPark,
    NotParked,
    WriteConflict,
)
from kdm_core.model import DeploymentRef, Verb
from kdm_core.names import check_replicas
from kdm_core.parked import Parked
from kdm_core.parking import Parking, check_may_return, check_park_id
from kdm_core.ports import DeploymentReader
from kdm_core.scaling import SetTo, check_reason, stored_instead
from kdm_core.service.owning import note
from kdm_core.service.parking_rounds import Asked, Round, Rounds
from kdm_core.service.recording import Attempt
from kdm_core.versions import older

TURNS_FOR_OTHERS: Final = 5
"""For how many rounds a park leaves another one its turn that has a record already and has not scaled yet: a third of a
second, as the pauses go. Then that one was cut short, and its record is replaced. Without it two calls of different
batches write over each other's records, and a third one may answer with the one that does not stay."""

_log = logging.getLogger(__name__)


class Parker(Rounds):
    """Parks and restores on behalf of callers."""

    async def park(self, asked: Asked) -> Parking:
        """See :meth:`kdm_core.service.DeploymentService.park`."""
        ref = asked.ref
        with self._recorder.attempt(
            asked.caller, ref.namespace, ref.name, SetTo(0), dry_run=asked.dry_run, verb=Verb.PARK, batch=asked.batch
        ) as attempt:
            attempt.why = check_reason(asked.reason)
            attempt.park_id = token_hex(6) if asked.park_id is None else check_park_id(asked.park_id)
            return _said(await self._run(asked, attempt, 0, self._try_to_park), attempt)

    async def restore(self, asked: Asked) -> Parking:
        """See :meth:`kdm_core.service.DeploymentService.restore`."""
        ref = asked.ref
        with self._recorder.attempt(
            asked.caller, ref.namespace, ref.name, None, dry_run=asked.dry_run, verb=Verb.RESTORE, batch=asked.batch
        ) as attempt:
            attempt.new = asked.replicas
            attempt.why = check_reason(asked.reason)
            attempt.park_id = "" if asked.park_id is None else check_park_id(asked.park_id)
            if asked.replicas is not None and check_replicas(asked.replicas, maximum=self._max_replicas) == 0:
                raise InvalidChange("replicas: must be at least 1: restoring to 0 would restore nothing")
            try:
                return _said(await self._run(asked, attempt, asked.replicas, self._try_to_restore), attempt)
            except NamespaceNotWatched:
                raise
            except DeploymentNotFound:
                if asked.replicas is None and not asked.dry_run:
                    await self.forget_gone(ref, asked.park_id)
                raise

    async def _try_to_park(self, this: Round) -> Parking | None:
        ref, caller, attempt = this.asked.ref, this.asked.caller, this.attempt
        record = await self._lot.read(ref)
        if not this.fresh and (record is not None or this.current == 0):
            await self._look_again(this)  # the cache may be behind, and this decides
            return None
        if not await self._compares(this, record):
            return None
        held, current = this.held, this.current
        attempt.old = current
        ours = record if record is not None and record.uid == held.uid else None
        if current == 0:
            if record is not None and record == this.mine:  # somebody else was faster
                await self._take_back(this)
                await self._look_again(this)
                return None
            if ours is None:
                raise NothingToPark(ref)
            attempt.park_id = ours.park_id
            return Parking(held, 0, 0, ours, changed=False, dry_run=this.asked.dry_run)
        under_way = ours is not None and ours != this.mine and ours.version == held.resource_version
        if under_way and this.attempts < TURNS_FOR_OTHERS:
            this.attempts += 1
            await self._look_again(this)
            return None
        self._permission.check(held, Verb.SCALE, caller.identity, 0, reason=bool(attempt.why))
        check_may_return(ref, current, self._max_replicas)
        note(self._permission, attempt, held, 0, caller.identity, override=this.asked.override)
        self._recorder.check()
        woken = ours if ours is not None and ours.woken == current else None  # it keeps the count that it had
        new = Parked(
            uid=held.uid,
            replicas=current if woken is None else woken.replicas,
            at=int(self._now()),
            by=caller.identity.user,
            reason=attempt.why,
            park_id=attempt.park_id,
            woken=None if woken is None else woken.woken,
            version=held.resource_version,
            token=token_hex(4),
        )
        return await self._record_and_scale(this, record, new, 0)

    async def _try_to_restore(self, this: Round) -> Parking | None:
        asked, attempt = this.asked, this.attempt
        ref = asked.ref
        record = await self._lot.read(ref)
        if record is None:
            raise NotParked(ref, "nothing is remembered of it")
        if asked.park_id not in (None, record.park_id):
            raise NotParked(ref, f"not with the parkId '{asked.park_id}' but with '{record.park_id}'")
        if not await self._compares(this, record):
            return None
        held, current = this.held, this.current
        attempt.old, attempt.park_id = current, record.park_id
        awake = record.woken is not None and current == record.woken
        if record.uid != held.uid or (current != 0 and not awake) or (awake and asked.replicas is not None):
            if this.fresh:
                return await self._leave_alone(this, record)
            await self._look_again(this)  # the cache may be behind, and this decides
            return None
        target = record.replicas if asked.replicas is None else asked.replicas
        attempt.new = check_replicas(target, maximum=self._max_replicas)
        if asked.result not in (None, target):
            raise WriteConflict(f"Deployment '{ref}' was parked with {target} replicas, not {asked.result}", held)
        self._permission.check(held, Verb.SCALE, asked.caller.identity, target, reason=bool(attempt.why))
        note(self._permission, attempt, held, target, asked.caller.identity, override=asked.override, back=True)
        self._recorder.check()
        if asked.replicas is not None:
            new = evolve(record, woken=target, version=held.resource_version, token=token_hex(4))
            return await self._record_and_scale(this, record, new, target)
        written = await self._scale(this, target)
        if written is None:
            return None
        desired = written.replicas.desired
        warnings = stored_instead(target, desired, dry_run=asked.dry_run)
        if not asked.dry_run:
            warnings = (*warnings, *await self._put_away(record, written))
        return Parking(written, current, desired, None, changed=True, dry_run=asked.dry_run, warnings=warnings)

    async def _leave_alone(self, this: Round, record: Parked) -> Parking:
        """Say why a Deployment is not restored, and put its record away where nothing can rest on it any more.

        Raises:
            NotParked: It has been woken, or is just being parked.
            ChangedSinceParked: It is another one, or has another count.
        """
        asked, held, current = this.asked, this.held, this.current
        ref, same, trial = asked.ref, record.uid == held.uid, asked.dry_run
        if same and current == record.woken:
            if asked.replicas == current:
                return Parking(held, current, current, record, changed=False, dry_run=trial)
            raise NotParked(ref, f"it was woken to {current} replicas; restore it, or set its count")
        if same and not older(record.version, held.resource_version):
            raise NotParked(ref, f"it has {current} replicas; a park of it is under way, or was cut short")
        forget = asked.replicas is None and not trial
        warnings = await self._put_away(record, held) if forget else ()
        if same and asked.replicas is None and current == record.replicas:  # as after a crash before the last step
            return Parking(held, current, current, None, changed=False, dry_run=trial, warnings=warnings)
        what = "was scaled by somebody" if same else "was deleted and created again"
        raise ChangedSinceParked(ref, current, record.replicas, what, forgotten=forget and not warnings)

    async def forget_gone(self, ref: DeploymentRef, park_id: str | None = None) -> None:
        """Remove the record of a Deployment, if the cluster does not have it any more. Never raises.

        Args:
            ref: Which Deployment.
            park_id: Only if it was parked with this batch; None for any.
        """
        if not self._sees_all:
            return
        try:
            record = await self._lot.read(ref)
            if record is None or park_id not in (None, record.park_id):
                return
            try:
                if (await self._repository.fetch(ref)).uid == record.uid:
                    return
            except NamespaceNotWatched:
                return
            except DeploymentNotFound:
                pass  # it was gone after its record was read, so it stays gone: another one has another uid
            await self._lot.swap(ref, record, None)
        except KdmError as error:
            _log.warning("the record of Deployment '%s', which is gone, could not be removed: %s", ref, error)


def is_gone(repository: DeploymentReader, ref: DeploymentRef) -> bool:
    """Return whether a repository knows, from memory, that it has no such Deployment."""
    try:
        repository.get(ref)
    except DeploymentNotFound as error:
        return not isinstance(error, NamespaceNotWatched)
    except KdmError:
        pass
    return False


def _said(parking: Parking, attempt: Attempt) -> Parking:
    """Return what came of it, with what the owners do to the count."""
    attempt.nothing_sent = not parking.changed
    return evolve(parking, warnings=(*parking.warnings, *(each.message for each in attempt.owners)))
