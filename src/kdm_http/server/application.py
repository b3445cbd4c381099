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
        head: Its header fields as they are sent, with the empty line after them.
        body: Its body.
    """

    status: int
    head: bytes
    body: bytes


AnswerAtOnce = Callable[[bytes, bytes, Fields, Peer], Ready | None]
"""The type of an application's optional attribute ``answer_at_once``. It takes a request without a body (its method,
its target as it came, its header fields with names in lower case) and the client, and returns the response; or None if
the application has to be called. The server leaves out the body of a response to HEAD."""


class Application(Protocol):
    """An ASGI application that can answer plain reads at once."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI specifies."""

    def answer_at_once(self, method: bytes, target: bytes, fields: Fields, peer: Peer) -> Ready | None:
        """Answer a request without a body, or return None: then the application has to be called."""
