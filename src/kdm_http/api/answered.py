"""What observers get to know of an answer: metrics, traces and the access log."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import structlog

from kdm_http.api.route import Fields

_log = structlog.get_logger("kdm.access")


class Answered(NamedTuple):
    """An answered request.

    Attributes:
        method: As the client sent it.
        route: The path template; "" where no route matched.
        status: The HTTP status; 0 where the connection ended before there was one.
        seconds: From the request's header to the end of its answer.
        user: Who asked; "" where there was no client certificate.
        path: The path as it came.
        query: The query as it came.
        fields: The request's header fields, with names in lower case.
        request_id: The request's id.
        stream: Where the answer was a stream, why it ended; it is counted apart, and ``seconds`` are its duration.
    """

    method: str
    route: str
    status: int
    seconds: float
    user: str
    path: str = ""
    query: bytes = b""
    fields: Fields = ()
    request_id: str = ""
    stream: str = ""


Observe = Callable[[Answered], None]


class Slot(Protocol):
    """Counts answers that differ in nothing but how long they took."""

    def add(self, seconds: float) -> None:
        """Count one, which took so many seconds."""


class Counter(Protocol):
    """An observer that wants to know nothing but numbers."""

    def count(self, answered: Answered) -> None:
        """Count an answer."""

    def slot(self, answered: Answered) -> Slot:
        """Return where further answers like this one are counted: it was counted itself."""


def log(answered: Answered) -> None:
    """Write one line for a request to the access log: an observer."""
    _log.info(
        "request",
        request_id=answered.request_id,
        method=answered.method,
        path=answered.path[:200],
        status=answered.status,
        user=answered.user,
        seconds=round(answered.seconds, 6),
        **({"stream": answered.stream} if answered.stream else {}),
    )
