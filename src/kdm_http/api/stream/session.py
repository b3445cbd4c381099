"""One client's stream: an ASGI application that answers one request, for as long as the client stays."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec
import structlog
from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Receive, Scope, Send

from kdm_core import Identity, Query
from kdm_http.api.stream import frames
from kdm_http.api.stream.events import Reset, StreamEvents
from kdm_http.api.stream.hub import Hub
from kdm_http.api.stream.progress import Mark
from kdm_http.api.stream.view import View
from kdm_http.server.endless import Endless

FIELDS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would keep events back until its buffer is full
]
"""The header fields of a stream."""

RETRY_MS: Final = (1000, 5000)
"""How long a client waits before it connects again, in milliseconds: by chance, so that not all come at once."""

_log = structlog.get_logger("kdm.stream")


class Session:
    """One client that streams. Belongs to one event loop.

    It holds a place in the changes, and no changes: a client that reads slowly costs what its connection buffers. When
    its place is not kept any more it gets the present state again. One that is made and never called gives its place
    among the streams back when it is forgotten.

    Args:
        hub: What happens.
        identity: Who asks.
        query: What they ask for.
        last_event_id: Where they were before; empty for nowhere.
        events: Counts what is sent.
        left: Called when it is over.
        bookmarks: Whether to send a bookmark also where the cluster has been seen further, and in place of comments.

    Attributes:
        reason: Why it ended; "" while it goes on.
    """

    # Of the connection that it answers on.
    _endless: Endless
    _view: View

    def __init__(
        self,
        hub: Hub,
        identity: Identity,
        query: Query,
        last_event_id: bytes,
        events: StreamEvents,
        left: Callable[[], None],
        *,
        bookmarks: bool = False,
    ) -> None:
        self.reason = ""
        self._left = left  # first: it is called in any case
        self._hub = hub
        self._identity = identity
        self._query = query
        self._events = events
        self._woken = asyncio.Event()
        self._last_event_id = last_event_id
        self._generation = 0
        self._begun = False
        self._ticks = hub.ticks
        self._stale = False
        self._place = 0  # the step up to which everything has been shown
        self._marked = 0  # the ring's quarter in which an id was sent last
        self._chunks: Iterator[tuple[bytes, int]] | None = None  # of the present state, while it is sent
        self._showing = False  # whether the present state is due
        self._bookmarks = bookmarks
        self._mark: Mark | None = None  # the newest one that it has come to
        self._said: Mark | None = None  # the one it said last

    @property
    def backlog(self) -> int:
        """How many changes there are that it has not looked at."""
        return self._hub.ring.head - self._place if self._begun else 0

    @property
    def _caught_up(self) -> bool:
        return (
            self._begun
            and not self._showing
            and self._place >= self._hub.released
            and self._stale == self._view.stale
            and not (self._bookmarks and self._has_news())
        )

    def wake(self) -> None:
        """There may be something to send."""
        self._woken.set()

    def look(self) -> None:
        """Check whether the client's certificate is still good. If it is not, this wakes."""
        self._endless.check()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        del receive  # the connection says when the client is gone
        state = scope["state"]
        if "head" in state:
            await send(HTTPResponseStartEvent(type="http.response.start", status=200, headers=[*FIELDS]))
            await self._write(b"", send, last=True)
            self._give_back()
            return
        endless = self._endless = state["endless"]
        self._view = self._hub.join(self._identity, self._query, self)
        endless.begin(self.wake)
        self._events.opened()
        if self._bookmarks:
            self._hub.progress.listeners.add(self.wake)
        try:
            await send(HTTPResponseStartEvent(type="http.response.start", status=200, headers=[*FIELDS]))
            await self._write(frames.retry(random.randint(*RETRY_MS)), send)  # noqa: S311 - no secret
            while not (reason := self._over(endless)):
                self._woken.clear()
                data = self._next()
                if data is None:
                    await self._woken.wait()
                elif data:
                    await self._write(data, send)
                    if self._caught_up:
                        await self._woken.wait()  # set meanwhile where there is something
                else:
                    await asyncio.sleep(0)
            self.reason = reason
            await self._write(self._event(frames.CLOSING, {"reason": reason}), send, last=True)
        finally:
            state["stream"] = self.reason = self.reason or "error"
            endless.done()
            self._hub.progress.listeners.discard(self.wake)
            self._hub.leave(self._view, self)
            self._give_back()
            self._events.closed(self.reason)

    def _give_back(self) -> None:
        """Give the place among the streams back, once."""
        left, self._left = self._left, _nobody
        left()

    __del__ = _give_back

    @staticmethod
    async def _write(data: bytes, send: Send, *, last: bool = False) -> None:
        await send(HTTPResponseBodyEvent(type="http.response.body", body=data, more_body=not last))

    def _over(self, endless: Endless) -> str:
        """Return why the stream has to end; "" while it goes on."""
        return endless.check() or self._hub.over or ("forbidden" if self._view.forbidden else "")

    def _next(self) -> bytes | None:
        """Return what is sent next; None where there is nothing, and empty where others should get their turn."""
        if not self._begun:
            if not self._hub.is_ready(self._view.query.namespace):
                return self._heartbeat()
            self._begun = True
            return self._resume()
        if self._generation != self._view.generation:
            return self._reset("policy-changed")
        if self._showing:
            return self._present()
        if self._place < self._hub.ring.floor:
            return self._reset("lagged")
        return self._changes()

    def _changes(self) -> bytes | None:
        hub, view = self._hub, self._view
        batch = view.batch(hub.ring, self._place, hub.released)
        self._place = batch.upto
        if batch.events:
            self._marked = hub.ring.quarters
            self._events.sent(batch.events)
            return batch.data
        if self._place < hub.released:
            return b""
        if self._stale != view.stale:
            self._stale = view.stale
            return self._event(frames.STALE if view.stale else frames.FRESH, {})
        if hub.ring.quarters - self._marked >= 2:  # or its id would soon lead nowhere
            return self._bookmark()
        if self._bookmarks and self._has_news():
            return self._bookmark()
        return self._heartbeat()

    def _resume(self) -> bytes:
        """Go on where the client was, or say why not."""
        view, hub = self._view, self._hub
        if not self._last_event_id:
            return self._show(b"")
        number = view.number(self._last_event_id)
        if number is None or number > hub.ring.head:
            return self._reset("unknown-cursor")
        resumable = hub.resumable(view, number)
        if not resumable:
            return self._reset("too-old" if resumable is False else "policy-changed")
        self._generation = view.generation
        self._place, self._marked = number, hub.ring.quarters
        batch = view.batch(hub.ring, number, hub.released)
        self._place = batch.upto
        self._events.sent(batch.events)
        return batch.data + self._bookmark()

    def _reset(self, reason: Reset) -> bytes:
        """Say that the present state follows. Until it is complete, the client has no id to come back with."""
        skipped = self._hub.ring.head - self._place if reason == "lagged" else 0
        self._events.reset(reason, skipped)
        return self._show(self._event(frames.RESET, {"reason": reason}, b""))

    def _show(self, before: bytes) -> bytes:
        hub, view = self._hub, self._view
        self._generation = view.generation
        self._place = hub.ring.head
        self._mark = self._said = None
        self._has_news()
        self._chunks = view.present(hub.present(view.query.namespace))
        self._showing = True
        return before

    def _present(self) -> bytes:
        chunk = next(self._chunks, None) if self._chunks is not None else None
        if chunk is not None:
            data, number = chunk
            self._events.sent([frames.PRESENT] * number)
            return data
        self._chunks, self._showing, self._stale = None, False, False
        self._marked = self._hub.ring.quarters
        return self._event(frames.SYNCED, self._freshness(), self._view.cursor(self._place))

    def _heartbeat(self) -> bytes | None:
        """Return a comment or a bookmark, if it is time."""
        pace, before, now = self._hub.pace, self._ticks, self._hub.ticks
        self._ticks = now
        if self._begun and before // pace.bookmark_ticks != now // pace.bookmark_ticks:
            return self._bookmark()
        if before // pace.heartbeat_ticks == now // pace.heartbeat_ticks:
            return None
        return self._bookmark() if self._begun and self._bookmarks else frames.COMMENT

    def _has_news(self) -> bool:
        """Return whether the cluster has been seen further than was said last."""
        mark = self._hub.mark(self._view.query.namespace)
        if mark is not None and mark.place <= self._place:
            self._mark = mark
        return self._mark is not None and not self._mark.says_as_much(self._said)

    def _bookmark(self) -> bytes:
        self._marked = self._hub.ring.quarters
        return self._event(frames.BOOKMARK, self._freshness(), self._view.cursor(self._place))

    def _freshness(self) -> dict[str, object]:
        self._has_news()
        mark = self._said = self._mark
        if mark is None:
            return {"stale": self._view.stale, "connected": False, "resourceVersion": "", "ageSeconds": None}
        age_s = asyncio.get_running_loop().time() - mark.proven_at
        return {
            "stale": self._view.stale,
            "connected": mark.connected,
            "resourceVersion": mark.resource_version,
            "ageSeconds": round(age_s, 3) if math.isfinite(age_s) else None,
        }

    def _event(self, name: bytes, data: Mapping[str, object], identifier: bytes | None = None) -> bytes:
        self._events.sent((name,))
        return frames.event(name, msgspec.json.encode(data), identifier)


def _nobody() -> None:
    """Stand for who was called already."""
