"""The sockets that connections to the API server are made with."""

from __future__ import annotations

import os
import socket
from typing import Any, Final

KEEPALIVE: Final = (
    ("TCP_KEEPIDLE", 15),
    ("TCP_KEEPINTVL", 5),
    ("TCP_KEEPCNT", 3),
    ("TCP_USER_TIMEOUT", 30_000),
)
"""A peer that is gone is noticed within 45 s: after 15 s of silence it is probed every 5 s; 3 unanswered probes, or
30,000 ms without an acknowledgement of what was sent, end the connection (tcp(7), RFC 5482)."""


class OwnSocket(socket.socket):
    """A socket that closes its own descriptor, and never a later one with the same number.

    uvloop's ``create_connection(sock=...)`` tells the socket that its descriptor was closed, except where the peer
    resets the connection while it is being made (0.23; uvloop's issue 738 is of the same kind). Such a socket would,
    when it is collected, close whatever has the number then: the connection of a client of kdm, after which uvloop
    refuses every new connection that is given this number.
    """

    def __init__(self, family: int, kind: int, protocol: int, fileno: int | None = None) -> None:
        super().__init__(family, kind, protocol, fileno)
        self._file = _file_of(self.fileno())

    def close(self) -> None:
        """Close it, if that has not happened yet."""
        if self.fileno() != -1 and _file_of(self.fileno()) != self._file:
            self.detach()
        super().close()

    def __del__(self) -> None:
        # Instead of the base class's, which closes by number without checking.
        self.close()


def open_socket(address: tuple[Any, ...]) -> OwnSocket:
    """Open a socket that notices within 45 s that its peer is gone.

    Args:
        address: Where it will connect to, as getaddrinfo(3) returns it.
    """
    family, kind, protocol, *_ = address
    return _watchful(OwnSocket(family, kind, protocol))


def adopt_socket(connected: socket.socket) -> OwnSocket:
    """Return such a socket in place of one that somebody else has connected.

    Args:
        connected: The socket, which is not to be used any more.
    """
    family, kind, protocol = connected.family, connected.type, connected.proto
    return _watchful(OwnSocket(family, kind, protocol, connected.detach()))


def _watchful(opened: OwnSocket) -> OwnSocket:
    opened.setblocking(False)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE:
        if hasattr(socket, name):  # the names are Linux's
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return opened


def _file_of(descriptor: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino
