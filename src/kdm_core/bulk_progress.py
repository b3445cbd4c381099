"""Many changes at once: how they get on, and what came of them."""

from __future__ import annotations

import asyncio
import enum
import math
from typing import Final

from attrs import frozen

from kdm_core.bulk import Plan, Planned
from kdm_core.errors import KdmError
from kdm_core.model import Deployment, DeploymentRef
from kdm_core.rollout import RolloutResult, WaitFor


class ItemOutcome(enum.StrEnum):
    """What became of one item."""

    PLANNED = "planned"
    """A dry run: it could be done."""
    DONE = "done"
    """The new count is stored."""
    UNCHANGED = "unchanged"
    """It has the count already: nothing was sent."""
    REFUSED = "refused"
    """Policy, bounds, owners or what was expected do not allow it: nothing was sent."""
    FAILED = "failed"
    """The cluster refused it, or could not be reached. ``written`` says what is known."""
    SKIPPED = "skipped"
    """The batch ended before its turn: nothing was sent."""


@frozen
class ItemResult:
    """What came of one item.

    Attributes:
        planned: What was to be done.
        outcome: What came of it.
        error: Why not; None where it is done, unchanged or planned.
        deployment: The Deployment as written, or, in a dry run, as the cluster would store it; None where neither.
        rollout: What came of waiting for its Pods; None where nobody waited.
        warnings: What turned out only when it was tried, for a person.
    """

    planned: Planned
    outcome: ItemOutcome
    error: Exception | None = None
    deployment: Deployment | None = None
    rollout: RolloutResult | None = None
    warnings: tuple[str, ...] = ()

    @property
    def ref(self) -> DeploymentRef:
        """Which Deployment."""
        return self.planned.ref

    @property
    def written(self) -> bool | None:
        """Whether a new count was stored; None where that is not known."""
        if self.outcome is ItemOutcome.FAILED:
            return self.error.written if isinstance(self.error, KdmError) else None
        return self.outcome is ItemOutcome.DONE


@frozen
class BulkResult:
    """What came of a batch.

    Attributes:
        batch: Its id, as the audit trail has it.
        plan: What was to be done.
        items: What came of each item, in the plan's order.
        dry_run: Whether nothing was stored.
    """

    batch: str
    plan: Plan
    items: tuple[ItemResult, ...]
    dry_run: bool = False

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for is so."""
        return all(each.outcome in _AS_ASKED for each in self.items)


_AS_ASKED: Final = frozenset({ItemOutcome.PLANNED, ItemOutcome.DONE, ItemOutcome.UNCHANGED})


@frozen
class BulkWait:
    """How long to wait for the Pods of a batch: one deadline for all.

    Attributes:
        timeout_s: How long after the first write, in seconds.
        wait_for: How far they must have come.
        valid_s: How long the caller may wait, in seconds: see ``rollout``.
    """

    timeout_s: float
    wait_for: WaitFor = WaitFor.AVAILABLE
    valid_s: float = math.inf


class BulkProgress:
    """Learns how a batch gets on. Every method does nothing; override those you need.

    Called on the event loop's thread, in the middle of things: an implementation must be quick and must not raise.
    """

    def planned(self, batch: str, plan: Plan) -> None:
        """The batch begins: nothing was sent yet."""

    def ended(self, result: ItemResult) -> None:
        """An item is over, but for its rollout. Called once for each."""

    def followed(self, ref: DeploymentRef, rollout: RolloutResult) -> None:
        """Waiting for an item's Pods is over."""


class Halt:
    """Ends a batch before its time. Belongs to one event loop.

    Attributes:
        reason: Why it ends, for a person; "" while it goes on.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._stopped = asyncio.Event()

    def stop(self, reason: str) -> None:
        """Begin nothing more: what is under way is finished, the rest is skipped. The first reason counts."""
        self.reason = self.reason or reason
        self._stopped.set()

    async def wait(self) -> None:
        """Wait until it ends."""
        await self._stopped.wait()
