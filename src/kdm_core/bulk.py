"""Many changes at once: what is asked for, and what would be done."""

from __future__ import annotations

import enum
import json
from functools import cached_property
from hashlib import blake2b
from typing import Final, TypeGuard

from attrs import frozen

from kdm_core.errors import InvalidQuery, KdmError
from kdm_core.model import ALL_NAMESPACES, Deployment, DeploymentRef
from kdm_core.owners import Effect, Judgement
from kdm_core.parked import Parked
from kdm_core.parking import ParkedState, check_park_id, state_of
from kdm_core.scaling import ANY, Change, Expect
from kdm_core.selectors import EVERYTHING, LabelSelector

MAX_ITEMS: Final = 500
"""How many Deployments one batch may have."""

AT_A_TIME: Final = 8
"""How many requests to the cluster batches have under way at a time, all of them together: half of what the smallest
priority level of an API server lets one user have (API Priority and Fairness), so that others get their turn."""

BATCH_S: Final = 120.0
"""How long a batch may begin new writes, in seconds. The rest is skipped then."""


class OnError(enum.StrEnum):
    """What becomes of a batch when an item is refused or fails."""

    ABORT = "abort"
    """One refusal, and nothing is changed at all. After a failure nothing more is begun."""
    CONTINUE = "continue"
    """The others are done all the same, unless what failed would fail for them too."""


@frozen
class Park:
    """Remember the count, and go to zero. What is at zero already stays as it is.

    Attributes:
        park_id: What the batch is called that is restored together; None for the id of the batch.
    """

    park_id: str | None = None

    def check(self, maximum: int) -> None:  # noqa: ARG002 - as the other changes
        """Check that the change could be right.

        Raises:
            InvalidChange: ``park_id`` is no such name.
        """
        if self.park_id is not None:
            check_park_id(self.park_id)

    def plan(self, held: Deployment) -> tuple[int, tuple[str, ...]]:
        """Return the count that results, and what to say of it."""
        if held.replicas.desired == 0 and (held.parked is None or held.parked.uid != held.uid):
            return 0, ("it has no replicas already, and none are remembered: restoring will leave it so",)
        return 0, ()


@frozen
class Restore:
    """Bring back the count that is remembered. What is not parked, or was scaled since, is left alone.

    Attributes:
        park_id: Only what was parked with this batch; None for any.
    """

    park_id: str | None = None

    def check(self, maximum: int) -> None:  # noqa: ARG002 - as the other changes
        """Check that the change could be right.

        Raises:
            InvalidChange: ``park_id`` is no such name.
        """
        if self.park_id is not None:
            check_park_id(self.park_id)

    def concerns(self, record: Parked | None) -> TypeGuard[Parked]:
        """Return whether this is about what is remembered of a Deployment, if anything is."""
        return record is not None and self.park_id in {None, record.park_id}

    def plan(self, held: Deployment, record: Parked | None) -> tuple[int, tuple[str, ...]]:
        """Return the count that results, and what to say of it.

        Args:
            held: The Deployment.
            record: What is remembered of the Deployment of this name, which may have been another one.
        """
        current = held.replicas.desired
        if not self.concerns(record):
            return current, ()
        match state_of(record, held):
            case ParkedState.PARKED | ParkedState.WOKEN:
                return record.replicas, ()
            case ParkedState.CHANGED:
                return current, (f"somebody scaled it since it was parked with {record.replicas}: it is left alone",)
            case ParkedState.GONE:
                return current, (
                    f"it was deleted and created again since it was parked with {record.replicas}: it is left alone",
                )


BulkChange = Change | Park | Restore


@frozen
class BulkItem:
    """One Deployment of a batch, by name.

    Attributes:
        ref: Which.
        change: The change.
        expect: What the Deployment must be like.
    """

    ref: DeploymentRef
    change: BulkChange
    expect: Expect = ANY


@frozen
class Selection:
    """The Deployments that the caller may read and that have certain labels, all with the same change.

    Attributes:
        change: The change of each.
        namespace: Of one namespace; "*" for every watched one.
        selector: With which labels.
        everything: Whether all of them are meant, whatever their labels. Nothing else selects all: an empty selector
            is more often a variable that was not set.

    Raises:
        InvalidQuery: It has neither a selector nor ``everything``, or both.
    """

    change: BulkChange
    namespace: str = ALL_NAMESPACES
    selector: LabelSelector = EVERYTHING
    everything: bool = False

    def __attrs_post_init__(self) -> None:
        if self.everything and self.selector.requirements:
            raise InvalidQuery("select: all and labelSelector exclude each other; leave one of them out")
        if not self.everything and not self.selector.requirements:
            raise InvalidQuery("select: name a labelSelector, or say all: true for every Deployment there")


@frozen
class Bulk:
    """A batch that somebody asks for.

    Attributes:
        of: Which Deployments, and their changes.
        reason: Why, in the caller's own words: see ``set_replicas``.
        on_error: What becomes of it when an item is refused or fails.
        override: Whether to change what an owner will change back.
    """

    of: Selection | tuple[BulkItem, ...]
    reason: str = ""
    on_error: OnError = OnError.ABORT
    override: bool = False


_WORST_FIRST: Final = (Effect.REVERTS, Effect.SUSPENDS, Effect.RESETS_ON_APPLY, Effect.MAY_CHANGE)


@frozen
class Planned:
    """What would be done to one Deployment.

    Attributes:
        ref: Which.
        change: The change that is asked for.
        expect: What the Deployment must be like when it is written: what was asked for, and the count and the uid that
            were judged.
        deployment: The Deployment as it was judged; None where it is refused unseen, or is gone.
        after: The count that would result; None where it is refused, and where there is no such Deployment any more.
        refusal: Why it is refused; None where it is not.
        warnings: What the caller should know before it is done, for a person.
        owners: What else changes the count, and what it will do to the new one.
        record: What is remembered of a parked Deployment of this name, where the change is a restore; None for nothing.
    """

    ref: DeploymentRef
    change: BulkChange
    expect: Expect = ANY
    deployment: Deployment | None = None
    after: int | None = None
    refusal: KdmError | None = None
    warnings: tuple[str, ...] = ()
    owners: tuple[Judgement, ...] = ()
    record: Parked | None = None

    @property
    def before(self) -> int | None:
        """The count that was judged; None where it was refused unseen."""
        return None if self.deployment is None else self.deployment.replicas.desired

    @property
    def uid(self) -> str:
        """Which object was judged; "" where it was refused unseen."""
        return "" if self.deployment is None else self.deployment.uid

    @property
    def effect(self) -> Effect | None:
        """The worst that an owner does to the new count; None where nothing does anything."""
        return min((each.effect for each in self.owners), key=_WORST_FIRST.index, default=None)

    @property
    def changes(self) -> bool:
        """Whether there is something to write."""
        return self.refusal is None and self.before != self.after

    @property
    def forgets(self) -> bool:
        """Whether a restore leaves it alone, and forgets what is remembered of it: it must not come back some day."""
        kept = self.refusal is None and not self.changes
        return kept and isinstance(self.change, Restore) and self.change.concerns(self.record)


@frozen
class Plan:
    """What would be done, item by item. Kubernetes has no transaction: each item is a write of its own.

    Attributes:
        items: The items; those of a selection ordered by namespace, then name, named ones as they were named.
        on_error: What becomes of the batch when an item is refused or fails.
        override: Whether owners are overridden.
    """

    items: tuple[Planned, ...]
    on_error: OnError = OnError.ABORT
    override: bool = False

    @cached_property
    def refused(self) -> tuple[tuple[DeploymentRef, KdmError], ...]:
        """The items that are refused, each with why."""
        return tuple((each.ref, each.refusal) for each in self.items if each.refusal is not None)

    @cached_property
    def changing(self) -> tuple[Planned, ...]:
        """The items that would be written: none where a refusal stops all."""
        if self.refused and self.on_error is OnError.ABORT:
            return ()
        return tuple(each for each in self.items if each.changes)

    @cached_property
    def tag(self) -> str:
        """What the plan is known by: it changes when, and only when, what would be done changes.

        It covers each object that would be written, with its count before and after and what its owners do to that, and
        how the batch deals with errors. What stays as it is, and what is refused, is not done: it does not change it.
        """
        done = [[*_identity(each), each.before, each.after, each.effect] for each in self.changing]
        said = json.dumps([self.on_error.value, self.override, sorted(done)], separators=(",", ":"))
        return blake2b(said.encode(), digest_size=16).hexdigest()


def _identity(planned: Planned) -> tuple[str, ...]:
    """Return what is done to which object: a park and a restore do more than write a count."""
    change = planned.change
    also = (type(change).__name__, change.park_id or "") if isinstance(change, Park | Restore) else ("", "")
    return planned.ref.namespace, planned.ref.name, planned.uid, *also
