"""Asks for Protocol Buffers and accepts JSON: the answer's Content-Type decides how it is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, Generic, Protocol

from kdm_adapters.cache.watched import W
from kdm_adapters.kubernetes.wire import json_decoding, protobuf_messages
from kdm_adapters.kubernetes.wire.json_decoding import Decoder
from kdm_adapters.kubernetes.wire.json_framing import JsonEvents, JsonList
from kdm_adapters.kubernetes.wire.json_messages import JsonDecoder
from kdm_adapters.kubernetes.wire.messages import Bookmark, Event, Failure, Page, Undecodable
from kdm_adapters.kubernetes.wire.protobuf_framing import ProtobufEvents, ProtobufList
from kdm_adapters.kubernetes.wire.protobuf_messages import ProtobufDecoder
from kdm_adapters.kubernetes.wire.records import Records
from kdm_core.model import Deployment

JSON: Final = "application/json"
PROTOBUF: Final = "application/vnd.kubernetes.protobuf"

LIST_ACCEPT: Final = f"{PROTOBUF}, {JSON};q=0.9"
WATCH_ACCEPT: Final = f"{PROTOBUF};stream=watch, {JSON};stream=watch;q=0.9, {JSON};q=0.8"
"""The last is for gateways that take a type with ``stream`` for another one."""

JSON_WATCH_ACCEPT: Final = f"{JSON};stream=watch, {JSON};q=0.9"


class EventReader(Protocol[W]):
    """Reads a watch."""

    def feed(self, chunk: bytes, /) -> Iterator[Event[W] | Bookmark | Failure | Undecodable]:
        """Take in a chunk and yield the events it completes.

        Raises:
            ProtocolError: It is not a watch, or an event is longer than the limit.
        """

    @property
    def rest_bytes(self) -> int:
        """How many bytes of an event that has not ended are waiting."""


class ListReader(Protocol[W]):
    """Reads the answer to a list while it arrives."""

    def feed(self, chunk: bytes, /) -> Page[W] | None:
        """Take in a chunk.

        Returns:
            The items it completes, as a part of a page; None if there are none.

        Raises:
            ProtocolError: It is not a list of this kind.
        """

    def end(self) -> Page[W]:
        """Return the last part of the page.

        Raises:
            ProtocolError: It was not a complete list of this kind.
        """


class KindReaders(Protocol[W]):
    """Makes a reader of one kind of objects for each answer.

    Attributes:
        list_accept: The media types that a list is asked for in (RFC 9110).
        watch_accept: The same of a watch.
        json: Decodes them where they come as JSON.
    """

    @property
    def list_accept(self) -> str: ...

    @property
    def watch_accept(self) -> str: ...

    @property
    def json(self) -> Decoder[W]: ...

    def events(self, media_type: str, /) -> EventReader[W]:
        """Return a reader of a watch of this media type (RFC 9110, without parameters)."""

    def list(self, media_type: str, /) -> ListReader[W]:
        """Return a reader of a list of this media type (RFC 9110, without parameters)."""


class JsonReaders(Generic[W]):
    """Reads a kind of which there are few: as JSON alone.

    Args:
        decoder: Decodes the objects.
    """

    list_accept = JSON
    watch_accept = JSON_WATCH_ACCEPT

    def __init__(self, decoder: Decoder[W]) -> None:
        self.json = decoder

    def events(self, _media_type: str, /) -> EventReader[W]:
        """Return a reader of a watch."""
        return JsonEvents(self.json)

    def list(self, _media_type: str, /) -> ListReader[W]:
        """Return a reader of a list."""
        return JsonList(self.json)


class Readers:
    """Makes a reader of Deployments for each answer. One for a whole repository, so that equal values are shared.

    Args:
        known: Returns the Deployment held under a namespace and name, if any. Its strings and labels are used again.
        owners: Whether to look for who else changes a Deployment's count.
        now: Seconds since 1970: when a change arrives of which the cluster keeps no time.
    """

    list_accept = LIST_ACCEPT
    watch_accept = WATCH_ACCEPT

    def __init__(
        self,
        known: Callable[[str, str], Deployment | None] = lambda _namespace, _name: None,
        *,
        owners: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        records = Records(known, owners=owners, now=now)
        self.json = JsonDecoder(records)
        self._protobuf = ProtobufDecoder(records)

    def events(self, media_type: str) -> EventReader[Deployment]:
        """Return a reader of a watch of this media type (RFC 9110, without parameters)."""
        return ProtobufEvents(self._protobuf) if media_type == PROTOBUF else JsonEvents(self.json)

    def list(self, media_type: str) -> ListReader[Deployment]:
        """Return a reader of a list of this media type (RFC 9110, without parameters)."""
        return ProtobufList(self._protobuf) if media_type == PROTOBUF else JsonList(self.json)


def failure(body: bytes, code: int, retry_after_s: float = 0.0) -> Failure:
    """Read a refusal: Kubernetes' ``Status``, or whatever a gateway sends in its place.

    Args:
        body: The answer's body. It says itself how it is to be read: the API server's own timeouts (504) come as JSON
            without a media type.
        code: The HTTP status code.
        retry_after_s: From the ``Retry-After`` header, in seconds.
    """
    read = protobuf_messages.failure if body.startswith(protobuf_messages.MAGIC) else json_decoding.failure
    return read(body, code, retry_after_s)
