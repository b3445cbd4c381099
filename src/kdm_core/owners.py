"""Who else changes a Deployment's count, and what they do to a count that somebody asks for.

What counts is the effect, not that there is an owner: see ``docs/adr/0033-owners.md``.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

from attrs import evolve, frozen

DEFAULT_MIN: Final = 1
"""A HorizontalPodAutoscaler's ``minReplicas`` where it has none (k8s.io/api/autoscaling/v2)."""

SYNC_PERIOD_S: Final = 15
"""How often autoscalers look by default, in seconds (``--horizontal-pod-autoscaler-sync-period``)."""


class Effect(enum.StrEnum):
    """What an owner does to a count."""

    REVERTS = "reverts"
    """It puts another count in its place."""
    SUSPENDS = "suspends"
    """The count keeps it from doing its work."""
    MAY_CHANGE = "may-change"
    """It may ask for another count at any time."""
    RESETS_ON_APPLY = "resets-on-apply"
    """It asks for its own count again the next time somebody applies it."""


class OwnerType(enum.StrEnum):
    """What sort of owner it is. It decides what becomes of a count."""

    AUTOSCALER = "autoscaler"
    """A HorizontalPodAutoscaler."""
    SCALED_OBJECT = "scaled-object"
    """KEDA's ScaledObject, by the HorizontalPodAutoscaler that KEDA makes of it."""
    ARGO_CD = "argo-cd"
    """An Application of Argo CD."""
    KUSTOMIZATION = "kustomization"
    """A Kustomization of Flux."""
    HELM_RELEASE = "helm-release"
    """A HelmRelease of Flux."""
    OPERATOR = "operator"
    """Whatever controls the Deployment by an owner reference."""
    APPLIER = "applier"
    """A field manager that holds the count because it is in what it applies, such as ``helm``."""


@frozen(weakref_slot=False)
class Owner:
    """Something that changes a Deployment's count by itself.

    Attributes:
        kind: What it is, such as ``HorizontalPodAutoscaler``.
        name: What it is called; in the Deployment's namespace, where its kind has namespaces.
        min: The smallest count it asks for; None where it has no bounds.
        max: The largest; None where it has no bounds.
        type: What sort of owner it is.
        holds: Whether the present count is its own, as the cluster has it (``managedFields``).
    """

    kind: str
    name: str
    min: int | None = None
    max: int | None = None
    type: OwnerType = OwnerType.OPERATOR
    holds: bool = False

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}'"

    @property
    def bounded(self) -> bool:
        """Whether it is an autoscaler, which keeps the count within its bounds."""
        return self.type in {OwnerType.AUTOSCALER, OwnerType.SCALED_OBJECT}

    def effect(self, current: int, replicas: int) -> Effect | None:
        """Return what it does to a count.

        Args:
            current: The count that is desired now.
            replicas: The count that somebody asks for; the same one for what it does to that.

        Returns:
            The effect; None where it leaves the count as it is.
        """
        match self.type:
            case OwnerType.AUTOSCALER | OwnerType.SCALED_OBJECT:
                return self._within_bounds(current, replicas)
            case OwnerType.ARGO_CD | OwnerType.OPERATOR:
                return Effect.MAY_CHANGE
        if not self.holds:
            return Effect.MAY_CHANGE
        if current == replicas:
            return None
        return Effect.REVERTS if self.type is OwnerType.KUSTOMIZATION else Effect.RESETS_ON_APPLY

    def _within_bounds(self, current: int, replicas: int) -> Effect:
        smallest = DEFAULT_MIN if self.min is None else self.min
        if replicas == 0 and smallest > 0:
            if self.type is OwnerType.AUTOSCALER:
                return Effect.SUSPENDS
            # KEDA itself scales from and to zero. Where there are Pods, a trigger is active or its minimum is not zero.
            return Effect.REVERTS if current else Effect.MAY_CHANGE
        if replicas < smallest or (self.max is not None and replicas > self.max):
            return Effect.REVERTS
        return Effect.MAY_CHANGE

    def explain(self, effect: Effect, replicas: int) -> str:
        """Return what it will do with a count, as a sentence without a full stop.

        Args:
            effect: Its effect on that count.
            replicas: The count.
        """
        if effect is Effect.SUSPENDS:
            return f"{self} stops scaling while the count is 0, until somebody sets another one"
        if effect is Effect.REVERTS:
            return self._reverting(replicas)
        if effect is Effect.RESETS_ON_APPLY:
            return f"{self} holds the count: it is set back the next time it is applied"
        if self.type is OwnerType.OPERATOR:
            return f"{self} controls this Deployment and may set another count at any time"
        if self.type in _FROM_GIT:
            return f"{self} may set another count when it synchronises"
        return f"{self} may set another count at any time"

    def _reverting(self, replicas: int) -> str:
        if self.type is OwnerType.KUSTOMIZATION:
            return f"{self} holds the count and sets it back when it reconciles"
        if replicas == 0:
            return f"{self} scales it up again while one of its triggers is active or its minimum is not 0"
        bound = self.max if self.max is not None and replicas > self.max else self.min or DEFAULT_MIN
        return f"{self} sets it to {bound} within its sync period ({SYNC_PERIOD_S} s by default)"

    @property
    def remedy(self) -> str:
        """What to do instead of setting the count, as a sentence without a full stop; "" where there is nothing."""
        match self.type:
            case OwnerType.AUTOSCALER:
                return f"change minReplicas or maxReplicas of {self}"
            case OwnerType.SCALED_OBJECT:
                return f"set the annotation {PAUSED_REPLICAS} of {self} to the count"
            case OwnerType.KUSTOMIZATION | OwnerType.HELM_RELEASE | OwnerType.ARGO_CD:
                return f"change the count at the source of {self}, or leave it out there"
            case OwnerType.OPERATOR:
                return f"change the count in {self}"
        return "change the count in what is applied, or leave it out there"


def released(owners: tuple[Owner, ...]) -> tuple[Owner, ...]:
    """Return owners as they are once somebody else has changed the count: it is not theirs any more.

    An applier is known by nothing but that it holds the count.
    """
    if not any(each.holds for each in owners):
        return owners
    return tuple(evolve(each, holds=False) for each in owners if each.type is not OwnerType.APPLIER)


PAUSED_REPLICAS: Final = "autoscaling.keda.sh/paused-replicas"
"""KEDA's annotation that keeps a ScaledObject at a count (https://keda.sh/docs, "Pause autoscaling")."""

_FROM_GIT: Final = frozenset({OwnerType.ARGO_CD, OwnerType.KUSTOMIZATION, OwnerType.HELM_RELEASE})


@frozen
class Judgement:
    """What an owner does to a count that somebody asks for.

    Attributes:
        owner: Which owner.
        effect: What it does.
        message: What it does, as a sentence without a full stop.
        remedy: What to do instead; "" where there is nothing.
    """

    owner: Owner
    effect: Effect
    message: str
    remedy: str


def judge(owners: Iterable[Owner], current: int, replicas: int) -> tuple[Judgement, ...]:
    """Return what owners do to a count. Those that leave it as it is are left out.

    Args:
        owners: Of one Deployment.
        current: The count that is desired now.
        replicas: The count that somebody asks for.
    """
    effects = ((owner, owner.effect(current, replicas)) for owner in owners)
    return tuple(
        Judgement(owner, effect, owner.explain(effect, replicas), owner.remedy)
        for owner, effect in effects
        if effect is not None
    )
