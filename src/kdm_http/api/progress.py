"""How one request gets on, for a client that wants to see it while it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from kdm_http.api.stream import frames

_EVENTS: Final = b"text/event-stream"


class Progress:
    """What is to be shown of one request. Belongs to one event loop.

    Whoever does the work never waits for who reads of it: what is not read yet is kept. How much that can be is for
    the work to bound.
    """

    def __init__(self) -> None:
        self._unread = bytearray()
        self._said = asyncio.Event()

    def say(self, name: bytes, data: bytes) -> None:
        """Show an event.

        Args:
            name: Its name.
            data: JSON, which has no line break.
        """
        self._unread += frames.event(name, data)
        self._said.set()

    def take(self) -> bytes:
        """Return what was said and not taken yet."""
        taken = bytes(self._unread)
        self._unread.clear()
        self._said.clear()
        return taken

    async def said(self) -> None:
        """Wait until there is something to take."""
        await self._said.wait()


def wants_events(fields: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a request's ``Accept`` names ``text/event-stream`` (RFC 9110, section 12.5.1).

    Who names it gets it, whatever else is acceptable: nobody names it by accident.

    Args:
        fields: The request's header fields, with names in lower case.
    """
    ranges = [each for name, value in fields if name == b"accept" for each in value.lower().split(b",")]
    return any(_is_wanted(each) for each in ranges)


def _is_wanted(media_range: bytes) -> bool:
    kind, *parameters = (each.strip() for each in media_range.split(b";"))
    weights = [each.removeprefix(b"q=") for each in parameters if each.startswith(b"q=")]
    return kind == _EVENTS and not any(each.strip(b"0.") == b"" for each in weights)
