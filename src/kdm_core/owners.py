"""Who else changes a Deployment's replica count, and what becomes of a count that somebody sets."""

from __future__ import annotations

import enum

from attrs import frozen


class Effect(enum.StrEnum):
    """What an owner does with a count."""

    REVERTS = "reverts"
    """It sets another one, within minutes at most."""
    SUSPENDS = "suspends"
    """It stops its own work for as long as this count holds."""
    MAY_CHANGE = "may-change"
    """It may set another one at any time."""
    RESETS_ON_APPLY = "resets-on-apply"
    """It sets its own one the next time somebody applies what it holds."""


class OwnerType(enum.StrEnum):
    """What sort of owner it is: decides what it does with a count."""

    AUTOSCALER = "autoscaler"
    SCALED_OBJECT = "scaled-object"
    ARGO_CD = "argo-cd"
    KUSTOMIZATION = "kustomization"
    HELM_RELEASE = "helm-release"
    OPERATOR = "operator"
    APPLIER = "applier"

    @property
    def kind(self) -> str:
        """What owners of this type are called: their kind in Kubernetes, where they have one."""
        return {"kustomization": "Kustomization", "helm-release": "HelmRelease", "applier": "FieldManager"}[self.value]


@frozen(weakref_slot=False)
class Owner:
    """Somebody else who changes a Deployment's count."""

    kind: str
    name: str
    min: int | None = None
    max: int | None = None
    type: OwnerType = OwnerType.OPERATOR
    holds: bool = False
