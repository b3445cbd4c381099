"""The API server's JSON of Deployments, read straight into the domain's values.

Only the fields needed become Python objects: no template, no annotation, no managedFields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from kdm_adapters.kubernetes.wire import json_marks
from kdm_adapters.kubernetes.wire.json_decoding import BROKEN, Decoder, Metadata
from kdm_adapters.kubernetes.wire.marks import Marks
from kdm_adapters.kubernetes.wire.records import ProtocolError, Records
from kdm_adapters.kubernetes.wire.words import shown
from kdm_core.model import Deployment, DeploymentRef


class Scale(NamedTuple):
    """What a write to a Deployment's ``scale`` answers."""

    ref: DeploymentRef
    uid: str
    resource_version: str
    desired: int
    current: int


class _Metadata(Metadata, gc=False, frozen=True):
    generation: int = 0
    labels: msgspec.Raw = msgspec.Raw()
    owner_references: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="ownerReferences")
    managed_fields: list[json_marks.ManagedFields] | None = msgspec.field(default=None, name="managedFields")


class _Spec(msgspec.Struct, gc=False, frozen=True):
    replicas: int | None = None
    paused: bool | None = None


class _Condition(msgspec.Struct, gc=False, frozen=True):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class _Status(msgspec.Struct, gc=False, frozen=True):
    replicas: int = 0
    updated: int = msgspec.field(default=0, name="updatedReplicas")
    ready: int = msgspec.field(default=0, name="readyReplicas")
    available: int = msgspec.field(default=0, name="availableReplicas")
    observed_generation: int = msgspec.field(default=0, name="observedGeneration")
    conditions: list[_Condition] | None = None


class _Object(msgspec.Struct, gc=False, frozen=True):
    metadata: _Metadata
    kind: str = ""
    spec: _Spec = _Spec()
    status: _Status = _Status()


class _WatchEvent(msgspec.Struct, gc=False, frozen=True):
    type: str
    object: _Object


class _ScaleSpec(msgspec.Struct, gc=False, frozen=True):
    replicas: int = 0


class _Scale(msgspec.Struct, gc=False, frozen=True):
    kind: str
    metadata: _Metadata
    spec: _ScaleSpec = _ScaleSpec()
    status: _ScaleSpec = _ScaleSpec()


_decode_scale = msgspec.json.Decoder(_Scale).decode
_decode_labels = msgspec.json.Decoder(dict[str, str] | None).decode


class JsonDecoder(Decoder[Deployment]):
    """Turns Deployments that come as JSON into messages.

    Args:
        records: Makes the Deployments.
    """

    def __init__(self, records: Records) -> None:
        super().__init__("Deployment", _WatchEvent, self._deployment)
        self._records = records

    def _deployment(self, item: _Object) -> Deployment:
        metadata, spec, status = item.metadata, item.spec, item.status
        return self._records.deployment(
            item.kind,
            metadata.namespace,
            metadata.name,
            metadata.uid,
            metadata.resource_version,
            metadata.generation,
            status.observed_generation,
            (spec.replicas, status.replicas, status.updated, status.ready, status.available),
            bool(spec.paused),
            bytes(metadata.labels),
            _read_labels,
            [(each.type, each.status, each.reason, each.message) for each in status.conditions or ()],
            self._marks(metadata),
        )

    def _marks(self, metadata: _Metadata) -> Marks:
        entries = metadata.managed_fields
        writes = json_marks.writes(entries) if entries else ()
        if not self._records.owners:
            return Marks(writes)
        tracking_id, left_alone = json_marks.annotated(bytes(metadata.annotations))
        return Marks(writes, tracking_id, json_marks.controller(bytes(metadata.owner_references)), left_alone)


def scale(body: bytes) -> Scale:
    """Read the answer to a write of a Deployment's ``scale``.

    Raises:
        ProtocolError: It is not one.
    """
    try:
        answer = _decode_scale(body)
    except BROKEN as error:
        raise ProtocolError(f"the answer to a write is not a Scale: {shown(body)}") from error
    metadata = answer.metadata
    if answer.kind != "Scale" or not (metadata.name and metadata.namespace and metadata.resource_version):
        raise ProtocolError(f"the answer to a write is not a Scale: {shown(body)}")
    ref = DeploymentRef(metadata.namespace, metadata.name)
    return Scale(ref, metadata.uid, metadata.resource_version, answer.spec.replicas, answer.status.replicas)


def _read_labels(raw: bytes) -> Mapping[str, str]:
    return (_decode_labels(raw) if raw else None) or {}
