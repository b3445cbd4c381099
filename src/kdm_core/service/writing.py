"""Changing a count: judged by its result, written at once or by compare-and-set, recorded whatever comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from weakref import WeakValueDictionary

from attrs import evolve, frozen

from kdm_core.errors import (
    Contended,
    DeploymentNotFound,
    Forbidden,
    KdmError,
    OutOfBounds,
    OwnerConflict,
    PreconditionFailed,
    WriteConflict,
)
from kdm_core.model import Caller, Deployment, DeploymentRef, Verb
from kdm_core.ports import DeploymentRepository
from kdm_core.scaling import ANY, Change, Expect, Scaled, SetTo, check_reason
from kdm_core.service.contention import Contention
from kdm_core.service.history import sent
from kdm_core.service.owning import note
from kdm_core.service.permission import Permission
from kdm_core.service.recording import Attempt, Recorder
from kdm_core.tracking import ChangeTracker

Condition = Callable[[Deployment], None]
"""Raises ``PreconditionFailed`` where a Deployment must not be written."""

_SCALE: Final = Verb.SCALE


@frozen
class Write:
    """A write that somebody asks for. See :meth:`kdm_core.service.DeploymentService.set_replicas`."""

    ref: DeploymentRef
    change: Change
    caller: Caller
    expect: Expect
    dry_run: bool
    condition: Condition | None
    reason: str
    exactly: bool = False
    override: bool = False
    heed_owners: bool = True
    batch: str = ""


class Writer:
    """Writes counts on behalf of callers.

    Relative changes of one Deployment take turns within this process. Against other processes they compare and set: the
    cluster takes the result only if the count is still the one it was computed from.

    Args:
        repository: Where the Deployments are.
        permission: Who may do what.
        recorder: Where attempts are recorded.
        max_replicas: The largest count.
        contention: How long to try where others write, too.
        tracker: Takes note of what is written; None for nobody.
    """

    def __init__(
        self,
        repository: DeploymentRepository,
        permission: Permission,
        recorder: Recorder,
        *,
        max_replicas: int,
        contention: Contention,
        tracker: ChangeTracker | None = None,
    ) -> None:
        self._repository = repository
        self._permission = permission
        self._recorder = recorder
        self._max_replicas = max_replicas
        self._contention = contention
        self._tracker = tracker
        self._turns: WeakValueDictionary[DeploymentRef, asyncio.Lock] = WeakValueDictionary()

    async def write(self, write: Write) -> Scaled:
        """See :meth:`kdm_core.service.DeploymentService.set_replicas`."""
        ref, change = write.ref, write.change
        with self._recorder.attempt(
            write.caller, ref.namespace, ref.name, change, dry_run=write.dry_run, batch=write.batch
        ) as attempt:
            change.check(self._max_replicas)
            attempt.why = check_reason(write.reason)
            try:
                if isinstance(change, SetTo) and not write.exactly:
                    return await self._set(write, change.replicas, attempt)
                turn = self._turns.setdefault(ref, asyncio.Lock())
                await self._wait_for(turn, ref)
                try:
                    return await self._compare_and_set(write, change, attempt)
                finally:
                    turn.release()
            except KdmError as error:
                if write.dry_run:
                    error.written = False
                if isinstance(error, WriteConflict) and write.expect != ANY:
                    error.expected = write.expect
                raise

    async def _wait_for(self, turn: asyncio.Lock, ref: DeploymentRef) -> None:
        """Wait for one's turn; not so long that a caller's deadline comes first, and leaves open what was written."""
        try:
            async with asyncio.timeout(self._contention.timeout_s):
                await turn.acquire()
        except TimeoutError as error:
            raise Contended(ref, 0) from error

    async def _set(self, write: Write, replicas: int, attempt: Attempt) -> Scaled:
        ref, expect = write.ref, write.expect
        # Where the cache has none it may be behind: the cluster has the last word.
        held = self._permission.known(ref, _SCALE, write.caller.identity, replicas, reason=bool(attempt.why))
        attempt.old = held.replicas.desired if held else None
        if write.condition is not None:
            if held is None:
                raise DeploymentNotFound(ref)  # the cluster may have it, but there is nothing to judge by
            write.condition(held)
        if held is not None:
            self._heed(held, replicas, write, attempt)
        self._recorder.check()
        until = self._contention.until()
        attempts = 0
        while True:
            try:
                written = await self._send(write, replicas, expect, attempt)
            except WriteConflict as conflict:
                attempts += 1
                self._check_again(conflict.current, write, attempt, replicas)
                if conflict.current is None or expect.unmet(conflict.current) or self._contention.clock() >= until:
                    raise
                await self._contention.pause(attempts)  # all is as expected: it was the status that somebody wrote
            else:
                previous = attempt.old if expect.replicas is None else expect.replicas
                return Scaled(written, previous, write.dry_run, attempt.owners, replicas)

    async def _compare_and_set(self, write: Write, change: Change, attempt: Attempt) -> Scaled:
        ref, expect = write.ref, write.expect
        held = self._permission.known(ref, _SCALE, write.caller.identity, reason=bool(attempt.why))
        fresh = held is None
        held = held or await self._fetch(write, attempt)
        if not fresh and (expect.unmet(held) or self._refuses(held, change, write, attempt)):
            held = await self._fetch(write, attempt)  # the cache may be behind, and nobody is refused for that
        if unmet := expect.unmet(held):
            raise WriteConflict(f"Deployment '{ref}' is not as expected: {unmet}", held)
        if write.condition is not None:
            write.condition(held)
        until = self._contention.until()
        attempts = 0
        while True:
            attempt.old, attempt.new = held.replicas.desired, change.replicas if isinstance(change, SetTo) else None
            attempt.new = replicas = self._judge(held, change, write, attempt)
            self._recorder.check()
            exactly = evolve(expect, replicas=attempt.old, uid=held.uid)
            try:
                written = await self._send(write, replicas, exactly, attempt)
            except WriteConflict as conflict:
                attempts += 1
                self._check_again(conflict.current, write, attempt)
                held = conflict.current or await self._fetch(write, attempt)
                if expect.unmet(held):
                    raise  # it is not what the caller expects, and trying again does not change that
                if write.condition is not None:
                    write.condition(held)
                if self._contention.clock() >= until:
                    raise Contended(ref, attempts) from conflict
                await self._contention.pause(attempts)
            else:
                return Scaled(written, attempt.old, write.dry_run, attempt.owners, replicas)

    async def _send(self, write: Write, replicas: int, expect: Expect, attempt: Attempt) -> Deployment:
        """Have the cluster store a count, and the history take note of what comes of it."""
        return await sent(
            self._repository,
            self._tracker,
            write.ref,
            replicas,
            expect=expect,
            dry_run=write.dry_run,
            caller=write.caller,
            reason=attempt.why,
            batch=write.batch,
            previous=attempt.old,
            override=bool(attempt.overridden),
        )

    async def _fetch(self, write: Write, attempt: Attempt) -> Deployment:
        return await self._permission.fetched(write.ref, _SCALE, write.caller.identity, reason=bool(attempt.why))

    def _check_again(
        self, found: Deployment | None, write: Write, attempt: Attempt, replicas: int | None = None
    ) -> None:
        """Check the permission once more, of what the cluster has: its labels may be others than the cache knew.

        An error would show it, and another attempt would write it.
        """
        if found is not None:
            self._permission.check(found, _SCALE, write.caller.identity, replicas, reason=bool(attempt.why))

    def _refuses(self, held: Deployment, change: Change, write: Write, attempt: Attempt) -> bool:
        """Return whether a write is refused in this state, and might not be in a newer one."""
        try:
            self._judge(held, change, write, attempt)
            if write.condition is not None:
                write.condition(held)
        except (OutOfBounds, Forbidden, OwnerConflict):
            return True
        except PreconditionFailed as error:
            return error.maybe_later
        return False

    def _judge(self, held: Deployment, change: Change, write: Write, attempt: Attempt) -> int:
        """Return the count after a change, if bounds and policy allow it."""
        identity, reason = write.caller.identity, bool(attempt.why)
        self._permission.check(held, _SCALE, identity, reason=reason)
        replicas = change.result(held.ref, held.replicas.desired, self._max_replicas)
        self._permission.check(held, _SCALE, identity, replicas, reason=reason)
        self._heed(held, replicas, write, attempt)
        return replicas

    def _heed(self, held: Deployment, replicas: int, write: Write, attempt: Attempt) -> None:
        """Note what the owners do to a count, and refuse what would not last."""
        if write.heed_owners:
            note(self._permission, attempt, held, replicas, write.caller.identity, override=write.override)
