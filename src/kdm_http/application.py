"""What the server is given to serve, and what wraps it has to be as well."""

from __future__ import annotations

from typing import Protocol

from litestar.types import Receive, Scope, Send

from kdm_http.peer import Peer
from kdm_http.shortcut import Fields, Ready


class Application(Protocol):
    """An ASGI application that can answer plain reads at once; see :mod:`kdm_http.shortcut`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI wants it."""

    def shortcut(self, method: bytes, target: bytes, fields: Fields, peer: Peer) -> Ready | None:
        """Answer a request without a body, or return None: then the application has to be called."""
