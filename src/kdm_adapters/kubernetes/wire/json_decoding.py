"""What the API server sends of any kind as JSON: events, lists and refusals. A kind adds what its objects are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, NamedTuple

import msgspec

from kdm_adapters.cache.watched import W
from kdm_adapters.kubernetes.wire.messages import INITIAL_EVENTS_END, Bookmark, Event, Failure, Subject, Undecodable
from kdm_adapters.kubernetes.wire.records import ProtocolError
from kdm_adapters.kubernetes.wire.statuses import foreign, is_status, status
from kdm_adapters.kubernetes.wire.words import shown

BROKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that it cannot read; the last for nesting without end."""

_CHANGES: Final = frozenset({"ADDED", "MODIFIED", "DELETED"})


class Metadata(msgspec.Struct, gc=False, frozen=True):
    """What is read of any object's metadata."""

    namespace: str = ""
    name: str = ""
    uid: str = ""
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    annotations: msgspec.Raw = msgspec.Raw()


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


_decode_raw_event = msgspec.json.Decoder(_RawEvent).decode
_decode_list = msgspec.json.Decoder(_List).decode
_decode_failure = msgspec.json.Decoder(_Failure).decode
_decode_annotations = msgspec.json.Decoder(dict[str, str] | None).decode


class Decoder(Generic[W]):
    """Turns what comes as JSON into messages.

    Args:
        kind: What the objects call themselves.
        event: The structure of a watch event: ``type`` and ``object``. Of the latter, ``metadata`` as in ``Metadata``.
        record: Makes what is kept of an object; raises ``ValueError`` where it can be none.

    Attributes:
        kind: What the objects call themselves.
    """

    def __init__(self, kind: str, event: type[msgspec.Struct], record: Callable[[Any], W]) -> None:
        self.kind = kind
        self._record = record
        self._decode_event: Callable[[bytes], Any] = msgspec.json.Decoder(event).decode
        (structure,) = (field.type for field in msgspec.structs.fields(event) if field.name == "object")
        self._decode_object: Callable[[bytes], Any] = msgspec.json.Decoder(structure).decode

    def event(self, line: bytes) -> Event[W] | Bookmark | Failure | Undecodable:
        """Decode one line of a watch.

        Args:
            line: The line, without its line feed.

        Raises:
            ProtocolError: It is not a JSON object.
        """
        try:
            event = self._decode_event(line)
        except (msgspec.ValidationError, RecursionError) as error:
            return self._odd_event(line, str(error))
        except BROKEN as error:
            raise ProtocolError(f"a watch event is not JSON: {shown(line)}") from error
        if event.type in _CHANGES:
            try:
                return Event(event.type, self._record(event.object))
            except (*BROKEN, ValueError) as error:
                return undecodable(line, str(error))
        if event.type == "BOOKMARK" and event.object.metadata.resource_version:
            metadata = event.object.metadata
            return Bookmark(metadata.resource_version, _ends_initial_events(metadata.annotations))
        return self._odd_event(line, f"an event of type {event.type!r}")

    def item(self, body: bytes) -> W | Undecodable | None:
        """Decode one item of a list.

        Args:
            body: What may be an item, or the beginning of one.

        Returns:
            The object, or what could be read of it; None if this is only the beginning of an item.
        """
        try:
            return self._record(self._decode_object(body))
        except (*BROKEN, ValueError) as error:
            return undecodable(b'{"object":%b}' % body, str(error)) if _is_whole(body) else None

    def _odd_event(self, line: bytes, detail: str) -> Failure | Undecodable:
        try:
            event = _decode_raw_event(line)
        except BROKEN:
            return undecodable(line, detail)
        if event.type == "ERROR":
            return failure(bytes(event.object), 0)
        return undecodable(line, detail)


class ListEnvelope(NamedTuple):
    """What surrounds the items of a list, and those items that are read with it."""

    resource_version: str
    continue_token: str
    items: Sequence[bytes]


def envelope(body: bytes | bytearray, kind: str) -> ListEnvelope:
    """Read a list's own fields, leaving its items as they are.

    Args:
        body: The list.
        kind: What its items are.

    Raises:
        ProtocolError: It is not a list of this kind.
    """
    try:
        answer = _decode_list(body)
    except BROKEN as error:
        raise ProtocolError(f"the answer to a list is not a list: {shown(body)}") from error
    if answer.kind not in {f"{kind}List", ""}:
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
    except BROKEN:
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


def undecodable(line: bytes, detail: str) -> Undecodable:
    """Return what can be read of an event."""
    try:
        metadata = _decode_loose(line).object.metadata
    except BROKEN:
        return Undecodable(detail)
    readable = (metadata.resource_version, metadata.namespace, metadata.name, metadata.uid)
    return Undecodable(detail, *map(_text, readable))


def _is_whole(body: bytes) -> bool:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except BROKEN:
        return False
    return True


def _text(raw: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(raw, type=str)
    except BROKEN:
        return ""


def _ends_initial_events(annotations: msgspec.Raw) -> bool:
    try:
        return (_decode_annotations(annotations) or {}).get(INITIAL_EVENTS_END) == "true"
    except BROKEN:
        return False
