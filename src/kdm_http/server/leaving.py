"""How a connection ends in good order: when the server stops, when it has grown old, or when its client hangs up.

A request may be on its way when the server decides to close (RFC 9112, section 9.5). So an idle connection gets a
moment in which its client may still ask for something, and the response to that says that the connection is closed.
"""

from __future__ import annotations

from typing import Final, Protocol

from kdm_http.server.deadlines import Clock, OneShot
from kdm_http.server.endless import Endless

LINGER_S: Final = 1.0
"""How long an idle connection may still ask for something when the server is leaving, in seconds."""

LEAVE_S: Final = 0.5
"""How long a client may take to answer close_notify when the server is leaving, in seconds. Pooled ones never do."""


def linger_s(grace_s: float) -> float:
    """Return how long an idle connection may still ask for something, in seconds.

    Args:
        grace_s: How long the stop of the server waits for its connections, in seconds.
    """
    return min(LINGER_S, grace_s / 2)


class Endable(Protocol):
    """A connection, as far as its end is concerned."""

    @property
    def busy(self) -> bool:
        """Whether a response is still due, or still being taken by the client."""

    @property
    def idle(self) -> bool:
        """Whether no byte of a next request has come."""

    @property
    def finished(self) -> bool:
        """Whether the server has closed it already."""

    def finish(self) -> None:
        """Close it, after what is written has been sent."""

    def finish_with_response(self) -> None:
        """Close it with the response that is due."""

    def abort(self) -> None:
        """Close it at once."""


class Leaving:
    """The end of one connection. Belongs to one event loop.

    Attributes:
        begun: Whether the next response is the last one.
    """

    __slots__ = ("_age_s", "_connection", "_endless", "_grace_s", "_open", "_request_s", "_timer", "begun")

    def __init__(
        self, clock: Clock, connection: Endable, endless: Endless, *, age_s: float, request_s: float, grace_s: float
    ) -> None:
        """Watch a connection that is not open yet.

        Args:
            clock: The event loop.
            connection: The connection.
            endless: Where a response without an end learns of it.
            age_s: After this long, in seconds, it is ended.
            request_s: How long an old connection may take to finish what is under way, in seconds.
            grace_s: How long a stop of the server waits for its connections, in seconds.
        """
        self.begun = False
        self._connection = connection
        self._endless = endless
        self._age_s = age_s
        self._request_s = request_s
        self._grace_s = grace_s
        self._open = False
        self._timer = OneShot(clock)  # first the connection's age, then what is left of it

    def open(self) -> None:
        """Begin to count the connection's age."""
        self._open = True
        self._timer.start(self._age_s, self._retire)

    def cancel(self) -> None:
        """Stop, and let go of the connection: it is gone."""
        self._open = False
        self._timer.cancel()
        self._connection = _GONE

    def begin(self, reason: str = "shutdown") -> None:
        """End the connection after one response more, or after a moment in which nothing is asked for."""
        self.begun = True
        self._endless.end(reason)
        connection = self._connection
        if connection.busy:
            connection.finish_with_response()
            self.continue_if_done()
        elif connection.idle and self._open:
            self._timer.start(linger_s(self._grace_s), self._end_if_idle)

    def continue_if_done(self) -> None:
        """Go on with the end, if it has begun and nothing is due any more: the client has little time to close."""
        if self.begun and self._open and not self._connection.busy:
            self._timer.start(LEAVE_S, self._connection.abort)

    def hang_up(self, *, half_a_body: bool) -> None:
        """End the connection because its client sends no more: what it asked for is answered first.

        Args:
            half_a_body: Whether what is under way is a request that can never be complete.
        """
        connection = self._connection
        if connection.finished:
            return
        if connection.busy and not half_a_body:
            self.begin("hang-up")
        else:
            connection.finish()

    def _retire(self) -> None:
        # What does not end by itself is cut in the end.
        self._timer.start(self._request_s, self._connection.abort)
        self.begin("connection-age")

    def _end_if_idle(self) -> None:
        if self._connection.idle and not self._connection.finished:
            self._connection.finish()
            self.continue_if_done()


class _Gone:
    """Stands for a connection that is gone, so that its memory is freed at once and not by the garbage collector."""

    busy = idle = False
    finished = True

    def finish(self) -> None:
        """Nothing is left to close."""

    finish_with_response = abort = finish


_GONE: Final = _Gone()
