"""The server's own responses: those it gives when the application does not, in the form of the application's errors.

:class:`Refusal` builds them all, so none lacks what every other response has.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import msgspec
from attrs import field, frozen

from kdm_http.request_id import request_id
from kdm_http.server.limits import Limits
from kdm_http.server.uvicorn_seam import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
)

Headers = list[tuple[bytes, bytes]]

ALWAYS: Final[Headers] = [
    (b"cache-control", b"private, no-cache"),  # a cache that does not ask again would show old counts
    (b"x-content-type-options", b"nosniff"),
]
"""Header fields of every response of the API, besides the request's id."""

_log = logging.getLogger("kdm.server")


@frozen
class Refusal:
    """An error response of the server's own.

    Attributes:
        status: The HTTP status.
        message: The error text.
        close: Whether the connection is closed after it.
        retry_after_s: When to try again, in seconds; 0 leaves that out.
    """

    status: int
    message: str
    close: bool = field(default=False, kw_only=True)
    retry_after_s: int = field(default=0, kw_only=True)

    def head_and_body(self, identifier: str) -> tuple[Headers, bytes]:
        """Build the header fields and the body.

        Args:
            identifier: The request's id.
        """
        body = msgspec.json.encode({"error": self.message})
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        headers += [*ALWAYS, (b"x-request-id", identifier.encode())]
        if self.status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append((b"allow", b""))  # RFC 9110, section 10.2.1: the target allows no method at all
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers.append((b"www-authenticate", b"ClientCertificate"))  # RFC 9110, section 15.5.2: there is one
        if self.retry_after_s:
            headers.append((b"retry-after", b"%d" % self.retry_after_s))
        if self.close:
            headers.append((b"connection", b"close"))
        return headers, body

    async def answer(self, scope: Scope, _receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Answer one request with it. This is an ASGI application."""
        headers, body = self.head_and_body(request_id(scope))
        await send({"type": "http.response.start", "status": self.status, "headers": headers, "trailers": False})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def to_bytes(self, identifier: str, default_headers: Headers) -> bytes:
        """Return it as it is sent where no request was given to an application.

        Args:
            identifier: The request's id.
            default_headers: The fields that every response begins with.
        """
        headers, body = self.head_and_body(identifier)
        lines = [b"HTTP/1.1 %d %s\r\n" % (self.status, HTTPStatus(self.status).phrase.encode())]
        lines += [b"%b: %b\r\n" % each for each in default_headers + headers]
        return b"".join(lines) + b"\r\n" + body


def header_too_large(limits: Limits) -> Refusal:
    """Return the error for a header beyond its limits."""
    return Refusal(
        431,
        f"the request's header is larger than {limits.header_bytes} bytes or has more than "
        f"{limits.header_fields} fields",
        close=True,
    )


def header_too_slow(limits: Limits) -> Refusal:
    """Return the error for a header that did not come in time."""
    return Refusal(408, f"the header did not come within {limits.header_s:g} s", close=True)


def body_too_slow(limits: Limits) -> Refusal:
    """Return the error for a body that did not come in time."""
    return Refusal(408, f"the body did not come within {limits.body_s:g} s", close=True)


def closing_unless_read(app: ASGI3Application) -> ASGI3Application:
    """Close the connection when a request that announced its body is answered before the body was read.

    A client that sent ``Expect: 100-continue`` may or may not send the body after an early response (RFC 9110, section
    10.1.1), so what it sends next could be either the body or another request.

    Args:
        app: The application.
    """

    async def closing(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        read = False

        async def note_read() -> ASGIReceiveEvent:
            nonlocal read
            read = True
            return await receive()

        async def send_start(message: ASGISendEvent) -> None:
            if message["type"] == "http.response.start" and not read:
                message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
            await send(message)

        await app(scope, note_read, send_start)

    return closing


def within(app: ASGI3Application, request_s: float, refused: Callable[[int], None]) -> ASGI3Application:
    """Limit the time an application takes to begin its response, and answer in its place where it fails.

    What it streams after that is not limited here.

    Args:
        app: The application.
        request_s: How long it may take, in seconds. Beyond it, it is cancelled and the client gets a 504.
        refused: Called with the status of each response that is given in its place.
    """

    async def bounded(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        started = False

        async def note_start(message: ASGISendEvent) -> None:
            nonlocal started
            started = True
            deadline.reschedule(None)
            await send(message)

        deadline = asyncio.timeout(request_s)
        scope.setdefault("state", {})["deadline"] = deadline  # for those who count responses: this one is the server's
        try:
            async with deadline:
                await app(scope, receive, note_start)
        except Exception as error:
            if started:
                raise
            if isinstance(error, TimeoutError) and deadline.expired():
                status = 504
                message = f"no answer within {request_s:g} s; a write may have happened: read before trying again"
            else:
                identifier = request_id(scope)
                status, message = 500, f"internal error; the log has more under request id {identifier}"
                _log.error("internal error", exc_info=error, extra={"request_id": identifier})
            refused(status)
            await Refusal(status, message, close=True).answer(scope, receive, send)

    return bounded
