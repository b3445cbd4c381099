"""The record of what was tried: one audit event for each attempt to write, and for each refusal to read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from attrs import define

from kdm_core.bulk import BulkChange, Park, Planned, Restore
from kdm_core.errors import AuditUnavailable, Forbidden, KdmError, OwnerConflict, Unavailable, WriteForbidden
from kdm_core.model import AuditEvent, Caller, Outcome, Verb
from kdm_core.names import MAX_REPLICAS
from kdm_core.owners import Judgement
from kdm_core.ports import AuditSink, ServiceInstrument
from kdm_core.scaling import Change, SetTo
from kdm_core.trail import to_line

_log = logging.getLogger(__name__)


@define
class Attempt:
    """What is known of an attempt to write while it is made.

    Attributes:
        namespace: Where; "*" for whichever.
        old: The count before, where known.
        new: The count asked for, where known.
        why: The caller's reason.
        park_id: The batch that is parked or restored; "" where none is.
        owners: What the Deployment's owners do to the count.
        overridden: Those of them that change it back, and were overridden.
        nothing_sent: Whether all was so already, and nothing was sent to the cluster.
        goes_on: Whether it goes on under another attempt, which then is the one to be recorded.
    """

    namespace: str
    old: int | None = None
    new: object = None
    why: str = ""
    park_id: str = ""
    nothing_sent: bool = False
    goes_on: bool = False
    owners: tuple[Judgement, ...] = ()
    overridden: tuple[Judgement, ...] = ()


class Recorder:
    """Writes the audit trail, and counts the writes.

    Args:
        audit: The trail; None for nowhere.
        instrument: Counts the attempts.
        clock: Monotonic seconds.
    """

    def __init__(self, audit: AuditSink | None, instrument: ServiceInstrument, clock: Callable[[], float]) -> None:
        self._audit = audit
        self._instrument = instrument
        self._clock = clock

    def check(self) -> None:
        """Make sure that an attempt could be recorded.

        Raises:
            AuditUnavailable: It could not.
        """
        if self._audit is not None:
            self._audit.check()

    @contextmanager
    def attempt(
        self,
        caller: Caller,
        namespace: str,
        name: str,
        change: Change | None,
        *,
        dry_run: bool = False,
        batch: str = "",
        verb: Verb = Verb.SCALE,
    ) -> Iterator[Attempt]:
        """Record what comes of an attempt to write, whatever that is.

        Args:
            caller: Who tries.
            namespace: Where.
            name: On which Deployment.
            change: What is asked for.
            dry_run: Whether it is a trial.
            batch: The id of the batch that it belongs to; "" for none.
            verb: What is tried.

        Yields:
            The attempt, to be completed.

        Raises:
            AuditUnavailable: It succeeded, and could not be recorded.
        """
        started = self._clock()
        attempt = Attempt(namespace, new=change.replicas if isinstance(change, SetTo) else None)
        outcome, reason = Outcome.FAILED, "cancelled: it may have been written"
        try:
            yield attempt
            outcome, reason = Outcome.SUCCESS, ""
        except KdmError as error:
            outcome, reason = _outcome(error), str(error)
            if isinstance(error, Forbidden):
                attempt.namespace = error.namespace or attempt.namespace
            if isinstance(error, OwnerConflict):
                self._count(error.owners, overridden=False)
            raise
        except Exception as error:
            reason = f"internal error: {type(error).__name__}"
            raise
        finally:
            if not (attempt.goes_on and outcome is Outcome.SUCCESS):
                latency_s = self._clock() - started
                self._instrument.write(outcome.value, latency_s)
                self._count(attempt.overridden, overridden=True)
                self._record(
                    AuditEvent(
                        time=datetime.now(UTC),
                        request_id=caller.request_id,
                        actor=caller.identity,
                        verb=verb,
                        namespace=attempt.namespace,
                        name=name,
                        old_replicas=attempt.old,
                        new_replicas=_count(attempt.new),
                        outcome=outcome,
                        reason=reason,
                        latency_s=latency_s,
                        dry_run=dry_run,
                        change_reason=attempt.why,
                        batch=batch,
                        park_id=attempt.park_id,
                        overrides=", ".join(str(each.owner) for each in attempt.overridden),
                    ),
                    written=not (dry_run or attempt.nothing_sent),
                )

    def untried(
        self, caller: Caller, item: Planned, error: KdmError | None, *, dry_run: bool, batch: str, why: str
    ) -> None:
        """Record an item of a batch for which nothing was sent to the cluster. It is counted as no write.

        Args:
            caller: Who asked.
            item: What was to be done.
            error: Why it was not; None where the count is so already.
            dry_run: Whether it was a trial.
            batch: The id of the batch.
            why: The caller's reason.

        Raises:
            AuditUnavailable: The count is so, and that could not be recorded.
        """
        after = item.change.replicas if item.after is None and isinstance(item.change, SetTo) else item.after
        self._record(
            AuditEvent(
                time=datetime.now(UTC),
                request_id=caller.request_id,
                actor=caller.identity,
                verb=_verb(item.change),
                namespace=item.ref.namespace,
                name=item.ref.name,
                old_replicas=item.before,
                new_replicas=_count(after),
                outcome=Outcome.SUCCESS if error is None else _outcome(error),
                reason="" if error is None else str(error),
                dry_run=dry_run,
                change_reason=why,
                batch=batch,
            )
        )

    def refusal(self, error: Forbidden, caller: Caller, namespace: str, name: str = "") -> None:
        """Record that somebody was not allowed to read.

        Args:
            error: What they got.
            caller: Who asked.
            namespace: Where, as asked; the error may know better.
            name: Of which Deployment; "" for a list.
        """
        self._record(
            AuditEvent(
                time=datetime.now(UTC),
                request_id=caller.request_id,
                actor=caller.identity,
                verb=Verb.READ,
                namespace=error.namespace or namespace,
                name=name,
                outcome=Outcome.DENIED,
                reason=str(error),
            )
        )

    def _count(self, owners: tuple[Judgement, ...], *, overridden: bool) -> None:
        for each in owners:
            self._instrument.owner_conflict(each.owner.kind, overridden=overridden)

    def _record(self, event: AuditEvent, *, written: bool = False) -> None:
        if self._audit is None:
            return
        try:
            self._audit.record(event)
        except AuditUnavailable as error:
            _log.error("an audit event was lost: %s: %s", error, to_line(event).decode().rstrip())
            if event.outcome is Outcome.SUCCESS:
                nothing = "the dry run was done" if event.dry_run else "nothing had to be written"
                done = "the write was done" if written else nothing
                raise AuditUnavailable(f"{done}, but not recorded: {error}", written=written) from error


def _outcome(error: KdmError) -> Outcome:
    if isinstance(error, Forbidden):
        return Outcome.DENIED
    return Outcome.FAILED if isinstance(error, Unavailable | WriteForbidden) else Outcome.REJECTED


def _verb(change: BulkChange) -> Verb:
    return Verb.PARK if isinstance(change, Park) else Verb.RESTORE if isinstance(change, Restore) else Verb.SCALE


def _count(asked: object) -> int | None:
    return asked if type(asked) is int and abs(asked) <= MAX_REPLICAS else None
