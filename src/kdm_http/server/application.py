"""The server's port towards the application it serves: ASGI and, optionally, an immediate answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from litestar.types import Receive, Scope, Send

from kdm_http.tls.peer import Peer

Fields = list[tuple[bytes, bytes]]
"""Header fields: names in lower case, and values."""

SomeFields = tuple[tuple[bytes, bytes], ...]
"""A few of them."""


class Again(Protocol):
    """Gives the response to one request line again, to one identity, as long as it is still the right one."""

    def answer(self, matters: SomeFields, started_s: float, default_head: bytes) -> bytes | None:
        """Return a whole response, and count it; None if what it follows from has changed.

        Args:
            matters: Those of the request's header fields that the response depends on.
            started_s: When the request came, in monotonic seconds.
            default_head: The header fields that every response begins with.
        """


class Ready(NamedTuple):
    """A response.

    Attributes:
        status: The HTTP status.
        head: Its header fields as they are sent, with the empty line after them.
        body: Its body.
        again: Gives the response to the same request line again; None where that cannot be known beforehand.
        matters: The header fields that it depends on. A request with the same ones, and other fields of no meaning,
            gets the same response.
    """

    status: int
    head: bytes
    body: bytes
    again: Again | None = None
    matters: SomeFields = ()


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
