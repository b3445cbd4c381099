"""What can go wrong in API v2: each code with its status, its title and what it means. The pages and documentation too.

The codes of the core come from its tree of errors. The others are those of the edge itself.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from html import escape
from typing import Final

from attrs import frozen

from kdm_core import KdmError
from kdm_core.errors import ERRORS
from kdm_http.api.errors import STATUS

PATH: Final = "/problems/"
"""Where the pages are: what ``type`` begins with."""


@frozen
class Kind:
    """A kind of problem.

    Attributes:
        code: Its stable name, for programs.
        status: The HTTP status.
        title: Its name for people.
        meaning: What it means and what to do.
        retryable: Whether the same request may succeed later, without anybody changing anything.
    """

    code: str
    status: int
    title: str
    meaning: str
    retryable: bool = False


STATUSES: Final[Mapping[str, int]] = STATUS
"""The status of every error code of the core in API v2."""

EDGE: Final = (
    Kind(
        "invalid-request",
        400,
        "Invalid request",
        "The request is wrong in itself: an unknown or repeated query parameter, a body that is not the JSON object "
        "that is wanted, a header that cannot be read. The detail says what is allowed. Nothing was done.",
    ),
    Kind(
        "not-supported",
        400,
        "Not supported",
        "The request asks for something that this kdm does not have, or that is switched off: see GET /api/v2.",
    ),
    Kind(
        "cross-origin",
        403,
        "Cross-origin request",
        "A browser sent the request for a page of another site, which must not change anything with its user's "
        "certificate. Programs send neither Origin nor Sec-Fetch-Site. Nothing was done.",
    ),
    Kind("no-such-route", 404, "No such route", "The API has no such path. GET /api/v2/openapi.json describes it."),
    Kind("no-such-problem", 404, "No such problem", "There is no problem of this code. GET /problems/ lists them."),
    Kind("method-not-allowed", 405, "Method not allowed", "The path does not have that method: see the field Allow."),
    Kind(
        "idempotency-key-in-flight",
        409,
        "Idempotency-Key in flight",
        "The first request with this Idempotency-Key is still being done. Ask again in a moment: it gets the same "
        "answer.",
        retryable=True,
    ),
    Kind(
        "continue-unreadable",
        410,
        "Continue token unreadable",
        "The continue token is not one that this version of kdm gives. Begin the list again, without it.",
    ),
    Kind("body-too-large", 413, "Body too large", "The body is larger than 64 KiB. Nothing was done."),
    Kind(
        "unsupported-media-type",
        415,
        "Unsupported media type",
        "The body is not application/json, or it is compressed. Nothing was done.",
    ),
    Kind(
        "idempotency-key-reused",
        422,
        "Idempotency-Key reused",
        "The Idempotency-Key was used for another request, with another body, query or condition. Use a new key.",
    ),
    Kind(
        "too-many-streams",
        429,
        "Too many streams",
        "This client has as many streams open as one user may have. Close one, or ask again later.",
        retryable=True,
    ),
    Kind(
        "too-many-under-way",
        429,
        "Too many under way",
        "This client has as many requests with an Idempotency-Key under way as one user may have. Each goes on when "
        "its connection ends. Nothing was done: ask again later, under the same key.",
        retryable=True,
    ),
    Kind(
        "no-stream-left",
        503,
        "No stream left",
        "As many streams are open as this kdm has in all. Ask again later, or another kdm.",
        retryable=True,
    ),
    Kind(
        "request-timeout",
        504,
        "Request timeout",
        "kdm did not answer in time. A write may have happened: read before trying again. Under the same "
        "Idempotency-Key this answer comes again, and nothing is written twice: once you have read, use a new key.",
        retryable=True,
    ),
)
"""The problems that the edge finds by itself."""


def _prose(error: type[KdmError]) -> str:
    """Return what an error means: its docstring without the lists of attributes and the marks of code."""
    text = (inspect.getdoc(error) or "").partition("\n\nAttributes:")[0]
    return re.sub(r"\s+", " ", re.sub(r":\w+:`~?([^`]+)`", r"\1", text).replace("``", "")).strip()


def _kind(code: str, error: type[KdmError]) -> Kind:
    if code == "error":
        meaning = "A defect in kdm. The log has more under the request id. A write may have happened."
        return Kind(code, 500, "Internal error", meaning)
    title = code.replace("-", " ").capitalize()
    return Kind(code, STATUSES.get(code, 500), title, _prose(error), error.retryable)


KINDS: Final[Mapping[str, Kind]] = {
    each.code: each
    for each in sorted(
        (*EDGE, *(_kind(code, error) for code, error in ERRORS.items())), key=lambda each: (each.status, each.code)
    )
}
"""Every problem by its code, ordered by status."""


def page(kind: Kind) -> bytes:
    """Return the page of a problem, as HTML."""
    again = "yes" if kind.retryable else "no"
    return _html(
        kind.title,
        f"<p>{escape(kind.meaning)}</p>\n<dl><dt>code</dt><dd><code>{kind.code}</code></dd>"
        f"<dt>status</dt><dd>{kind.status}</dd><dt>may succeed if sent again unchanged</dt><dd>{again}</dd></dl>\n"
        f'<p><a href="{PATH}">All problems</a></p>',
    )


def index() -> bytes:
    """Return the page that lists all problems, as HTML."""
    rows = "\n".join(
        f'<tr><td>{each.status}</td><td><a href="{PATH}{each.code}"><code>{each.code}</code></a></td>'
        f"<td>{escape(each.meaning)}</td></tr>"
        for each in KINDS.values()
    )
    return _html("Problems", f"<table><tr><th>status</th><th>code</th><th>what it means</th></tr>\n{rows}\n</table>")


def _html(title: str, content: str) -> bytes:
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(title)} - kdm</title>\n'
        f"<h1>{escape(title)}</h1>\n{content}\n</html>\n"
    ).encode()
