"""A response without an end, such as a stream of events: how its application learns that it has to end.

The time such a response takes is not limited, so nothing but this ends it: not the deadline of a request, and not the
end of the requests under way. Whoever reads it slowly is ended by the connection, as for any response.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from kdm_http.server.deadlines import Clock, OneShot

FAREWELL_S: Final = 1.0
"""How long a client may take to read the last words of a response that has to end, in seconds."""

UNREAD_BYTES: Final = 64 * 1024
"""How much of an endless response may wait in the connection's own buffer. asyncio's default with TLS is 512 KiB."""


class Host(Protocol):
    """A connection, as far as an endless response is concerned."""

    @property
    def transport(self) -> asyncio.Transport:
        """What it writes to."""

    def revalidate(self) -> None:
        """Check the client again, and end the connection if it is refused."""

    def abort(self) -> None:
        """Close it at once."""


class Endless:
    """Stands between one connection and the endless response on it, if there is one. Belongs to one event loop.

    It is found in ``scope["state"]["endless"]``.

    Attributes:
        reason: Why the connection ends: ``shutdown``, ``connection-age``, ``hang-up`` or ``certificate-`` with the
            reason of the rejection; "" while it stays.
    """

    __slots__ = ("_ended", "_host", "_timer", "reason")

    def __init__(self, clock: Clock, host: Host) -> None:
        """Watch a connection on which there is no endless response yet.

        Args:
            clock: The event loop.
            host: The connection.
        """
        self.reason = ""
        self._host: Host | None = host
        self._ended: Callable[[], None] | None = None
        self._timer = OneShot(clock)

    def begin(self, ended: Callable[[], None]) -> None:
        """Begin a response; ``ended`` is called when it has to end, unless ``reason`` says so already."""
        self._ended = ended
        if self._host is not None:
            self._host.transport.set_write_buffer_limits(UNREAD_BYTES)

    def done(self) -> None:
        """The response has ended by itself."""
        self._ended = None

    def check(self) -> str:
        """Have the client's certificate checked by the present time, and return ``reason``."""
        if self._host is not None:
            self._host.revalidate()
        return self.reason

    def end(self, reason: str) -> bool:
        """Let the response say why it ends. After ``FAREWELL_S`` the connection is cut.

        Returns:
            Whether there is one, so that the connection has to be left to it.
        """
        self.reason = self.reason or reason
        if self._ended is None or self._host is None:
            return False
        self._timer.start(FAREWELL_S, self._host.abort)
        self._ended()
        return True

    def cancel(self) -> None:
        """Stop, and let go of the connection: it is gone."""
        self._timer.cancel()
        self._host = None  # its memory is freed at once, and not by the garbage collector
        ended, self._ended = self._ended, None
        self.reason = self.reason or "hang-up"
        if ended is not None:
            ended()
