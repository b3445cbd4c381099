"""The requests of one connection that are not answered yet, in the order of their responses.

uvicorn makes a cycle of each request that is given to an application. Requests that a client sends before it has the
response to an earlier one wait in a queue. An error that ends the connection must find its place among them: no
response is interrupted by another one, and none that is due is left out.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import Any, Final, Protocol

from kdm_http.server.responses import Refusal
from kdm_http.server.uvicorn_seam import ASGI3Application, RequestResponseCycle


class Pipelined(Protocol):
    """The part of uvicorn's protocol that is used here."""

    cycle: RequestResponseCycle
    pipeline: deque[tuple[RequestResponseCycle, ASGI3Application]]


class Place(enum.Enum):
    """Where an error response goes that ends the connection."""

    NOW = enum.auto()
    """Nothing is before it."""
    LAST = enum.auto()
    """After the responses that are due."""
    NOWHERE = enum.auto()
    """The request has its response already, only the rest of its body is wrong: the connection is closed."""
    TOO_LATE = enum.auto()
    """The request's response is half written: the connection is cut."""


class _Gone:
    """Stands for a connection that is gone."""

    cycle: Any = None
    pipeline: deque[Any] = deque()  # noqa: RUF012 - nothing is ever put into it


_GONE: Final = _Gone()


class HttpCycles:
    """What is under way on one connection. Belongs to one event loop."""

    __slots__ = ("_connection", "_last", "_running")

    def __init__(self, connection: Pipelined) -> None:
        """Watch a connection that has had no request yet."""
        self._connection = connection
        self._running: RequestResponseCycle | None = None  # the newest that an application works on
        self._last: Refusal | None = None

    @property
    def due(self) -> bool:
        """Whether a response is not written to its end yet."""
        # There is no cycle before the first request.
        return bool(self._connection.pipeline) or not getattr(self._connection.cycle, "response_complete", True)

    @property
    def queued(self) -> bool:
        """Whether a request waits for its turn."""
        return bool(self._connection.pipeline)

    @property
    def _under_way(self) -> bool:
        return not getattr(self._connection.cycle, "response_complete", True)

    def started(self, cycle: RequestResponseCycle) -> None:
        """Note that an application has been given a request."""
        self._running = cycle

    def disconnect(self) -> None:
        """Let the running application know that the client is gone. uvicorn does so for the newest request only.

        The connection is let go of: its memory is freed at once, and not by the garbage collector.
        """
        if self._running is not None:
            _disconnect(self._running)
        self._running, self._connection = None, _GONE

    def place_error(self, *, in_body: bool) -> Place:
        """Find the place of an error response, and withdraw the request that it answers from its application.

        Args:
            in_body: Whether the error is about the newest request's body. Otherwise it is about a header, for which
                there is no cycle, and what is under way are the requests before.
        """
        if not in_body:
            return Place.LAST if self._under_way else Place.NOW
        if not self._under_way:
            return Place.NOWHERE
        cycle, pipeline = self._connection.cycle, self._connection.pipeline
        if pipeline:
            pipeline.popleft()
            self._connection.cycle = pipeline[0][0] if pipeline else self._running or cycle
            return Place.LAST
        if cycle.response_started:
            return Place.TOO_LATE
        _disconnect(cycle)
        return Place.NOW

    def end_with(self, refusal: Refusal) -> None:
        """Keep an error response until the responses before it are written."""
        self._last = refusal

    def take_last(self) -> Refusal | None:
        """Return the error response that was kept, once its turn has come."""
        if self._last is None or self.due:
            return None
        last, self._last = self._last, None
        return last


def _disconnect(cycle: RequestResponseCycle) -> None:
    cycle.disconnected = True
    cycle.message_event.set()
