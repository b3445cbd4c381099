"""Reading server-sent events (WHATWG HTML, section 9.2), in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
"""The largest event that is read. An object of the Kubernetes API has at most 1.5 MiB, in etcd."""


class Event(NamedTuple):
    """One event.

    Attributes:
        name: What happened: ``present``, ``synced``, ``modified`` and so on; "message" where the server named none.
        data: What it says: JSON.
        id: What to send as Last-Event-ID to go on behind it; "" for none.
        comment: Whether it is no event, but a sign of life.
    """

    name: str
    data: bytes = b""
    id: str = ""
    comment: bool = False


COMMENT: Final = Event("", comment=True)


class EventTooLarge(ValueError):
    """A line or an event is larger than any of kdm's."""


class Events:
    """Makes events of bytes as they come.

    Args:
        limit: The largest event, in bytes.

    Attributes:
        last_id: The id of the newest event that had one; "" after one that takes it back.
        retry_s: How long the server asks to wait before connecting again, in seconds; None where it does not.
    """

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self.last_id = ""
        self.retry_s: float | None = None
        self._limit = limit
        self._rest = b""
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield the events that are complete with some more bytes.

        Raises:
            EventTooLarge: There is no end to one.
        """
        *lines, rest = (self._rest + chunk).split(b"\n") if self._rest else chunk.split(b"\n")
        for line in lines:
            self._size += len(line)
            if self._size > self._limit:
                raise EventTooLarge(f"an event of the stream is larger than {self._limit} bytes")
            event = self._line(line.removesuffix(b"\r"))
            if event is not None:
                yield event
        if len(rest) > self._limit:
            raise EventTooLarge(f"an event of the stream is larger than {self._limit} bytes")
        self._rest = rest

    def _line(self, line: bytes) -> Event | None:
        if not line:
            self._size = 0
            name, data = self._name, self._data
            self._name, self._data = "", []
            return Event(name or "message", b"\n".join(data), self.last_id) if data else None
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match field:
            case b"":
                return COMMENT
            case b"event":
                self._name = value.decode("utf-8", "replace")
            case b"data":
                self._data.append(value)
            case b"id" if b"\0" not in value:
                self.last_id = value.decode("utf-8", "replace")
            case b"retry" if value.isdigit() and len(value) <= 9:
                self.retry_s = int(value) / 1000
        return None
