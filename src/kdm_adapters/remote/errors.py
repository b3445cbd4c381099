"""What a kdm answered that went wrong, as the error of the core that it is: code by code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from kdm_adapters.remote.members import Json, fill, text
from kdm_adapters.remote.transport_errors import NotAccepted
from kdm_core.copyable import Copyable
from kdm_core.errors import (
    ERRORS,
    ClusterOverloaded,
    ClusterTimeout,
    ClusterUnrecognized,
    InvalidInput,
    InvalidQuery,
    KdmError,
    Unavailable,
)

MEDIA_TYPE: Final = "application/problem+json"

MAX_RETRY_AFTER_S: Final = 3600
"""The longest wait that a server's Retry-After can ask for, in seconds."""

_MAY_BE_WRITTEN: Final = " A write may have happened: read before trying again"

_SHOWN: Final = 120
"""How many characters of a foreign answer a message shows."""

EDGE: Final[Mapping[str, type[KdmError]]] = {
    "invalid-request": InvalidInput,
    "not-supported": InvalidInput,
    "unsupported-media-type": InvalidInput,
    "body-too-large": InvalidInput,
    "idempotency-key-reused": InvalidInput,
    "continue-unreadable": InvalidQuery,
    "cross-origin": InvalidInput,
    "no-such-route": ClusterUnrecognized,
    "no-such-problem": InvalidInput,
    "method-not-allowed": ClusterUnrecognized,
    "idempotency-key-in-flight": Unavailable,
    "too-many-streams": ClusterOverloaded,
    "too-many-under-way": ClusterOverloaded,
    "no-stream-left": ClusterOverloaded,
    "request-timeout": ClusterTimeout,
}
"""The codes that the server's edge has beyond the core's, and the error each is a kind of."""


class Problem(Copyable):
    """What the server said, word for word: the cause of the error that it became. See :func:`problem_of`.

    Attributes:
        status: The HTTP status.
        code: The server's code; "" where it said none.
        request_id: What to look for in the server's log and audit trail; "" where it said none.
        body: The whole problem, as JSON has it.
        replayed: Whether it is the stored answer to an earlier request under the same Idempotency-Key.
    """

    def __init__(self, status: int, body: Json, *, replayed: bool = False) -> None:
        self.status = status
        self.body = body
        self.replayed = replayed
        self.code = text(body, "code")
        self.request_id = text(body, "requestId")
        super().__init__(f"{status} {self.code}: {text(body, 'detail')} (request id {self.request_id})")

    def __reduce__(self) -> tuple[Any, ...]:
        return Problem, (self.status, self.body)


def problem_of(error: BaseException) -> Problem | None:
    """Return what the server said, where an error is its answer; None where no server answered."""
    return error.__cause__ if isinstance(error.__cause__, Problem) else None


def error_of(status: int, fields: Mapping[str, str], content: bytes, *, read: bool = False) -> KdmError:
    """Return the error that an answer is. Its ``__cause__`` is the :class:`Problem`.

    Args:
        status: The HTTP status, of 300 or more.
        fields: The header fields, names in lower case.
        content: The body.
        read: Whether the request could write nothing.
    """
    media_type = fields.get("content-type", "").partition(";")[0].strip().lower()
    error: KdmError
    body = _problem(media_type, content)
    plain = None if body is not None else _plain(media_type, content)
    if plain is not None:
        body, error = plain, _before_any_api(status, text(plain, "error"))
    elif body is None:
        shown = " ".join(content[: 4 * _SHOWN].decode("utf-8", "replace").split())[:_SHOWN]
        error = ClusterUnrecognized(
            f"the answer is not kdm's ({status}{': ' + shown if shown else ''}): is the server's URL that of a kdm, "
            f"with nothing in front of it that answers in its place?{'' if read else _MAY_BE_WRITTEN}"
        )
        body = {}
    else:
        error = _error(body)
    if read:
        error.written = False
    elif "written" in body and (body["written"] is None or isinstance(body["written"], bool)):
        error.written = body["written"]
    if isinstance(error, Unavailable) and (seconds := retry_after_s(fields)) is not None:
        error.retry_after_s = seconds
    error.__cause__ = Problem(status, body, replayed=fields.get("idempotency-replayed") == "true")
    return error


def retry_after_s(fields: Mapping[str, str]) -> int | None:
    """Return what ``Retry-After`` says, in seconds; None where it says nothing that kdm would."""
    text = fields.get("retry-after", "").strip()
    if not (text.isascii() and text.isdecimal()):
        return None
    return MAX_RETRY_AFTER_S if len(text) > 9 else min(int(text), MAX_RETRY_AFTER_S)


def _problem(media_type: str, content: bytes) -> Json | None:
    """Return a problem of kdm's; None where the answer is none."""
    return _object(content, "code") if media_type == MEDIA_TYPE else None


def _plain(media_type: str, content: bytes) -> Json | None:
    """Return an error of the older form, ``{"error": ...}``; None where the answer is none."""
    return _object(content, "error") if media_type == "application/json" else None


def _object(content: bytes, member: str) -> Json | None:
    """Return a JSON object that has a certain text; None where it is none."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) and text(body, member) else None


def _before_any_api(status: int, text: str) -> KdmError:
    """Return the error that kdm's server answers with before API v2 sees the request, or its health is."""
    if status == 401:
        return NotAccepted(text)
    return Unavailable(text) if status in {408, 429, 503} else KdmError(text)


def _error(body: Json) -> KdmError:
    code = text(body, "code")
    kind = ERRORS.get(code) or EDGE.get(code)
    if kind is None:  # of a newer kdm
        kind = Unavailable if body.get("retryable") is True else KdmError
    error = kind.__new__(kind)  # its constructor would make another message
    error.args = (text(body, "detail") or code,)
    fill(error, body, _error)
    return error
