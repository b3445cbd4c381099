"""Keeps one source up to date: opens its stream, reads it, and opens it again, for as long as the repository runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from kdm_adapters.cache.backoff import Backoff
from kdm_adapters.remote.decoding import NotKdms
from kdm_adapters.remote.source import Source
from kdm_adapters.remote.sse import Events, EventTooLarge
from kdm_adapters.remote.transport import Transport
from kdm_adapters.remote.transport_errors import NotAccepted
from kdm_core.errors import ClusterOverloaded, ClusterUnreachable, Forbidden, KdmError, NamespaceNotWatched, Unavailable
from kdm_core.model import Trouble

SILENCE_S: Final = 50.0
"""A stream from which nothing comes for so long is broken, in seconds: three signs of life, due every 15 s, are missing
(``docs/api/stream.md``)."""

_QUERY: Final = {"watch": "true", "allowWatchBookmarks": "true"}
_TURN: Final = 256
"""After how many events in a row others get their turn."""

_log = logging.getLogger(__name__)


class Stream:
    """The stream of one source.

    Args:
        source: What it says.
        path: The path of the list that is streamed.
        transport: Opens it.
        backoff: How long to wait before opening it again.
        clock: Monotonic seconds.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        source: Source,
        path: str,
        transport: Transport,
        *,
        backoff: Backoff,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._source = source
        self._path = path
        self._transport = transport
        self._backoff = backoff
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> None:
        """Keep the source up to date until this is cancelled."""
        while True:
            wait_s = 0.0
            try:
                wait_s = await self._follow()
                ended = f" ({self._source.closing})" if self._source.closing else ""
                self._source.interrupted(f"the kdm ended the stream{ended}", Trouble.INTERRUPTED)
            except KdmError as error:
                self._source.interrupted(str(error), _trouble(error))
                wait_s = error.retry_after_s if isinstance(error, Unavailable) and error.written is not None else 0.0
            except (NotKdms, EventTooLarge) as error:
                self._source.last_id = ""  # from the beginning: what was not understood may have been a change
                self._source.interrupted(f"what the kdm streams cannot be read: {error}", Trouble.FAILED)
            except Exception:  # noqa: BLE001 - whatever it is, the stream is opened again
                _log.exception("the stream of %s failed", self._source.source)
                self._source.last_id = ""
                self._source.interrupted("the stream failed; the log says why", Trouble.FAILED)
            await self._sleep(self._backoff.next_delay_s(self._clock(), at_least_s=wait_s))

    async def _follow(self) -> float:
        """Read the stream to its end. Returns how long the server asks to wait before the next one, in seconds."""
        last_id = self._source.last_id
        fields = {"last-event-id": last_id} if last_id else {}
        events = Events()
        events.last_id = last_id
        async with self._transport.stream(self._path, _QUERY, fields, silence_s=SILENCE_S) as pieces:
            self._source.opened()
            await self._read(pieces, events)
        return (events.retry_s or 0.0) if self._source.closing else 0.0

    async def _read(self, pieces: AsyncIterator[bytes], events: Events) -> None:
        taken = 0
        async for piece in pieces:
            for event in events.feed(piece):
                if event.comment:
                    continue
                self._source.event(event, self._clock())
                if event.name in {"synced", "bookmark"}:
                    self._backoff.reset()
                taken += 1
                if taken % _TURN == 0:
                    await asyncio.sleep(0)


def _trouble(error: KdmError) -> Trouble:
    match error:
        case NotAccepted():
            return Trouble.UNAUTHENTICATED
        case Forbidden() | NamespaceNotWatched():
            return Trouble.FORBIDDEN
        case ClusterOverloaded():
            return Trouble.OVERLOADED
        case ClusterUnreachable():
            return Trouble.UNREACHABLE
    return Trouble.FAILED
