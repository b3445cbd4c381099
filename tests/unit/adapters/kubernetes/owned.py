"""Owners as a cluster has them: the marks that they leave on a Deployment, and autoscalers as the API's objects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from kdm_core.model import Deployment, DeploymentRef
from kdm_core.owners import Owner, OwnerType

Autoscalers = dict[DeploymentRef, tuple[DeploymentRef, Owner]]
"""Autoscalers by their own names: the Deployment that each is for, and what it is to that."""

_LABELS = {
    OwnerType.KUSTOMIZATION: "kustomize.toolkit.fluxcd.io/name",
    OwnerType.HELM_RELEASE: "helm.toolkit.fluxcd.io/name",
}
_MANAGERS = {OwnerType.KUSTOMIZATION: "kustomize-controller", OwnerType.HELM_RELEASE: "helm-controller"}


def marks(ref: DeploymentRef, owners: Iterable[Owner]) -> dict[str, Any]:
    """Return what a Deployment's metadata has of its owners, but for who holds the count."""
    metadata: dict[str, Any] = {"labels": {}, "annotations": {}, "ownerReferences": []}
    for owner in owners:
        if owner.type in _LABELS:
            metadata["labels"][_LABELS[owner.type]] = owner.name
        elif owner.type is OwnerType.ARGO_CD:
            tracking_id = f"{owner.name}:apps/Deployment:{ref.namespace}/{ref.name}"
            metadata["annotations"]["argocd.argoproj.io/tracking-id"] = tracking_id
        elif owner.type is OwnerType.OPERATOR:
            metadata["ownerReferences"].append(_reference("example.org/v1", owner))
    return metadata


def manager(owners: Iterable[Owner]) -> str:
    """Return the field manager of the owner that holds the count; "" where none does."""
    return next((_MANAGERS.get(each.type, each.name) for each in owners if each.holds), "")


def autoscaler(ref: DeploymentRef, target: str, owner: Owner, **metadata: str) -> dict[str, Any]:
    """Return a HorizontalPodAutoscaler."""
    references = [_reference("keda.sh/v1alpha1", owner)] if owner.type is OwnerType.SCALED_OBJECT else []
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": ref.name, "namespace": ref.namespace, "ownerReferences": references, **metadata},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "minReplicas": owner.min,
            "maxReplicas": owner.max,
        },
    }


def autoscaled(
    deployments: Iterable[Deployment], autoscalers: Mapping[DeploymentRef, tuple[DeploymentRef, Owner]]
) -> bool:
    """Return whether Deployments show these autoscalers, and no others."""
    shown = {each.ref: each.owners for each in deployments}
    expected = {(target, owner) for target, owner in autoscalers.values() if target in shown}
    return expected == {
        (ref, owner)
        for ref, owners in shown.items()
        for owner in owners
        if owner.type in {OwnerType.AUTOSCALER, OwnerType.SCALED_OBJECT}
    }


def _reference(api_version: str, owner: Owner) -> dict[str, Any]:
    uid = hashlib.sha256(str(owner).encode()).hexdigest()[:32]
    return {"apiVersion": api_version, "kind": owner.kind, "name": owner.name, "uid": uid, "controller": True}
