"""Everything that kdm uses of uvicorn, in one place. No other module of kdm imports uvicorn.

Most of it is not documented by uvicorn, so it may change with any minor version: ``pyproject.toml`` allows those that
were tested, and ``tests/unit/http/server/test_uvicorn_seam.py`` compares the tables below with the version installed.
To move to a new version: widen the range, run that test, and read in uvicorn what it says has moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from uvicorn._types import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
)
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import Server, ServerState

__all__ = [
    "ATTRIBUTES",
    "METHODS",
    "ASGI3Application",
    "ASGIReceiveCallable",
    "ASGIReceiveEvent",
    "ASGISendCallable",
    "ASGISendEvent",
    "Config",
    "HttpToolsProtocol",
    "RequestResponseCycle",
    "Scope",
    "Server",
    "ServerState",
    "UvicornConnection",
]

ATTRIBUTES: Final[Mapping[str, Mapping[str, str]]] = {
    "HttpToolsProtocol": {
        "app": "the application that the next request is given to; set before each request",
        "app_state": "what each request's scope['state'] is copied from",
        "connections": "the server's connections, this one included from connection_made to connection_lost",
        "cycle": "the newest request that was given to an application; None before the first",
        "expect_100_continue": "whether the application's first receive() sends 100 Continue",
        "flow": "the transport's flow control",
        "headers": "the header fields of the request being read",
        "loop": "the event loop",
        "parser": "httptools' parser, which calls the on_... methods; None once the connection is lost",
        "pipeline": "(cycle, application) of the requests that wait for their turn, the newest on the left",
        "scope": "the ASGI scope of the request being read",
        "server_state": "the server's ServerState",
        "transport": "the transport",
        "url": "the target of the request being read",
    },
    "RequestResponseCycle": {
        "disconnected": "whether receive() returns http.disconnect and send() does nothing",
        "keep_alive": "whether the connection stays open after the response",
        "message_event": "wakes receive()",
        "response_complete": "whether the response has been written to the transport",
        "response_started": "whether its head has been",
    },
    "FlowControl": {"write_paused": "whether the transport's write buffer is full"},
    "ServerState": {
        "connections": "the protocols of the connections",
        "default_headers": "fields that every response begins with",
        "tasks": "the running calls of the application",
    },
    "Config": {"encoded_headers": "configured default fields", "lifespan_class": "runs the ASGI lifespan"},
    "Lifespan": {"should_exit": "whether the application failed to start", "state": "what it left for the scopes"},
}
"""The attributes that kdm reads or sets, and what it takes them for."""

METHODS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "HttpToolsProtocol": {
        "__init__": ("config", "server_state", "app_state", "_loop"),
        "_start_asgi_task": ("cycle", "app"),
        "_unset_keepalive_if_required": (),
        "_unsupported_upgrade_warning": (),
        "connection_lost": ("exc",),
        "connection_made": ("transport",),
        "data_received": ("data",),
        "eof_received": (),
        "on_body": ("body",),
        "on_header": ("name", "value"),
        "on_headers_complete": (),
        "on_message_begin": (),
        "on_message_complete": (),
        "on_response_complete": (),
        "pause_writing": (),
        "resume_writing": (),
        "send_400_response": ("msg",),
        "shutdown": (),
    },
    "Config": {"load": ()},
    "Lifespan": {"__init__": ("config",), "shutdown": (), "startup": ()},
}
"""The methods that kdm calls or overrides, with the names of their parameters."""


class UvicornConnection(HttpToolsProtocol):
    """uvicorn's connection in kdm's terms: without its timer, its error texts and a scope for every request."""

    def on_application_start(self, cycle: RequestResponseCycle) -> None:
        """An application is given a request: its turn has come."""

    def on_parse_error(self) -> None:
        """What came is not HTTP, or a callback of the parser raised an error."""

    def call(self, app: ASGI3Application) -> None:
        """Give the request, whose header is complete, to an application: now, or when its turn comes.

        Its scope is made here. uvicorn makes one when a request begins, for those too that need none.
        """
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        self.scope["headers"] = headers
        self.app = app
        super().on_headers_complete()

    def finish_with_response(self) -> None:
        """Close the connection with the response to the newest request; at once where that is written already."""
        super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the newest request's application know, and stop the keep-alive timer, whatever ended the connection."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def on_response_complete(self) -> None:
        """Start the next request that waits, and no keep-alive timer: kdm's deadlines do that."""
        super().on_response_complete()
        self._unset_keepalive_if_required()

    def send_400_response(self, msg: str) -> None:
        """Leave the answer to ``on_parse_error``: uvicorn's words are not shown to the client."""
        del msg
        self.on_parse_error()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self.on_application_start(cycle)
        super()._start_asgi_task(cycle, app)

    def _unsupported_upgrade_warning(self) -> None:
        """Ignore an upgrade that is not offered, as RFC 9110 (section 7.8) allows."""
