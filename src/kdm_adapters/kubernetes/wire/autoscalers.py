"""HorizontalPodAutoscalers, as far as they change the counts of Deployments."""

from __future__ import annotations

from typing import Final

import msgspec
from attrs import frozen

from kdm_adapters.kubernetes.wire.json_decoding import Decoder, Metadata
from kdm_adapters.kubernetes.wire.marks import named
from kdm_core.model import DeploymentRef
from kdm_core.owners import DEFAULT_MIN, Owner, OwnerType

_KEDA: Final = "keda.sh/"
"""The API group of KEDA's ScaledObject, whatever its version."""

_DEPLOYMENT: Final = frozenset({"Deployment", "deployment"})
"""The spellings that the controller manager knows the kind by (client-go's ``NewDiscoveryRESTMapper``)."""


@frozen
class Autoscaler:
    """One HorizontalPodAutoscaler.

    Attributes:
        ref: Its own namespace and name.
        uid: Its identity.
        resource_version: The version of the cluster's state this was read at.
        target: The Deployment whose count it changes; None where that is an object of another kind.
        owner: What it is to that Deployment: itself, or KEDA's ScaledObject that it was made of.
    """

    ref: DeploymentRef
    uid: str
    resource_version: str
    target: DeploymentRef | None
    owner: Owner


class _Reference(msgspec.Struct, gc=False, frozen=True):
    api_version: str = msgspec.field(default="", name="apiVersion")
    kind: str = ""
    name: str = ""
    controller: bool | None = None


class _Metadata(Metadata, gc=False, frozen=True):
    owner_references: list[_Reference] | None = msgspec.field(default=None, name="ownerReferences")


class _Spec(msgspec.Struct, gc=False, frozen=True):
    target: _Reference = msgspec.field(default=_Reference(), name="scaleTargetRef")
    min_replicas: int | None = msgspec.field(default=None, name="minReplicas")
    max_replicas: int | None = msgspec.field(default=None, name="maxReplicas")


class _Object(msgspec.Struct, gc=False, frozen=True):
    metadata: _Metadata
    kind: str = ""
    spec: _Spec = _Spec()


class _WatchEvent(msgspec.Struct, gc=False, frozen=True):
    type: str
    object: _Object


def decoder() -> Decoder[Autoscaler]:
    """Return what decodes HorizontalPodAutoscalers (``autoscaling/v2``)."""
    return Decoder("HorizontalPodAutoscaler", _WatchEvent, _autoscaler)


def _autoscaler(item: _Object) -> Autoscaler:
    metadata, spec = item.metadata, item.spec
    if item.kind not in {"HorizontalPodAutoscaler", ""}:
        raise ValueError(f"a {item.kind}, not a HorizontalPodAutoscaler")
    if not (metadata.name and metadata.namespace and metadata.uid and metadata.resource_version):
        raise ValueError("it lacks a namespace, name, uid or resourceVersion")
    return Autoscaler(
        DeploymentRef(metadata.namespace, metadata.name),
        metadata.uid,
        metadata.resource_version,
        DeploymentRef(metadata.namespace, spec.target.name) if _is_deployment(spec.target) else None,
        _owner(metadata, spec),
    )


def _is_deployment(target: _Reference) -> bool:
    """Return whether a reference is to a Deployment. The autoscaler looks at the group alone, not at the version."""
    return target.kind in _DEPLOYMENT and target.api_version.partition("/")[0] == "apps"


def _owner(metadata: _Metadata, spec: _Spec) -> Owner:
    bounds = (DEFAULT_MIN if spec.min_replicas is None else spec.min_replicas, spec.max_replicas)
    for each in metadata.owner_references or ():
        if each.controller and each.kind == "ScaledObject" and each.api_version.startswith(_KEDA):
            return Owner(each.kind, named(each.name), *bounds, type=OwnerType.SCALED_OBJECT)
    return Owner("HorizontalPodAutoscaler", metadata.name, *bounds, type=OwnerType.AUTOSCALER)
