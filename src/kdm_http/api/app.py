"""The API as an ASGI application: both dialects, one health, one description, one way to fail."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

import structlog
from litestar import Litestar, Request, Response, get
from litestar.datastructures import State
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.routes import HTTPRoute
from litestar.types import Message, Receive, Scope, Send

from kdm_core import Caller, DeploymentService
from kdm_http.api import health, rfd001, rfd156
from kdm_http.api import requests as requested
from kdm_http.api.errors import HANDLERS, MAX_BODY_BYTES
from kdm_http.api.etags import tagging
from kdm_http.api.fast_path import Observe, Shortcut
from kdm_http.api.openapi import describe
from kdm_http.request_id import request_id
from kdm_http.server.responses import ALWAYS, Refusal

_log = structlog.get_logger("kdm.access")
_UNPROVEN: Final = Refusal(401, "a client certificate is required")


def _unobserved(method: str, route: str, status: int, seconds: float, user: str) -> None:
    """Nobody counts."""


class Api:
    """What every request passes, matched or not: who asks is settled, and every answer carries the request's id.

    The TLS edge puts a :class:`kdm_http.tls.peer.Peer` into ``scope["state"]["peer"]``. Without one nothing is served.

    Args:
        litestar: The routes.
        observe: Told of every answer: method, route template ("" where none matched), status, seconds, user.
        log_requests: Whether to log one line for each request.
        shortcut: Answers plain reads at once, for a server that asks it first; see :mod:`kdm_http.api.fast_path`.
    """

    def __init__(self, litestar: Litestar, observe: Observe, *, log_requests: bool = False, shortcut: Shortcut) -> None:
        self.shortcut = shortcut
        self._litestar = litestar
        self._observe = observe
        self._log_requests = log_requests
        self._methods = {route.path_format: route.methods for route in litestar.routes if isinstance(route, HTTPRoute)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI wants it."""
        if scope["type"] != ScopeType.HTTP:
            await self._litestar(scope, receive, send)
            return
        started = time.monotonic()
        state: dict[str, Any] = scope.setdefault("state", {})
        identifier = request_id(scope)
        structlog.contextvars.bind_contextvars(request_id=identifier)
        headers = [*ALWAYS, (b"x-request-id", identifier.encode())]
        status = 0

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*self._exact(message["headers"], scope), *headers]
            await send_noted(message)

        peer = state.get("peer")
        method, path = scope["method"], scope["path"]
        if method == "HEAD":
            scope = {**scope, "method": "GET"}  # the server leaves the body out (RFC 9110, section 9.3.2)
        try:
            if peer is None:
                await _UNPROVEN.answer(scope, receive, send_noted)  # type: ignore[arg-type] # two typings of ASGI
            else:
                await self._answer(scope, receive, tagging(scope, send_with_headers))
        finally:
            deadline = state.get("deadline")
            if status == 0 and deadline is not None and deadline.expired():
                status = 504  # the server answers in place of what it has just cancelled
            seconds = time.monotonic() - started
            user = peer.identity.user if peer else ""
            self._observe(method, scope.get("path_template", ""), status, seconds, user)
            if self._log_requests:
                _log.info(
                    "request", method=method, path=path[:200], status=status, user=user, seconds=round(seconds, 6)
                )

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "*":  # RFC 9110, section 9.3.7: only OPTIONS has it, and it asks whether anybody is there
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self._litestar(scope, receive, send)

    def _exact(self, headers: Iterable[tuple[bytes, bytes]], scope: Scope) -> Iterator[tuple[bytes, bytes]]:
        """Make an Allow header say all: Litestar's OPTIONS knows the first method of a route, and not our HEAD."""
        for name, value in headers:
            if name.lower() == b"allow":
                methods = self._methods.get(scope.get("path_template", "")) or value.decode().split(", ")
                yield name, ", ".join(sorted({*methods, "HEAD"})).encode()
            else:
                yield name, value


def create_app(service: DeploymentService, *, observe: Observe = _unobserved, log_requests: bool = False) -> Api:
    """Make the API over a service.

    Args:
        service: The use cases. Its repository is started and stopped by whoever made it.
        observe: Told of every answer: method, route template ("" where none matched), status (0 where the connection
            ended before one), seconds, the client's user ("" where there was no client certificate).
        log_requests: Whether to log one line for each request.

    Returns:
        The ASGI application. Serve it behind the mTLS edge alone: it trusts ``scope["state"]["peer"]``.
    """
    document = Response(describe(service.max_replicas), media_type="application/json")

    @get("/api/v1/openapi.json", guards=[requested.query_is_known], sync_to_thread=False)
    def openapi() -> Response[dict[str, Any]]:
        """Describe this API."""
        return document

    return Api(
        Litestar(
            [rfd001.router, rfd156.router, health.router, openapi],
            dependencies={
                "service": Provide(lambda: service, sync_to_thread=False),
                "caller": Provide(_caller, sync_to_thread=False),
                "namespace": Provide(_namespace, sync_to_thread=False),
            },
            exception_handlers=HANDLERS,
            openapi_config=None,
            logging_config=None,
            request_max_body_size=MAX_BODY_BYTES,
            debug=False,
        ),
        observe,
        log_requests=log_requests,
        shortcut=Shortcut(service, observe, ALWAYS, log_requests=log_requests),
    )


AnyRequest = Request[Any, Any, State]


def _caller(request: AnyRequest) -> Caller:
    state = request.scope["state"]
    return Caller(state["peer"].identity, state["request_id"])


def _namespace(request: AnyRequest) -> str | None:
    return requested.namespace(request.scope)
