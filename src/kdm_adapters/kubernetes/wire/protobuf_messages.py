"""The API server's Protocol Buffers, read straight into the domain's values.

Field numbers are those of the ``generated.proto`` files of ``k8s.io/api/apps/v1``, ``k8s.io/apimachinery/pkg/runtime``
and ``k8s.io/apimachinery/pkg/apis/meta/v1``; they never change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from kdm_adapters.kubernetes.wire import protobuf_marks
from kdm_adapters.kubernetes.wire.marks import Marks
from kdm_adapters.kubernetes.wire.messages import INITIAL_EVENTS_END, Bookmark, Event, Failure, Subject, Undecodable
from kdm_adapters.kubernetes.wire.protobuf_fields import Fields, Kind, Malformed, Wanted, entries
from kdm_adapters.kubernetes.wire.records import SHARED, Condition, ProtocolError, Records
from kdm_adapters.kubernetes.wire.statuses import foreign, is_status, status
from kdm_adapters.kubernetes.wire.words import shown
from kdm_core.model import Deployment

MAGIC: Final = b"k8s\x00"
"""What every object but those within a list begins with; a ``runtime.Unknown`` follows."""

_INT, _OPTIONAL_INT, _BYTES, _REPEATED = Kind.INT, Kind.OPTIONAL_INT, Kind.BYTES, Kind.REPEATED

_TYPE_META: Final = Fields({2: _BYTES})  # kind
_STATUS_META: Final = Fields({1: _BYTES, 2: _BYTES})  # apiVersion, kind
_WATCH_EVENT: Final = Fields({1: _BYTES, 2: {1: _BYTES}})  # type, object.raw
_MAP_ENTRY: Final = Fields({1: _BYTES, 2: _BYTES})  # key, value
_CONDITION: Final = Fields({1: _BYTES, 2: _BYTES, 4: _BYTES, 5: _BYTES})  # type, status, reason, message
_LIST_META: Final = Fields({2: _BYTES, 3: _BYTES})  # resourceVersion, continue
_CAUSE: Final = Fields({1: _BYTES, 2: _BYTES})  # reason, message

_DEPLOYMENT: Final[Wanted] = {
    # namespace, name, uid, resourceVersion, generation, labels, annotations, ownerReferences, managedFields
    1: {
        3: _BYTES,
        1: _BYTES,
        5: _BYTES,
        6: _BYTES,
        7: _INT,
        11: _REPEATED,
        12: _REPEATED,
        13: _REPEATED,
        17: _REPEATED,
    },
    # replicas, paused
    2: {1: _OPTIONAL_INT, 7: _INT},
    # replicas, updatedReplicas, readyReplicas, availableReplicas, observedGeneration, conditions
    3: {2: _INT, 3: _INT, 7: _INT, 4: _INT, 1: _INT, 6: _REPEATED},
}
# metadata.resourceVersion, metadata.annotations
_BOOKMARK: Final[Wanted] = {1: {6: _BYTES, 12: _REPEATED}}
# message, reason, details' name, group, kind, causes and retryAfterSeconds, code
_STATUS: Final[Wanted] = {
    3: _BYTES,
    4: _BYTES,
    5: {1: _BYTES, 2: _BYTES, 3: _BYTES, 4: _REPEATED, 5: _INT},
    6: _INT,
}

_ITEM: Final = Fields(_DEPLOYMENT)
# Each within a runtime.Unknown: typeMeta, raw.
_DEPLOYMENT_OBJECT: Final = Fields({1: _BYTES, 2: _DEPLOYMENT})
_BOOKMARK_OBJECT: Final = Fields({1: _BYTES, 2: _BOOKMARK})
_STATUS_OBJECT: Final = Fields({1: _BYTES, 2: _STATUS})

_ENDS_INITIAL_EVENTS: Final = (INITIAL_EVENTS_END, "true")
_KINDS: Final = {b"\n\x07apps/v1\x12\nDeployment": "Deployment"}
"""What nearly every object's ``TypeMeta`` is, to the byte."""

_AVAILABLE: Final = b"\n\x09Available"
"""What the one condition begins with that nearly every object has, and nobody here needs."""

_CHANGES: Final = {b"ADDED": "ADDED", b"MODIFIED": "MODIFIED", b"DELETED": "DELETED"}


class ProtobufDecoder:
    """Turns what comes as Protocol Buffers into messages.

    Args:
        records: Makes the Deployments.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._labels: dict[bytes, tuple[str, str]] = {}  # most labels are those of other Deployments, too

    def event(self, frame: bytes) -> Event | Bookmark | Failure | Undecodable:
        """Decode one frame of a watch: a ``WatchEvent``, without magic number.

        Raises:
            ProtocolError: It is not one.
        """
        try:
            kind, body = _WATCH_EVENT.read(frame)
        except Malformed as error:
            raise ProtocolError(f"a watch event cannot be read: {error}: {shown(frame)}") from error
        try:
            if kind in _CHANGES:
                type_meta, *fields = _read_object(_DEPLOYMENT_OBJECT, body)
                return Event(_CHANGES[kind], self._deployment(kind_of(type_meta), fields))
            if kind == b"BOOKMARK":
                return _bookmark(body)
        except ValueError as error:
            return _undecodable(_DEPLOYMENT_OBJECT.glean(body, len(MAGIC))[1:], str(error))
        if kind == b"ERROR":
            return failure(body, 0)
        return _undecodable(_DEPLOYMENT_OBJECT.glean(body, len(MAGIC))[1:], f"an event of type {_text(kind)!r}")

    def item(self, body: bytes) -> Deployment | Undecodable:
        """Decode one item of a list: a ``Deployment``, without magic number."""
        try:
            return self._deployment("", _ITEM.read(body))
        except ValueError as error:
            return _undecodable(_ITEM.glean(body), str(error))

    def _deployment(self, kind: str, fields: list[Any]) -> Deployment:
        (
            namespace, name, uid, resource_version, generation, labels, annotations, owner_references, managed_fields,
            desired, paused,
            current, updated, ready, available, observed_generation, conditions,
        ) = fields  # fmt: skip
        return self._records.deployment(
            kind,
            namespace.decode(),
            name.decode(),
            uid.decode(),
            resource_version.decode(),
            generation,
            observed_generation,
            (desired, current, updated, ready, available),
            bool(paused),
            labels,
            self._read_labels,
            [_condition(entry) for entry in entries(conditions) if not entry.startswith(_AVAILABLE)],
            self._marks(annotations, owner_references, managed_fields),
        )

    def _marks(self, annotations: bytes, owner_references: bytes, managed_fields: bytes) -> Marks:
        writes = protobuf_marks.writes(managed_fields)
        if not self._records.owners:
            return Marks(writes)
        tracking_id, left_alone = protobuf_marks.annotated(annotations)
        return Marks(writes, tracking_id, protobuf_marks.controller(owner_references), left_alone)

    def _read_labels(self, repeated: bytes) -> Mapping[str, str]:
        labels = {}
        for entry in entries(repeated):
            pair = self._labels.get(entry)
            if pair is None:
                if len(self._labels) >= SHARED:
                    self._labels.clear()
                pair = self._labels[entry] = _pair(entry)
            labels[pair[0]] = pair[1]
        return labels


class ListMeta(NamedTuple):
    """A list's own fields."""

    resource_version: str
    continue_token: str


def list_meta(body: bytes) -> ListMeta:
    """Read a ``ListMeta``.

    Raises:
        ValueError: It is not one.
    """
    resource_version, continue_token = _LIST_META.read(body)
    return ListMeta(resource_version.decode(), continue_token.decode())


def kind_of(type_meta: bytes) -> str:
    """Return the kind that a ``TypeMeta`` names.

    Raises:
        ValueError: It is not one.
    """
    usual = _KINDS.get(type_meta)
    if usual is not None:
        return usual
    (kind,) = _TYPE_META.read(type_meta)
    text: str = kind.decode()
    return text


def failure(body: bytes, code: int, retry_after_s: float = 0.0) -> Failure:
    """Read a refusal: Kubernetes' ``Status``, or what claims to be one.

    Args:
        body: The answer's body, or an ERROR event's object.
        code: The HTTP status code; 0 within a watch, where the Status has it.
        retry_after_s: From the ``Retry-After`` header, in seconds.
    """
    try:
        meta, message, reason, name, group, kind, repeated, own_retry_after_s, own_code = _read_object(
            _STATUS_OBJECT, body
        )
        api_version, object_kind = map(_text, _STATUS_META.read(meta))
        causes = tuple((_text(cause), _text(why)) for cause, why in map(_CAUSE.read, entries(repeated)))
    except ValueError:
        return foreign(body, code, retry_after_s)
    if not is_status(api_version, object_kind):
        return foreign(body, code, retry_after_s)
    return status(
        code or own_code,
        _text(reason),
        _text(message),
        causes,
        retry_after_s or own_retry_after_s,
        Subject(_text(group), _text(kind), _text(name)),
    )


def _read_object(fields: Fields, body: bytes) -> list[Any]:
    if not body.startswith(MAGIC):
        raise ValueError(f"an object without Kubernetes' magic number: {shown(body)}")
    return fields.read(body, len(MAGIC))


def _bookmark(body: bytes) -> Bookmark:
    _, resource_version, annotations = _read_object(_BOOKMARK_OBJECT, body)
    if not resource_version:
        raise ValueError("a bookmark without a resourceVersion")
    return Bookmark(resource_version.decode(), _ENDS_INITIAL_EVENTS in map(_pair, entries(annotations)))


def _pair(entry: bytes) -> tuple[str, str]:
    key, value = _MAP_ENTRY.read(entry)
    return key.decode(), value.decode()


def _condition(entry: bytes) -> Condition:
    kind, status, reason, message = _CONDITION.read(entry)
    return kind.decode(), status.decode(), reason.decode(), message.decode()


def _undecodable(fields: list[Any], detail: str) -> Undecodable:
    namespace, name, uid, resource_version, *_ = fields
    return Undecodable(detail, *map(_text_or_nothing, (resource_version, namespace, name, uid)))


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _text_or_nothing(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return ""
