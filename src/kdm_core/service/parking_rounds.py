"""What parking and restoring have in common: rounds of looking, recording and writing that lose no count (ADR 0034).

Each round looks at the Deployment first, then at its record, and then writes to the Deployment only at the version that
it looked at. Whatever somebody else has done in between moves the version, and the round begins again. So a record
is put away only where the Deployment has moved on from the version in it: no write that rests on it can still happen.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from attrs import define, evolve, frozen

from kdm_core.errors import Contended, KdmError, WriteConflict, WriteInvalid
from kdm_core.model import Caller, Deployment, DeploymentRef, Verb
from kdm_core.parked import Parked
from kdm_core.parking import Parking
from kdm_core.ports import DeploymentRepository, ParkingLot
from kdm_core.scaling import ANY, Expect, stored_instead
from kdm_core.service.contention import Contention
from kdm_core.service.history import sent
from kdm_core.service.permission import Permission
from kdm_core.service.recording import Attempt, Recorder
from kdm_core.tracking import ChangeTracker
from kdm_core.versions import older

_log = logging.getLogger(__name__)


@frozen
class Asked:
    """What somebody asks for. See :meth:`kdm_core.service.DeploymentService.park`.

    Attributes:
        expect: What the Deployment must be like.
        result: The count that it must come to; None for whichever is remembered.
        batch: The id of the batch that it belongs to; "" for none.
    """

    ref: DeploymentRef
    caller: Caller
    park_id: str | None = None
    replicas: int | None = None
    reason: str = ""
    dry_run: bool = False
    override: bool = False
    expect: Expect = ANY
    result: int | None = None
    batch: str = ""


@define
class Round:
    """What one call knows, and what it has written to the record.

    Attributes:
        asked: What is asked for.
        attempt: What the audit trail gets to know.
        held: The Deployment as it was last seen.
        fresh: Whether the cluster itself was asked for it.
        until: When to give up, in the clock's seconds.
        attempts: How many rounds others have spoilt.
        mine: The record as this call wrote it; None where it did not.
        before: What was there before; None for nothing.
    """

    asked: Asked
    attempt: Attempt
    held: Deployment
    fresh: bool
    until: float
    attempts: int = 0
    mine: Parked | None = None
    before: Parked | None = None

    @property
    def current(self) -> int:
        """The count that the Deployment has."""
        return self.held.replicas.desired


class Rounds:
    """Looks, records and writes, until nobody interferes.

    Args:
        repository: Where the Deployments are.
        lot: Where the records are.
        permission: Who may do what.
        recorder: Where attempts are recorded.
        max_replicas: The largest count.
        sees_all: Whether a Deployment that the repository does not have does not exist.
        contention: How long to try where others write, too.
        tracker: Takes note of what is written; None for nobody.
        now: Seconds since 1970.
    """

    def __init__(
        self,
        repository: DeploymentRepository,
        lot: ParkingLot,
        permission: Permission,
        recorder: Recorder,
        *,
        max_replicas: int,
        sees_all: bool = True,
        contention: Contention,
        tracker: ChangeTracker | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._repository = repository
        self._lot = lot
        self._permission = permission
        self._recorder = recorder
        self._max_replicas = max_replicas
        self._sees_all = sees_all
        self._contention = contention
        self._tracker = tracker
        self._now = now

    async def _run(
        self,
        asked: Asked,
        attempt: Attempt,
        replicas: int | None,
        try_once: Callable[[Round], Awaitable[Parking | None]],
    ) -> Parking:
        """Begin again until nobody interferes. What fails for certain takes the record back."""
        until = self._contention.until()
        held = self._permission.known(
            asked.ref, Verb.SCALE, asked.caller.identity, replicas, reason=bool(attempt.why)
        )  # fmt: skip
        fresh = held is None
        this = Round(asked, attempt, held or await self._fetch(asked, attempt), fresh, until)
        try:
            await self._check_expected(this)
            while (done := await try_once(this)) is None:
                await self._check_expected(this)
                if this.attempts:
                    if self._contention.clock() >= until:
                        raise Contended(asked.ref, this.attempts)
                    await self._contention.pause(this.attempts)
        except KdmError as error:
            if asked.dry_run:
                error.written = False
            if error.written is False:
                await self._take_back(this)
            raise
        return done

    async def _check_expected(self, this: Round) -> None:
        """Check that the Deployment is as it was expected: asked of the cluster where the cache may be behind."""
        expect = this.asked.expect
        if expect.unmet(this.held) and not this.fresh:
            await self._look_again(this)
        if unmet := expect.unmet(this.held):
            error = WriteConflict(f"Deployment '{this.asked.ref}' is not as expected: {unmet}", this.held)
            error.expected = expect
            raise error

    async def _compares(self, this: Round, record: Parked | None) -> bool:
        """Return whether the Deployment was looked at late enough to be compared with its record.

        One that was made after the Deployment was looked at says more than is known of it; so does one of another uid,
        until the Deployment has been looked at once more.
        """
        if record is None:
            return True
        if record.uid != this.held.uid:
            await self._look_again(this)
            return this.held.uid != record.uid
        if older(this.held.resource_version, record.version):
            this.attempts += 1
            await self._look_again(this)
            return False
        return True

    async def _record_and_scale(self, this: Round, record: Parked | None, new: Parked, replicas: int) -> Parking | None:
        """Write the record, then the count; None where somebody else wrote one of them meanwhile."""
        previous, asked = this.current, this.asked
        if not asked.dry_run:
            if this.mine is None or record != this.mine:
                this.before = record
            this.mine = new
            if not await self._lot.swap(asked.ref, record, new):
                this.attempts += 1
                await self._look_again(this)
                return None
        written = await self._scale(this, replicas)
        if written is None:
            return None
        stored = written.replicas.desired
        warnings = stored_instead(replicas, stored, dry_run=asked.dry_run)
        if stored != replicas:
            kept = evolve(new, woken=stored)  # admission made it of the count: nobody has scaled it since
            warnings = (*warnings, *(() if asked.dry_run else await self._keep(this, new, kept)))
            new = kept
        return Parking(written, previous, stored, new, changed=True, dry_run=asked.dry_run, warnings=warnings)

    async def _keep(self, this: Round, record: Parked, kept: Parked) -> tuple[str, ...]:
        """Note in a record which count the cluster stored. The write is done, so nothing rests on the record.

        Returns:
            What is to be said where it could not be noted.
        """
        try:
            if await self._lot.swap(this.asked.ref, record, kept):
                this.mine = kept
                return ()
        except KdmError as error:
            why = str(error)
        else:
            why = "another call has written it"
        return (f"that is not remembered, so a restore will take it for somebody's wish: {why}",)

    async def _scale(self, this: Round, replicas: int) -> Deployment | None:
        """Write the count, if the Deployment is exactly as it was seen; None where it is not."""
        held, dry_run = this.held, this.asked.dry_run
        version = None if dry_run else held.resource_version
        exactly = Expect(version, held.replicas.desired, held.uid)
        try:
            written = await sent(
                self._repository,
                self._tracker,
                this.asked.ref,
                replicas,
                expect=exactly,
                dry_run=dry_run,
                caller=this.asked.caller,
                reason=this.attempt.why,
                batch=this.asked.batch,
                previous=held.replicas.desired,
                override=bool(this.attempt.overridden),
            )
        except WriteConflict as conflict:
            this.attempts += 1
            if conflict.current is None:
                await self._look_again(this)
            else:
                self._check_again(conflict.current, this.asked, this.attempt)
                this.held, this.fresh = conflict.current, True
            return None
        if replicas != written.replicas.desired == held.replicas.desired:
            kept = held.replicas.desired
            raise WriteInvalid(
                f"the cluster kept Deployment '{this.asked.ref}' at {kept} replicas, where {replicas} were asked for: "
                "an admission webhook or policy changes the count"
            )
        return written

    async def _look_again(self, this: Round) -> None:
        this.held, this.fresh = await self._fetch(this.asked, this.attempt), True

    async def _fetch(self, asked: Asked, attempt: Attempt) -> Deployment:
        return await self._permission.fetched(asked.ref, Verb.SCALE, asked.caller.identity, reason=bool(attempt.why))

    def _check_again(self, found: Deployment, asked: Asked, attempt: Attempt) -> None:
        """Check the permission once more, of what the cluster has: its labels may be others than the cache knew."""
        self._permission.check(found, Verb.SCALE, asked.caller.identity, reason=bool(attempt.why))

    async def _take_back(self, this: Round) -> None:
        """Put back the record that was there before this call. One that stays does no harm: nothing rests on it."""
        mine, this.mine = this.mine, None
        if mine is None:
            return
        ref = this.asked.ref
        try:
            await self._lot.swap(ref, mine, this.before)
        except KdmError as error:
            _log.warning("the record of Deployment '%s', which was not parked, could not be removed: %s", ref, error)

    async def _put_away(self, record: Parked, seen: Deployment) -> tuple[str, ...]:
        """Remove a record once the Deployment has moved on from it, or is another one. A newer one stays.

        Returns:
            What is to be said where it could not be removed.
        """
        ref, there = seen.ref, record
        try:
            while there.uid == record.uid and (there.uid != seen.uid or older(there.version, seen.resource_version)):
                if await self._lot.swap(ref, there, None):
                    break
                found = await self._lot.read(ref)
                if found is None:
                    break
                there = found
        except KdmError as error:
            warning = f"the count is right, but it is still remembered that it was parked: {error}"
            _log.warning("Deployment '%s': %s", ref, warning)
            return (warning,)
        return ()
