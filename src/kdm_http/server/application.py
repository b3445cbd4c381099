"""The server's port towards the application it serves: ASGI and, optionally, an immediate answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from litestar.types import Receive, Scope, Send

from kdm_http.tls.peer import Peer

Fields = list[tuple[bytes, bytes]]
"""Header fields: names in lower case, and values."""


class Ready(NamedTuple):
    """A response.

    Attributes:
        status: The HTTP status.
        head: Its header fields as they go over the wire, with the empty line after them.
        body: Its body.
    """

    status: int
    head: bytes
    body: bytes


AnswerAtOnce = Callable[[bytes, bytes, Fields, Peer], Ready | None]
"""What an application's attribute ``shortcut`` is, where it has one: given a request without a body (its method, its
target as it came, its header fields with names in lower case) and who asks, the answer; or None: then the application
has to be called. The body of a HEAD's answer is left out by the server."""


class Application(Protocol):
    """An ASGI application that can answer plain reads at once."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI wants it."""

    def shortcut(self, method: bytes, target: bytes, fields: Fields, peer: Peer) -> Ready | None:
        """Answer a request without a body, or return None: then the application has to be called."""
