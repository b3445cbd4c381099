"""What the API server sends, in either of the formats it is asked for, and how it is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Protocol

from kdm_adapters.kubernetes.wire.messages import Page
from kdm_adapters.kubernetes.wire.readers import JSON, PROTOBUF, Readers
from kdm_core.model import Deployment
from unit.adapters.kubernetes.objects import (
    api_object,
    bookmark_line,
    error_line,
    event_line,
    list_body,
    status,
)
from unit.adapters.kubernetes.wire import protobuf_objects


class WireFormat(Protocol):
    """Writes what is read as ``media_type``. Watch events are framed."""

    media_type: str

    def event(self, kind: str, held: Deployment, **metadata: Any) -> bytes:
        """Return a watch event."""

    def item(self, kind: str, item: dict[str, Any]) -> bytes:
        """Return a watch event of an object, given as its JSON."""

    def poisoned(self, kind: str, held: Deployment) -> bytes:
        """Return a watch event whose object's replica count makes no sense."""

    def bookmark(self, resource_version: int | str, *, initial_events_end: str | None = None) -> bytes:
        """Return a bookmark."""

    def error(self, code: int, reason: str, message: str = "", **details: Any) -> bytes:
        """Return an ERROR event."""

    def list(self, *items: Deployment, resource_version: int | str, continue_token: str = "") -> bytes:
        """Return the answer to a list."""

    def status(self, code: int, reason: str, message: str = "", **details: Any) -> bytes:
        """Return a refusal."""


class JsonFormat:
    """JSON, as every client can have it."""

    media_type = JSON

    def event(self, kind: str, held: Deployment, **metadata: Any) -> bytes:
        return event_line(kind, held, **metadata) + b"\n"

    def item(self, kind: str, item: dict[str, Any]) -> bytes:
        return json.dumps({"type": kind, "object": {"kind": "Deployment", **item}}).encode() + b"\n"

    def poisoned(self, kind: str, held: Deployment) -> bytes:
        return json.dumps({"type": kind, "object": _poisoned(held, "three")}).encode() + b"\n"

    def bookmark(self, resource_version: int | str, *, initial_events_end: str | None = None) -> bytes:
        return bookmark_line(resource_version, initial_events_end=initial_events_end) + b"\n"

    def error(self, code: int, reason: str, message: str = "", **details: Any) -> bytes:
        return error_line(code, reason, message, **details) + b"\n"

    def list(self, *items: Deployment, resource_version: int | str, continue_token: str = "") -> bytes:
        return list_body(*items, resource_version=resource_version, continue_token=continue_token)

    def status(self, code: int, reason: str, message: str = "", **details: Any) -> bytes:
        return json.dumps(status(code, reason, message, **details)).encode()


class ProtobufFormat:
    """Protocol Buffers, as the API server's own components ask for."""

    media_type = PROTOBUF

    def event(self, kind: str, held: Deployment, **metadata: Any) -> bytes:
        return self.item(kind, api_object(held, **metadata))

    def item(self, kind: str, item: dict[str, Any]) -> bytes:
        return _framed(kind, "Deployment", protobuf_objects.deployment(item))

    def poisoned(self, kind: str, held: Deployment) -> bytes:
        return _framed(kind, "Deployment", protobuf_objects.deployment(_poisoned(held, -3)))

    def bookmark(self, resource_version: int | str, *, initial_events_end: str | None = None) -> bytes:
        line = bookmark_line(resource_version, initial_events_end=initial_events_end)
        return _framed("BOOKMARK", "Deployment", protobuf_objects.deployment(json.loads(line)["object"]))

    def error(self, code: int, reason: str, message: str = "", **details: Any) -> bytes:
        raw = protobuf_objects.status(status(code, reason, message, **details))
        return _framed("ERROR", "Status", raw, api_version="v1")

    def list(self, *items: Deployment, resource_version: int | str, continue_token: str = "") -> bytes:
        objects = map(api_object, items)
        return protobuf_objects.deployment_list(objects, str(resource_version), continue_token)

    def status(self, code: int, reason: str, message: str = "", **details: Any) -> bytes:
        return protobuf_objects.wrapped(
            "v1", "Status", protobuf_objects.status(status(code, reason, message, **details))
        )


FORMATS: tuple[WireFormat, ...] = (JsonFormat(), ProtobufFormat())


def _poisoned(held: Deployment, replicas: object) -> dict[str, Any]:
    item = api_object(held)
    return item | {"spec": item["spec"] | {"replicas": replicas}}


def _framed(kind: str, object_kind: str, raw: bytes, *, api_version: str = "apps/v1") -> bytes:
    return protobuf_objects.frame(
        protobuf_objects.watch_event(kind, protobuf_objects.wrapped(api_version, object_kind, raw))
    )


def read(wire: WireFormat, stream: bytes, size: int = 10**6, readers: Readers | None = None) -> list[Any]:
    """Read a watch that arrives in chunks of a size."""
    reader = (readers or Readers()).events(wire.media_type)
    return [message for i in range(0, len(stream), size) for message in reader.feed(stream[i : i + size])]


def pages(wire: WireFormat, body: bytes, size: int = 10**6) -> Iterator[Page]:
    """Read a list that arrives in chunks of a size."""
    reader = Readers().list(wire.media_type)
    for i in range(0, len(body), size):
        if page := reader.feed(body[i : i + size]):
            yield page
    yield reader.end()
