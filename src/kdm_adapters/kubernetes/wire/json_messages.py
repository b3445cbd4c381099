"""The API server's JSON, read straight into the domain's values.

Only the fields needed become Python objects: no template, no annotation, no managedFields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from kdm_adapters.kubernetes.wire import json_marks
from kdm_adapters.kubernetes.wire.marks import Marks
from kdm_adapters.kubernetes.wire.messages import INITIAL_EVENTS_END, Bookmark, Event, Failure, Subject, Undecodable
from kdm_adapters.kubernetes.wire.records import ProtocolError, Records
from kdm_adapters.kubernetes.wire.statuses import foreign, is_status, status
from kdm_adapters.kubernetes.wire.words import shown
from kdm_core.model import Deployment, DeploymentRef

_BROKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that it cannot read; the last for nesting without end."""


class Scale(NamedTuple):
    """What a write to a Deployment's ``scale`` answers."""

    ref: DeploymentRef
    uid: str
    resource_version: str
    desired: int
    current: int


class _Metadata(msgspec.Struct, gc=False, frozen=True):
    namespace: str = ""
    name: str = ""
    uid: str = ""
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    generation: int = 0
    labels: msgspec.Raw = msgspec.Raw()
    annotations: msgspec.Raw = msgspec.Raw()
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


class _RawEvent(msgspec.Struct, gc=False, frozen=True):
    type: str = ""
    object: msgspec.Raw = msgspec.Raw(b"{}")


class _ListMetadata(msgspec.Struct, gc=False, frozen=True):
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    continue_token: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct, gc=False, frozen=True):
    kind: str = ""
    metadata: _ListMetadata = _ListMetadata()
    items: list[msgspec.Raw] | None = None


class _Cause(msgspec.Struct, gc=False, frozen=True):
    reason: str = ""
    message: str = ""


class _Details(msgspec.Struct, gc=False, frozen=True):
    group: str = ""
    kind: str = ""
    name: str = ""
    causes: list[_Cause] | None = None
    retry_after_s: float = msgspec.field(default=0.0, name="retryAfterSeconds")


class _Failure(msgspec.Struct, gc=False, frozen=True):
    kind: str
    api_version: str = msgspec.field(name="apiVersion")
    code: int = 0
    reason: str = ""
    message: str = ""
    details: _Details | None = None


class _ScaleSpec(msgspec.Struct, gc=False, frozen=True):
    replicas: int = 0


class _Scale(msgspec.Struct, gc=False, frozen=True):
    kind: str
    metadata: _Metadata
    spec: _ScaleSpec = _ScaleSpec()
    status: _ScaleSpec = _ScaleSpec()


_decode_event = msgspec.json.Decoder(_WatchEvent).decode
_decode_raw_event = msgspec.json.Decoder(_RawEvent).decode
_decode_object = msgspec.json.Decoder(_Object).decode
_decode_list = msgspec.json.Decoder(_List).decode
_decode_failure = msgspec.json.Decoder(_Failure).decode
_decode_scale = msgspec.json.Decoder(_Scale).decode
_decode_labels = msgspec.json.Decoder(dict[str, str] | None).decode
_decode_annotations = msgspec.json.Decoder(dict[str, str] | None).decode


class JsonDecoder:
    """Turns what comes as JSON into messages.

    Args:
        records: Makes the Deployments.
    """

    def __init__(self, records: Records) -> None:
        self._records = records

    def event(self, line: bytes) -> Event | Bookmark | Failure | Undecodable:
        """Decode one line of a watch.

        Args:
            line: The line, without its line feed.

        Raises:
            ProtocolError: It is not a JSON object.
        """
        try:
            event = _decode_event(line)
        except (msgspec.ValidationError, RecursionError) as error:
            return self._odd_event(line, str(error))
        except _BROKEN as error:
            raise ProtocolError(f"a watch event is not JSON: {shown(line)}") from error
        if event.type in _CHANGES:
            try:
                return Event(event.type, self._deployment(event.object))
            except (*_BROKEN, ValueError) as error:
                return _undecodable(line, str(error))
        if event.type == "BOOKMARK" and event.object.metadata.resource_version:
            metadata = event.object.metadata
            return Bookmark(metadata.resource_version, _ends_initial_events(metadata.annotations))
        return self._odd_event(line, f"an event of type {event.type!r}")

    def item(self, body: bytes) -> Deployment | Undecodable | None:
        """Decode one item of a list.

        Args:
            body: What may be an item, or the beginning of one.

        Returns:
            The Deployment, or what could be read of it; None if this is only the beginning of an item.
        """
        try:
            return self._deployment(_decode_object(body))
        except (*_BROKEN, ValueError) as error:
            return _undecodable(b'{"object":%b}' % body, str(error)) if _is_whole(body) else None

    def _odd_event(self, line: bytes, detail: str) -> Failure | Undecodable:
        try:
            event = _decode_raw_event(line)
        except _BROKEN:
            return _undecodable(line, detail)
        if event.type == "ERROR":
            return failure(bytes(event.object), 0)
        return _undecodable(line, detail)

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
        tracking_id = json_marks.tracking_id(bytes(metadata.annotations))
        return Marks(writes, tracking_id, json_marks.controller(bytes(metadata.owner_references)))


_CHANGES: Final = frozenset({"ADDED", "MODIFIED", "DELETED"})


class ListEnvelope(NamedTuple):
    """What surrounds the items of a list, and those items that are read with it."""

    resource_version: str
    continue_token: str
    items: Sequence[bytes]


def envelope(body: bytes | bytearray) -> ListEnvelope:
    """Read a list's own fields, leaving its items as they are.

    Raises:
        ProtocolError: It is not a list of Deployments.
    """
    try:
        answer = _decode_list(body)
    except _BROKEN as error:
        raise ProtocolError(f"the answer to a list is not a list: {shown(body)}") from error
    if answer.kind not in {"DeploymentList", ""}:
        raise ProtocolError(f"the answer to a list is not a list: {shown(body)}")
    metadata = answer.metadata
    return ListEnvelope(
        metadata.resource_version, metadata.continue_token, [bytes(item) for item in answer.items or ()]
    )


def failure(body: bytes, code: int, retry_after_s: float = 0.0) -> Failure:
    """Read a refusal: Kubernetes' ``Status``, or whatever a gateway sends in its place.

    Args:
        body: The answer's body, or an ERROR event's object.
        code: The HTTP status code; 0 within a watch, where the Status has it.
        retry_after_s: From the ``Retry-After`` header, in seconds.
    """
    try:
        answer = _decode_failure(body)
    except _BROKEN:
        return foreign(body, code, retry_after_s)
    if not is_status(answer.api_version, answer.kind):
        return foreign(body, code, retry_after_s)
    details = answer.details or _Details()
    return status(
        code or answer.code,
        answer.reason,
        answer.message,
        tuple((cause.reason, cause.message) for cause in details.causes or ()),
        retry_after_s or details.retry_after_s,
        Subject(details.group, details.kind, details.name),
    )


def scale(body: bytes) -> Scale:
    """Read the answer to a write of a Deployment's ``scale``.

    Raises:
        ProtocolError: It is not one.
    """
    try:
        answer = _decode_scale(body)
    except _BROKEN as error:
        raise ProtocolError(f"the answer to a write is not a Scale: {shown(body)}") from error
    metadata = answer.metadata
    if answer.kind != "Scale" or not (metadata.name and metadata.namespace and metadata.resource_version):
        raise ProtocolError(f"the answer to a write is not a Scale: {shown(body)}")
    ref = DeploymentRef(metadata.namespace, metadata.name)
    return Scale(ref, metadata.uid, metadata.resource_version, answer.spec.replicas, answer.status.replicas)


class _LooseMetadata(msgspec.Struct, gc=False, frozen=True):
    namespace: msgspec.Raw = msgspec.Raw()
    name: msgspec.Raw = msgspec.Raw()
    uid: msgspec.Raw = msgspec.Raw()
    resource_version: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="resourceVersion")


class _LooseObject(msgspec.Struct, gc=False, frozen=True):
    metadata: _LooseMetadata = _LooseMetadata()


class _LooseEvent(msgspec.Struct, gc=False, frozen=True):
    object: _LooseObject = _LooseObject()


_decode_loose = msgspec.json.Decoder(_LooseEvent).decode


def _undecodable(line: bytes, detail: str) -> Undecodable:
    """Return what can be read of an event."""
    try:
        metadata = _decode_loose(line).object.metadata
    except _BROKEN:
        return Undecodable(detail)
    readable = (metadata.resource_version, metadata.namespace, metadata.name, metadata.uid)
    return Undecodable(detail, *map(_text, readable))


def _is_whole(body: bytes) -> bool:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except _BROKEN:
        return False
    return True


def _text(raw: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(raw, type=str)
    except _BROKEN:
        return ""


def _read_labels(raw: bytes) -> Mapping[str, str]:
    return (_decode_labels(raw) if raw else None) or {}


def _ends_initial_events(annotations: msgspec.Raw) -> bool:
    try:
        return (_decode_annotations(annotations) or {}).get(INITIAL_EVENTS_END) == "true"
    except _BROKEN:
        return False
