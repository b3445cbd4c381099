"""Cuts Protocol Buffers into events and items, however the chunks fall, and holds little more than one of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kdm_adapters.kubernetes.wire.messages import Bookmark, Event, Failure, Page, Undecodable, page
from kdm_adapters.kubernetes.wire.protobuf_fields import extent
from kdm_adapters.kubernetes.wire.protobuf_messages import MAGIC, ProtobufDecoder, kind_of, list_meta
from kdm_adapters.kubernetes.wire.records import MAX_OBJECT_BYTES, ProtocolError
from kdm_core.model import Deployment

_LENGTH_BYTES: Final = 4

# Tags: a field's number << 3, and 2 for what has a length.
_TYPE_META: Final = 1 << 3 | 2
_RAW: Final = 2 << 3 | 2
_LIST_META: Final = 1 << 3 | 2
_ITEM: Final = 2 << 3 | 2


class _Unread:
    """Bytes that wait for the rest of what they begin. However many chunks that takes, they are joined once."""

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[bytes] = []
        self._needed = 0

    def add(self, chunk: bytes) -> bytes:
        """Return all there is, or nothing while it is not enough."""
        self._parts.append(chunk)
        self.size += len(chunk)
        if self.size < self._needed:
            return b""
        joined = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts, self.size = [], 0
        return joined

    def keep(self, rest: bytes, needed: int) -> None:
        """Keep these bytes until they are at least so many."""
        self._parts, self.size, self._needed = [rest] if rest else [], len(rest), needed


class ProtobufEvents:
    """Reads a watch: frames of four bytes of length, big-endian, and a ``WatchEvent`` each.

    As ``k8s.io/apimachinery/pkg/util/framer`` writes them.

    Args:
        decoder: For the events.
    """

    def __init__(self, decoder: ProtobufDecoder) -> None:
        self._decoder = decoder
        self._unread = _Unread()

    def feed(self, chunk: bytes) -> Iterator[Event | Bookmark | Failure | Undecodable]:
        """Take in a chunk and yield the events it completes.

        Raises:
            ProtocolError: It is not a watch, or an event is longer than the limit.
        """
        data = self._unread.add(chunk)
        at, needed = 0, _LENGTH_BYTES
        while len(data) - at >= needed:
            start = at + _LENGTH_BYTES
            size = int.from_bytes(data[at:start], "big")
            if size > MAX_OBJECT_BYTES:
                raise ProtocolError(f"a watch event of more than {MAX_OBJECT_BYTES} bytes")
            if len(data) - start < size:
                needed = _LENGTH_BYTES + size
                break
            at = start + size
            yield self._decoder.event(data[start:at])
        if data:
            self._unread.keep(data[at:], needed)

    @property
    def rest_bytes(self) -> int:
        """How many bytes of an event that has not ended are waiting."""
        return self._unread.size


class ProtobufList:
    """Reads the answer to a list while it arrives: the ``DeploymentList`` inside of a ``runtime.Unknown``.

    Args:
        decoder: For the items.
    """

    def __init__(self, decoder: ProtobufDecoder) -> None:
        self._decoder = decoder
        self._unread = _Unread()
        self._unread.keep(b"", len(MAGIC))
        self._begun = False
        self._list_left: int | None = None  # bytes of the list yet to come, once it has begun
        self._resource_version = ""
        self._continue_token = ""

    def feed(self, chunk: bytes) -> Page | None:
        """Take in a chunk.

        Returns:
            The items it completes, as a part of a page; None if there are none.

        Raises:
            ProtocolError: It is not a list of Deployments.
        """
        data = self._unread.add(chunk)
        if not data:
            return None
        found: list[Deployment | Undecodable] = []
        try:
            at, needed = self._cut(data, found)
        except ValueError as error:
            raise ProtocolError(f"the answer to a list is not a list: {error}") from error
        self._unread.keep(data[at:], needed)
        return self._page(found, last=False) if found else None

    def end(self) -> Page:
        """Return the last part of the page.

        Raises:
            ProtocolError: It was not a complete list of Deployments.
        """
        if self._unread.size or self._list_left != 0:
            raise ProtocolError("the answer to a list broke off")
        if not self._resource_version:
            raise ProtocolError("the answer to a list has no resourceVersion")
        return self._page([], last=True)

    def _cut(self, data: bytes, found: list[Deployment | Undecodable]) -> tuple[int, int]:
        """Take in whole fields. Return where the first one that is not whole begins, and how many bytes it needs."""
        at = 0
        if not self._begun:
            if not data.startswith(MAGIC):
                raise ValueError(repr(data[:200]))
            self._begun, at = True, len(MAGIC)
        while at < len(data):
            try:
                tag, start, stop = extent(data, at)
            except IndexError:
                return at, len(data) - at + 1
            if tag == _RAW and self._list_left is None:
                self._list_left = stop - start
                at = start
                continue
            if stop - start > MAX_OBJECT_BYTES:
                raise ValueError(f"an item of more than {MAX_OBJECT_BYTES} bytes")
            if stop > len(data):
                return at, stop - at
            if self._list_left:
                self._list_left -= stop - at
                self._take_of_list(tag, data[start:stop], found)
            else:
                self._take_around_list(tag, data[start:stop])
            at = stop
        return at, 1

    def _take_of_list(self, tag: int, value: bytes, found: list[Deployment | Undecodable]) -> None:
        if self._list_left is None or self._list_left < 0:
            raise ValueError("an item ends after its list")
        if tag == _LIST_META:
            self._resource_version, self._continue_token = list_meta(value)
        elif tag == _ITEM:
            found.append(self._decoder.item(value))

    def _take_around_list(self, tag: int, value: bytes) -> None:
        if tag == _RAW:
            raise ValueError("it holds two lists")
        if tag == _TYPE_META and (kind := kind_of(value)) not in {"DeploymentList", ""}:
            raise ValueError(f"it is a {kind}")

    def _page(self, found: list[Deployment | Undecodable], *, last: bool) -> Page:
        return page(found, self._resource_version, self._continue_token, last=last)
