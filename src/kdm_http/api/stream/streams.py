"""All streams of a process: how many there may be, and what they share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

from attrs import frozen

from kdm_core import Deployment, DeploymentService, Identity, Query
from kdm_http.api.errors import Refused
from kdm_http.api.route import Fields
from kdm_http.api.stream.events import StreamEvents
from kdm_http.api.stream.hub import USUAL, Hub, Pace
from kdm_http.api.stream.session import Session

RETRY_AFTER_S: Final = 5
"""When a client that found no place may ask again, in seconds."""


@frozen
class StreamLimits:
    """How many streams there may be at a time. Each takes up a connection.

    Attributes:
        total: In all.
        per_user: Of one user.
    """

    total: int = 512
    per_user: int = 64


NO_MORE_THAN: Final = StreamLimits()


class Streams:
    """Opens streams. Belongs to one event loop.

    Args:
        service: What is streamed.
        encode: Encodes a Deployment, on one line.
        limits: How many there may be.
        events: Counts them.
        pace: How much is kept, and how often something is said.
    """

    def __init__(
        self,
        service: DeploymentService,
        encode: Callable[[Deployment], bytes],
        *,
        limits: StreamLimits = NO_MORE_THAN,
        events: StreamEvents | None = None,
        pace: Pace = USUAL,
    ) -> None:
        self._hub = Hub(service.feed, encode, pace)
        self._limits = limits
        self._events = events or StreamEvents()
        self._open: dict[str, int] = {}
        self._total = 0
        self._events.observe_backlog(self._hub.backlog)

    def open(self, identity: Identity, query: Query, fields: Fields, *, bookmarks: bool = False) -> Session:
        """Open a stream. Whether the client may read what it asks for has been checked.

        Args:
            identity: Who asks.
            query: What they ask for.
            fields: The request's header fields.
            bookmarks: Whether they want a bookmark whenever the cluster has been seen further.

        Raises:
            Refused: There is no place for it.
        """
        mine = self._open.get(identity.user, 0)
        if mine >= self._limits.per_user:
            self._events.refused("user")
            raise _no_place("too-many-streams", 429, f"more than {self._limits.per_user} streams of one identity")
        if self._total >= self._limits.total:
            self._events.refused("total")
            raise _no_place("no-stream-left", 503, f"more than {self._limits.total} streams in all")
        last_event_id = next((value for name, value in fields if name == b"last-event-id"), b"")
        self._open[identity.user] = mine + 1
        self._total += 1
        left = functools.partial(self._left, identity.user)
        return Session(self._hub, identity, query, last_event_id, self._events, left, bookmarks=bookmarks)

    async def aclose(self) -> None:
        """Stop following what happens."""
        await self._hub.aclose()

    def _left(self, user: str) -> None:
        self._total -= 1
        self._open[user] -= 1
        if not self._open[user]:
            del self._open[user]


def _no_place(code: str, status: int, message: str) -> Refused:
    return Refused(code, status, message, retry_after_s=RETRY_AFTER_S)
