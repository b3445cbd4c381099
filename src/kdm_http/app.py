"""The API as an ASGI application: both dialects, one health, one description, one way to fail."""

from __future__ import annotations

from typing import Any, Final

from litestar import Litestar, Request, Response, get
from litestar.datastructures import State
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.types import Message, Receive, Scope, Send

from kdm_core import DeploymentService, Identity
from kdm_http import health, rfd001, rfd156
from kdm_http import request as requested
from kdm_http.answers import refuse
from kdm_http.openapi import describe
from kdm_http.problems import HANDLERS

_ALWAYS: Final = [
    (b"cache-control", b"no-store"),  # a replica count from a proxy's cache would be a lie about freshness
    (b"x-content-type-options", b"nosniff"),
]
_refuse_unproven: Final = refuse(401, "a client certificate is required")


class Api:
    """What every request passes, matched or not: who asks is settled, and every answer carries the request's id.

    The TLS edge puts a :class:`kdm_http.peer.Peer` into ``scope["state"]["peer"]``. Without one nothing is served.

    Args:
        litestar: The routes.
    """

    def __init__(self, litestar: Litestar) -> None:
        self._litestar = litestar

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI wants it."""
        if scope["type"] != ScopeType.HTTP:
            await self._litestar(scope, receive, send)
            return
        request_id = requested.request_id(scope)
        headers = [*_ALWAYS, (b"x-request-id", request_id.encode())]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id
        if state.get("peer") is None:
            await _refuse_unproven(scope, receive, send_with_headers)  # type: ignore[arg-type] # two typings of ASGI
            return
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # the server leaves the body out (RFC 9110, section 9.3.2)
        await self._litestar(scope, receive, send_with_headers)


def create_app(service: DeploymentService) -> Api:
    """Make the API over a service.

    Args:
        service: The use cases. Its repository is started and stopped by whoever made it.

    Returns:
        The ASGI application. Serve it behind the mTLS edge alone: it trusts ``scope["state"]["peer"]``.
    """
    document = Response(describe(service.max_replicas), media_type="application/json")

    @get("/api/v1/openapi.json", sync_to_thread=False)
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
                "request_id": Provide(_request_id, sync_to_thread=False),
            },
            exception_handlers=HANDLERS,
            openapi_config=None,
            logging_config=None,
            request_max_body_size=requested.MAX_BODY_BYTES,
            debug=False,
        )
    )


AnyRequest = Request[Any, Any, State]


def _caller(request: AnyRequest) -> Identity:
    identity: Identity = request.scope["state"]["peer"].identity
    return identity


def _namespace(request: AnyRequest) -> str | None:
    return requested.namespace(request.scope)


def _request_id(request: AnyRequest) -> str:
    identifier: str = request.scope["state"]["request_id"]
    return identifier
