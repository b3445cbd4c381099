"""The API as an ASGI application: Litestar finds the route, the dispatcher answers."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import cache
from typing import Any, Final, cast

import msgspec
import structlog
from litestar import Litestar, Request
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.types import (
    ASGIApp,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
    LifeSpanReceive,
    LifeSpanScope,
    LifeSpanSend,
    LifeSpanShutdownCompleteEvent,
    LifeSpanShutdownFailedEvent,
    LifeSpanStartupCompleteEvent,
    Message,
    Receive,
    Scope,
    Send,
)

from kdm_core import DeploymentService
from kdm_http.api import answered
from kdm_http.api.answered import Answered, Counter, Observe
from kdm_http.api.calls import Calls
from kdm_http.api.dispatch import Answer, Dispatcher
from kdm_http.api.errors import MAX_BODY_BYTES
from kdm_http.api.fast_path import FastPath
from kdm_http.api.route import Route, Stream
from kdm_http.api.routes import ALLOWED, ROUTES, allowed
from kdm_http.api.stream.events import StreamEvents
from kdm_http.api.stream.hub import USUAL, Pace
from kdm_http.api.stream.streams import NO_MORE_THAN, StreamLimits, Streams
from kdm_http.api.unmatched import HANDLERS
from kdm_http.api.v2.bodies import DeploymentBody
from kdm_http.request_id import request_id
from kdm_http.server.responses import ALWAYS, Refusal

_UNPROVEN: Final = Refusal(401, "a client certificate is required")


class Api:
    """What every request passes, matched or not: who asks is settled, and every answer carries the request's id.

    The TLS edge puts a :class:`kdm_http.tls.peer.Peer` into ``scope["state"]["peer"]``. Without one nothing is served.

    Args:
        dispatcher: Calls the endpoints.
        counter: Counts every answer; None for nobody.
        observers: Called with every answer.
        streams: Stopped at the end.
    """

    def __init__(
        self, dispatcher: Dispatcher, counter: Counter | None, observers: Sequence[Observe], streams: Streams
    ) -> None:
        self.answer_at_once = FastPath(ROUTES, dispatcher, observers, ALWAYS, counter)
        self._observers = [*([] if counter is None else [counter.count]), *observers]
        self._calls = Calls(dispatcher)
        self._streams = streams
        self._litestar = _litestar()

    async def __call__(
        self, scope: Scope | LifeSpanScope, receive: Receive | LifeSpanReceive, send: Send | LifeSpanSend
    ) -> None:
        """Serve one connection, or the application's lifespan, as ASGI wants it."""
        if scope["type"] == "lifespan":
            await self._live(cast("LifeSpanReceive", receive), cast("LifeSpanSend", send))
        else:
            await self._serve(scope, cast("Receive", receive), cast("Send", send))

    async def _live(self, receive: LifeSpanReceive, send: LifeSpanSend) -> None:
        await receive()
        await send(LifeSpanStartupCompleteEvent(type="lifespan.startup.complete"))
        try:
            async with aclosing(self._streams):
                await receive()
        except Exception as error:
            await send(LifeSpanShutdownFailedEvent(type="lifespan.shutdown.failed", message=repr(error)))
            raise
        await send(LifeSpanShutdownCompleteEvent(type="lifespan.shutdown.complete"))

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
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
                own = [*_exact(message["headers"], scope)]
                known = {name for name, _ in own}
                message["headers"] = [*own, *(each for each in headers if each[0] not in known)]
            await send_noted(message)

        peer = state.get("peer")
        method, path = scope["method"], scope["path"]
        if method == "HEAD":
            state["head"] = True
            scope = {**scope, "method": "GET"}  # the server leaves the body out (RFC 9110, section 9.3.2)
        try:
            if peer is None:
                await _UNPROVEN.answer(scope, receive, send_noted)  # type: ignore[arg-type] # two typings of ASGI
            elif path == "*":  # RFC 9110, section 9.3.7: only OPTIONS has it, and it asks whether anybody is there
                await _send(Answer(204, b"", b""), send_with_headers)
            else:
                state["calls"] = self._calls
                await self._litestar(scope, receive, send_with_headers)
        finally:
            seconds = time.monotonic() - started
            user = peer.identity.user if peer else ""
            route, query, fields = scope.get("path_template", ""), scope["query_string"], scope["headers"]
            final, stream = _final(status, state), state.get("stream", "")
            known = Answered(method, route, final, seconds, user, path, query, fields, identifier, stream)
            for observe in self._observers:
                observe(known)


def create_app(
    service: DeploymentService,
    *,
    counter: Counter | None = None,
    observers: Sequence[Observe] = (),
    log_requests: bool = False,
    stream_limits: StreamLimits = NO_MORE_THAN,
    stream_events: StreamEvents | None = None,
    stream_pace: Pace = USUAL,
) -> Api:
    """Make the API over a service.

    Args:
        service: The use cases. Its repository is started and stopped by whoever made it.
        counter: Counts every answer; None for nobody.
        observers: Called with every answer, once. With one, answers are not remembered.
        log_requests: Whether to log one line for each request.
        stream_limits: How many streams there may be.
        stream_events: Counts streams.
        stream_pace: How much is kept for streams, and how often something is said on them.

    Returns:
        The ASGI application. Serve it behind the mTLS edge alone: it trusts ``scope["state"]["peer"]``.
    """
    encode = msgspec.json.Encoder().encode
    streams = Streams(
        service,
        lambda deployment: encode(DeploymentBody.of(deployment)),
        limits=stream_limits,
        events=stream_events,
        pace=stream_pace,
    )
    observers = [*observers, *([answered.log] if log_requests else [])]
    return Api(Dispatcher(service, streams), counter, observers, streams)


@cache
def _litestar() -> Litestar:
    """Make the one that finds routes; it is the same for every Api, and each takes a while to make."""
    return Litestar(
        [_handler(route) for route in ROUTES],
        exception_handlers=HANDLERS,
        openapi_config=None,
        logging_config=None,
        request_max_body_size=MAX_BODY_BYTES,
        debug=False,
    )


def _handler(route: Route) -> HTTPRouteHandler:
    """Make Litestar's handler of a row. The Api that a request came to has put its own calls into the scope."""

    async def answer(request: Request[Any, Any, State]) -> ASGIApp:
        calls: Calls = request.scope["state"]["calls"]
        made = await calls.answer(route, request)
        if isinstance(made, Stream):
            return made.respond

        async def respond(_: Scope, __: Receive, send: Send) -> None:
            await _send(made, send)

        return respond

    path = re.sub(r"\{(\w+)\}", r"{\1:str}", route.template)
    return HTTPRouteHandler(path, http_method=route.method, status_code=200)(answer)


def _final(status: int, state: Mapping[str, Any]) -> int:
    """Return the status that the client gets: after its deadline, the server answers in the application's place."""
    deadline = state.get("deadline")
    return 504 if status == 0 and deadline is not None and deadline.expired() else status


async def _send(answer: Answer, send: Send) -> None:
    headers = [(name, value) for name, _, value in (line.partition(b": ") for line in answer.own_head.splitlines())]
    await send(HTTPResponseStartEvent(type="http.response.start", status=answer.status, headers=headers))
    await send(HTTPResponseBodyEvent(type="http.response.body", body=answer.body, more_body=False))


def _exact(headers: Iterable[tuple[bytes, bytes]], scope: Scope) -> Iterator[tuple[bytes, bytes]]:
    """Make an Allow header say all: Litestar's OPTIONS knows the first method of a route, and not our HEAD."""
    for name, value in headers:
        if name.lower() == b"allow":
            known = ALLOWED.get(scope.get("path_template", ""))
            yield name, (known or allowed(value.decode().split(", "))).encode()
        else:
            yield name, value
