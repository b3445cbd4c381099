"""From a route and a request to the bytes of its answer, errors included.

The fast path and ASGI both end here, so they give the same bytes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from kdm_core import Caller, DeploymentService
from kdm_http.api.errors import problem_of
from kdm_http.api.etags import is_known
from kdm_http.api.remembered_lists import RememberedLists
from kdm_http.api.route import File, Found, Reply, Request, Route, Stream, Watch
from kdm_http.api.stream.streams import Streams

_JSON: Final = b"application/json"
_HEAD: Final = b"content-type: %b\r\ncontent-length: %d\r\n"

_ETAG: Final = b"etag: %b\r\n"
_ENCODING: Final = b"content-encoding: %b\r\n"


class Answer(NamedTuple):
    """An answer.

    Attributes:
        status: The status.
        head: The header fields as they go over the wire, but for those that vary and those that every answer has.
        body: The body.
        found: The Deployment that it follows from alone; None where there is more to it.
    """

    status: int
    head: bytes
    body: bytes
    found: Found | None = None

    @property
    def own_head(self) -> bytes:
        """The header fields as they go over the wire, but for those that every answer has."""
        return self.head if self.found is None or self.found.varying is None else self.head + self.found.varying()


class Dispatcher:
    """Calls endpoints and encodes what comes of it. Belongs to one event loop.

    Args:
        service: The use cases.
        streams: Opens streams; None where there are none.
    """

    def __init__(self, service: DeploymentService, streams: Streams | None = None) -> None:
        self.service = service
        self._streams = streams
        self._encode = msgspec.json.Encoder().encode
        self._lists = RememberedLists(self._encode)

    def answer(self, route: Route, caller: Caller, request: Request) -> Answer:
        """Call an endpoint that does not wait. Raises nothing."""
        try:
            return self._success(route, route.endpoint(self.service, caller, request), request)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            return self.failure(route, caller, error)

    async def answer_in_time(self, route: Route, caller: Caller, request: Request) -> Answer | Stream:
        """Call any endpoint. Raises nothing but the cancellation of the task."""
        try:
            shown = route.endpoint(self.service, caller, request)
            shown = await shown if inspect.isawaitable(shown) else shown
            if isinstance(shown, Watch):
                assert self._streams is not None  # noqa: S101 - or no route would ask for it
                session = self._streams.open(caller.identity, shown.query, request.fields, bookmarks=shown.bookmarks)
                return Stream(session)
            return shown if isinstance(shown, Stream) else self._success(route, shown, request)
        except Exception as error:  # noqa: BLE001 - as above
            return self.failure(route, caller, error)

    def failure(self, route: Route, caller: Caller, error: Exception) -> Answer:
        """Answer with an error, in the form of the route's dialect."""
        dialect = route.dialect
        problem = problem_of(error, dialect.statuses, caller.request_id, write=route.method != "GET")
        body = self._encode(dialect.error_body(problem))
        fields = "".join(f"{name}: {value}\r\n" for name, value in problem.fields.items()).encode()
        return Answer(problem.status, fields + _HEAD % (dialect.error_type, len(body)), body)

    def found(self, found: Found, fields: Iterable[tuple[bytes, bytes]]) -> Answer:
        """Answer with one Deployment, or that the client knows it; ``fields`` are the request's header fields."""
        etag = _ETAG % found.tag if found.tag else b""
        if is_known(found.tag, fields):
            return Answer(304, etag, b"", found)
        body = self._encode(found.show(found.deployment))
        return Answer(200, _HEAD % (_JSON, len(body)) + etag, body, found)

    def _success(self, route: Route, shown: Any, request: Request) -> Answer:
        if type(shown) is Found:
            return self.found(shown, request.fields)
        if route.tagged:
            body, tag = self._lists.encoded(route, shown)
            fields = b""
            if shown.enclose is not None:
                body, tag, fields = shown.enclose(body, tag)
            fields = _ETAG % tag + fields
            if is_known(tag, request.fields):
                return Answer(304, fields, b"")
            return Answer(200, _HEAD % (_JSON, len(body)) + fields, body)
        if type(shown) is Reply:
            return self._reply(shown)
        if type(shown) is File:
            return _file(shown, request.fields)
        body = self._encode(shown)
        return Answer(200, _HEAD % (_JSON, len(body)), body)

    def _reply(self, reply: Reply) -> Answer:
        retry = b"retry-after: %d\r\n" % reply.retry_after_s if reply.retry_after_s else b""
        content = reply.content
        body = content if isinstance(content, bytes) else self._encode(content)
        return Answer(reply.status, retry + _HEAD % (reply.media_type, len(body)) + reply.fields, body)


def _file(file: File, fields: Iterable[tuple[bytes, bytes]]) -> Answer:
    """Answer with a file, or that the client has it."""
    always = _ETAG % file.tag + file.fields
    if is_known(file.tag, fields):
        return Answer(304, always, b"")
    encoding = _ENCODING % file.encoding if file.encoding else b""
    return Answer(200, _HEAD % (file.media_type, len(file.body)) + encoding + always, file.body)
