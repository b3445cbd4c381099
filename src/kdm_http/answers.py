"""The server's own answers: the ones it gives when the application is not asked, in the application's error form."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus

from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope

Headers = list[tuple[bytes, bytes]]


def error_body(message: str) -> bytes:
    """Return the body of every error."""
    return json.dumps({"error": message}).encode()


def error_headers(body: bytes, *, close: bool, retry_after_s: int = 0) -> Headers:
    """Return the header fields that go with it."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if retry_after_s:
        headers.append((b"retry-after", b"%d" % retry_after_s))
    if close:
        headers.append((b"connection", b"close"))
    return headers


def error_bytes(status: int, message: str, default_headers: Headers) -> bytes:
    """Return a whole response that closes the connection, for when there is no request to answer."""
    body = error_body(message)
    lines = [b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode())]
    lines += [name + b": " + value + b"\r\n" for name, value in default_headers + error_headers(body, close=True)]
    return b"".join(lines) + b"\r\n" + body


def refuse(status: int, message: str, *, close: bool = False, retry_after_s: int = 0) -> ASGI3Application:
    """Make an application that answers one request with an error.

    Args:
        status: The HTTP status.
        message: What to tell the client.
        close: Whether to close the connection after it.
        retry_after_s: When to try again, in seconds; 0 says nothing.
    """

    async def answer(_scope: Scope, _receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        body = error_body(message)
        headers = error_headers(body, close=close, retry_after_s=retry_after_s)
        await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return answer


def within(app: ASGI3Application, request_s: float) -> ASGI3Application:
    """Bound the time an application takes to begin its response; what it streams after that is not bounded here.

    Args:
        app: The application.
        request_s: How long it may take, in seconds. Beyond it, it is cancelled and the client gets a 504.
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
        scope.setdefault("state", {})["deadline"] = deadline  # for whoever counts answers: this one comes from here
        try:
            async with deadline:
                await app(scope, receive, note_start)
        except TimeoutError:
            if started or not deadline.expired():
                raise
            message = f"no answer within {request_s:g} s; a write may have happened: read before trying again"
            await refuse(504, message, close=True)(scope, receive, send)

    return bounded
