"""What API v2 shows of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from kdm_core import BulkResult, DeploymentRef, Effect, ItemOutcome, ItemResult, Plan, RolloutResult
from kdm_http.api.v2.bodies import RolloutBody
from kdm_http.api.v2.body import Body, Count
from kdm_http.api.v2.owner_bodies import OwnerBody

ShowError = Callable[[Exception], dict[str, Any]]
"""Makes the problem that an item has of what went wrong."""

ShowRollout = Callable[[DeploymentRef, RolloutResult], RolloutBody]


class BulkItemBody(Body, frozen=True):
    """One item of a batch."""

    namespace: str
    name: str
    uid: str | None
    """The object; null where it was refused unseen, or is gone."""
    from_: Count | None = msgspec.field(name="from")
    to: Count | None
    """The count that is asked for; null where the item is refused, or the Deployment is gone."""
    effect: Effect | None
    """The worst that an owner does to the new count; null where nothing does anything."""
    owners: list[OwnerBody]
    resource_version: str | None
    """The version of the write; null where nothing was written."""
    warnings: list[str]
    outcome: ItemOutcome
    written: bool | None
    """Whether a new count was stored; null where that is not known."""
    error: dict[str, Any] | None
    rollout: RolloutBody | None
    """What came of waiting; null where that was not asked for."""

    @classmethod
    def of(cls, result: ItemResult, show_error: ShowError, show_rollout: ShowRollout) -> BulkItemBody:
        """Show what came of an item."""
        planned, rollout, stored = result.planned, result.rollout, result.deployment
        written = stored is not None and result.outcome is ItemOutcome.DONE
        return cls(
            namespace=planned.ref.namespace,
            name=planned.ref.name,
            uid=planned.uid or None,
            from_=planned.before,
            to=planned.after,
            effect=planned.effect,
            owners=[OwnerBody.of(each) for each in planned.owners],
            resource_version=stored.resource_version if written and stored is not None else None,
            warnings=[*planned.warnings, *result.warnings],
            outcome=result.outcome,
            written=result.written,
            error=None if result.error is None else show_error(result.error),
            rollout=None if rollout is None else show_rollout(planned.ref, rollout),
        )


class BulkSummary(Body, frozen=True):
    """How many items came to what. ``changed`` counts those that were done, or, in a dry run, could be."""

    total: int
    changed: int
    unchanged: int
    refused: int
    failed: int
    skipped: int


class BulkBody(Body, frozen=True):
    """What came of a batch, or what would."""

    batch: str
    """The batch's id, as the audit trail has it."""
    plan: str
    """What the plan is known by: in quotes, it is what If-Match names."""
    dry_run: bool
    warnings: list[str]
    summary: BulkSummary
    items: list[BulkItemBody]

    @classmethod
    def of(cls, result: BulkResult, warnings: list[str], show_error: ShowError, show_rollout: ShowRollout) -> BulkBody:
        """Show what came of a batch."""
        counts = Counter(each.outcome for each in result.items)
        return cls(
            batch=result.batch,
            plan=result.plan.tag,
            dry_run=result.dry_run,
            warnings=warnings,
            summary=BulkSummary(
                total=len(result.items),
                changed=counts[ItemOutcome.DONE] + counts[ItemOutcome.PLANNED],
                unchanged=counts[ItemOutcome.UNCHANGED],
                refused=counts[ItemOutcome.REFUSED],
                failed=counts[ItemOutcome.FAILED],
                skipped=counts[ItemOutcome.SKIPPED],
            ),
            items=[BulkItemBody.of(each, show_error, show_rollout) for each in result.items],
        )


class StartedBody(Body, frozen=True):
    """What is said when a batch begins."""

    batch: str
    plan: str
    total: int
    changing: int

    @classmethod
    def of(cls, batch: str, plan: Plan) -> StartedBody:
        """Show a plan that is about to be done."""
        return cls(batch=batch, plan=plan.tag, total=len(plan.items), changing=len(plan.changing))


class ItemRolloutBody(Body, frozen=True):
    """What is said when waiting for an item is over."""

    namespace: str
    name: str
    rollout: RolloutBody
