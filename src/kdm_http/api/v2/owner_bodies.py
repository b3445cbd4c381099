"""What API v2 shows of who else changes a Deployment's count."""

from __future__ import annotations

from typing import Self

from kdm_core import Deployment, Effect, Judgement, Owner, OwnerType
from kdm_http.api.v2.body import Body, Count


class OwnerBody(Body, frozen=True):
    """Something that changes the count by itself, and what it does to a count."""

    kind: str
    name: str
    type: OwnerType
    min: Count | None
    """The smallest count that it asks for; null where it has no bounds."""
    max: Count | None
    holds: bool
    """Whether the present count is its own."""
    effect: Effect | None
    """What it does to the count: to the present one, or to the one asked for; null where it leaves it as it is."""
    message: str
    """What it does to it, for a person."""
    remedy: str
    """What to do in place of setting the count."""

    @classmethod
    def now(cls, owner: Owner, deployment: Deployment) -> Self:
        """Show an owner and what it does to the count that is desired now."""
        desired = deployment.replicas.desired
        effect = owner.effect(desired, desired)
        return cls._of(owner, effect, "" if effect is None else owner.explain(effect, desired), owner.remedy)

    @classmethod
    def of(cls, judgement: Judgement) -> Self:
        """Show an owner and what it does to a count that was asked for."""
        return cls._of(judgement.owner, judgement.effect, judgement.message, judgement.remedy)

    @classmethod
    def _of(cls, owner: Owner, effect: Effect | None, message: str, remedy: str) -> Self:
        return cls(
            kind=owner.kind,
            name=owner.name,
            type=owner.type,
            min=owner.min,
            max=owner.max,
            holds=owner.holds,
            effect=effect,
            message=message,
            remedy=remedy,
        )
