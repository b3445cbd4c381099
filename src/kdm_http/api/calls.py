"""A request that an endpoint answers in its own time: with a deadline, and once only where the client asks for that."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from litestar import Request as LitestarRequest
from litestar.datastructures import State

from kdm_core import Caller
from kdm_http.api.dispatch import Answer, Dispatcher
from kdm_http.api.errors import BadRequest
from kdm_http.api.patience import Patience
from kdm_http.api.progress import Progress, wants_events
from kdm_http.api.relay import relayed
from kdm_http.api.replays import Keyed, Replays, fingerprint_of, key_of
from kdm_http.api.requests import query_parameters, whole_body
from kdm_http.api.route import Request, Route, Stream
from kdm_http.api.same_origin import check_same_origin

_CONDITIONS = (b"if-match", b"if-none-match")


class Calls:
    """Calls endpoints for requests that come through ASGI. Belongs to one event loop.

    Args:
        dispatcher: Calls the endpoints.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._replays = Replays(time.monotonic)

    async def answer(self, route: Route, asked: LitestarRequest[Any, Any, State]) -> Answer | Stream:
        """Answer a request. Raises nothing but the cancellation of the task."""
        scope = asked.scope
        state: dict[str, Any] = scope["state"]
        caller = Caller(state["peer"].identity, state["request_id"])
        fields = scope["headers"]

        async def read() -> bytes:
            return await whole_body(asked.body)

        try:
            if route.method != "GET":
                check_same_origin(fields, b"https")
            if not route.dialect.encoded_slashes:
                _check_slashes(scope["raw_path"])
            query = query_parameters(scope["query_string"], route.query)
            if "watch" in query:
                _check_version(scope["http_version"], "watch")
            progress = Progress() if route.progressive and wants_events(fields) else None
            if progress is not None:
                _check_version(scope["http_version"], "Accept: text/event-stream")
            request = Request(scope["path_params"], query, fields, read, progress=progress)
            answering = self._answer(route, caller, request, asked)
            return await (answering if progress is None else relayed(progress, answering))
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            return self._dispatcher.failure(route, caller, error)

    async def _answer(
        self, route: Route, caller: Caller, request: Request, asked: LitestarRequest[Any, Any, State]
    ) -> Answer | Stream:
        scope, fields = asked.scope, request.fields
        try:
            key = key_of([value for name, value in fields if name == b"idempotency-key"]) if route.replayable else None
            if key is None:
                return await self._within(route, caller, request, asked)
            conditions = [b"%b=%b" % each for each in fields if each[0] in _CONDITIONS]
            fingerprint = fingerprint_of(scope["query_string"], await request.read_body(), *conditions)
            keyed = Keyed(caller.identity.user, scope["method"], scope["path"], key, fingerprint)

            async def write() -> Answer:
                answer = await self._within(route, caller, request, asked)
                assert not isinstance(answer, Stream)  # noqa: S101 - it is a write
                return answer

            return await self._replays.answer(keyed, write)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            return self._dispatcher.failure(route, caller, error)

    async def _within(
        self, route: Route, caller: Caller, request: Request, asked: LitestarRequest[Any, Any, State]
    ) -> Answer | Stream:
        state: dict[str, Any] = asked.scope["state"]
        servers: asyncio.Timeout | None = state.get("deadline")
        if route.dialect.timeout_error is None:
            return await self._dispatcher.answer_in_time(route, caller, request)
        when = servers.when() if servers is not None else None
        if servers is not None:
            servers.reschedule(None)  # from here on the deadline is ours: the answer has the dialect's form
        started = time.monotonic()
        try:
            async with asyncio.timeout_at(when) as deadline:
                patience = Patience(asked.receive, state.get("stopping"), deadline, state["peer"])
                return await self._dispatcher.answer_in_time(route, caller, request._replace(patience=patience))
        except TimeoutError:
            error = route.dialect.timeout_error(time.monotonic() - started)
            return self._dispatcher.failure(route, caller, error)


def _check_slashes(path: bytes) -> None:
    """Refuse a slash that a client has encoded as a part of a name: to the router it is one as any other."""
    if b"%2f" in path.lower():
        raise BadRequest("the path has an encoded slash (%2F): no name has one")


def _check_version(version: str, asked: str) -> None:
    """Refuse a stream to HTTP/1.0, whose responses have no end but the connection's."""
    if version == "1.0":
        raise BadRequest(f"{asked}: a stream needs HTTP/1.1")
