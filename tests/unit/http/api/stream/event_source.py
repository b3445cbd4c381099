"""What a browser's EventSource makes of a stream, written from the HTML standard alone (WHATWG HTML, section 9.2.6)."""

from __future__ import annotations

import json
import re
from typing import Any

from attrs import define, field, frozen


@frozen
class Event:
    """A dispatched event: its type, its data and the last event ID at that moment."""

    type: str
    data: str
    last_event_id: str

    @property
    def json(self) -> Any:
        return json.loads(self.data)


@define
class EventSource:
    """Interprets the bytes of one connection after the other; ``reconnect`` in between.

    Attributes:
        last_event_id: What the next request sends as Last-Event-ID, unless it is empty.
        retry_ms: The reconnection time; None until the stream sets one.
        comments: How many comments came.
    """

    last_event_id: str = ""
    retry_ms: int | None = None
    comments: int = 0
    _text: str = ""
    _bytes: bytes = b""
    _first: bool = True
    _data: list[str] = field(factory=list)
    _type: str = ""
    _id: str = ""

    def reconnect(self) -> None:
        """Begin with another connection: what was not dispatched is discarded."""
        self._text, self._bytes, self._first, self._data, self._type = "", b"", True, [], ""
        self._id = self.last_event_id

    def feed(self, data: bytes) -> list[Event]:
        """Take in bytes, and return the events that they complete."""
        self._bytes += data
        try:
            text, self._bytes = self._bytes.decode(), b""
        except UnicodeDecodeError as error:  # a character that is not whole yet
            text, self._bytes = self._bytes[: error.start].decode(), self._bytes[error.start :]
        if self._first and text:
            self._first = False
            text = text.removeprefix("\ufeff")
        self._text += text
        events = []
        while (end := re.search(r"\r\n|\n|\r(?!$)", self._text)) is not None:
            line, self._text = self._text[: end.start()], self._text[end.end() :]
            event = self._line(line)
            if event is not None:
                events.append(event)
        return events

    def _line(self, line: str) -> Event | None:
        if line == "":
            return self._dispatch()
        if line.startswith(":"):
            self.comments += 1
            return None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._type = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and re.fullmatch("[0-9]+", value):
            self.retry_ms = int(value)
        return None

    def _dispatch(self) -> Event | None:
        self.last_event_id = self._id
        data, kind = self._data, self._type
        self._data, self._type = [], ""
        return Event(kind or "message", "\n".join(data), self.last_event_id) if data else None
