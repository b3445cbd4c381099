"""Errors over HTTP: one table from error to status, and one way to make an answer of any exception."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from kdm_core import AmbiguousName, KdmError, Unavailable
from kdm_core.copyable import Copyable

_log = logging.getLogger(__name__)

STATUS: Final[Mapping[str, int]] = {
    "invalid-input": 400,
    "invalid-change": 400,
    "invalid-name": 400,
    "invalid-query": 400,
    "invalid-replicas": 400,
    "invalid-selector": 400,
    "parking-off": 400,
    "forbidden": 403,
    "override-forbidden": 403,
    "reason-required": 403,
    "deployment-not-found": 404,
    "namespace-not-watched": 404,
    "ambiguous-name": 409,
    "contended": 409,
    "changed-since-parked": 409,
    "not-parked": 409,
    "nothing-to-park": 409,
    "out-of-bounds": 409,
    "owner-conflict": 409,
    "parking-record-unreadable": 409,
    "write-conflict": 409,
    "precondition-failed": 412,
    "plan-changed": 412,
    "bulk-refused": 422,
    "bulk-too-large": 422,
    "parking-full": 422,
    "write-rejected": 422,
    "write-invalid": 422,
    "error": 500,  # an error of no other kind: a defect
    "invalid-policy": 500,  # for the start and the log, not for a caller
    "write-forbidden": 502,  # kdm's own permissions are wrong: nothing the caller could mend
    "cluster-unrecognized": 502,
    "unavailable": 503,
    "audit-unavailable": 503,
    "cache-not-synced": 503,
    "cache-stale": 503,
    "cluster-overloaded": 503,
    "cluster-unreachable": 503,
    "not-tried": 503,
    "cluster-timeout": 504,
    "not-seen-yet": 504,
}
"""The status of every error code of the core, in both RFD dialects."""

MAX_BODY_BYTES: Final = 64 * 1024
"""The largest body that is read. ``{"replicaCount": 2147483647}`` has 28 bytes; the rest is courtesy."""

_PHRASES: Final = {
    404: "no such route; the API is described at /api/v1/openapi.json",
    405: "this route does not allow that method; see the Allow header",
    413: f"the body is larger than {MAX_BODY_BYTES} bytes",
}


class BadRequest(Copyable):
    """A request that is wrong before the domain sees it.

    Args:
        message: What is wrong and what is allowed.
        status: 400, 401 or 415.
        allowed: What would have been allowed, where that can be listed.
    """

    retry_after_s = 0

    def __init__(self, message: str, status: int = 400, *, allowed: Collection[str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.allowed = allowed


class Refused(BadRequest):
    """A request that the edge refuses for a reason of its own, with a code of its own.

    Args:
        code: The code, as in the table of problems.
        status: The HTTP status.
        message: What is wrong and what to do.
        written: Whether what it asked for was stored; None where that is not known.
        retry_after_s: When to try again, in seconds; 0 where that does not help.
    """

    def __init__(
        self, code: str, status: int, message: str, *, written: bool | None = False, retry_after_s: int = 0
    ) -> None:
        super().__init__(message, status)
        self.code = code
        self.written = written
        self.retry_after_s = retry_after_s


class Problem(NamedTuple):
    """What the client gets to know of an error.

    Attributes:
        error: What was raised.
        status: The HTTP status.
        message: What went wrong, for a person.
        fields: Header fields, names in lower case.
        request_id: Of the request.
        write: Whether the request could have written something.
    """

    error: Exception
    status: int
    message: str
    fields: Mapping[str, str] = {}
    request_id: str = ""
    write: bool = False


def problem_of(error: Exception, statuses: Mapping[str, int], request_id: str, *, write: bool = False) -> Problem:
    """Return what to answer when this was raised. An error that nobody foresaw is logged here, and only here.

    Args:
        error: What was raised.
        statuses: The dialect's table.
        request_id: Of the request.
        write: Whether the request could have written something.
    """
    return _problem_of(error, statuses, request_id)._replace(request_id=request_id, write=write)


def _problem_of(error: Exception, statuses: Mapping[str, int], request_id: str) -> Problem:
    if isinstance(error, KdmError):
        status = status_of(error, statuses)
        if status != 500:
            retry = {"retry-after": str(error.retry_after_s)} if isinstance(error, Unavailable) else {}
            return Problem(error, status, str(error), retry)
    elif isinstance(error, BadRequest):
        retry = {"retry-after": str(error.retry_after_s)} if error.retry_after_s else {}
        return Problem(error, error.status, str(error), retry)
    elif isinstance(error, HTTPException) and error.status_code < 500:
        fields = {}
        if error.status_code == 405:
            fields["allow"] = {name.lower(): value for name, value in (error.headers or {}).items()}["allow"]
        if error.status_code == 413:
            fields["connection"] = "close"  # the rest of the body is not worth reading
        return Problem(error, error.status_code, _PHRASES.get(error.status_code, error.detail), fields)
    _log.error("internal error", exc_info=error, extra={"request_id": request_id})
    return Problem(error, 500, f"internal error; the log has more under request id {request_id}")


def status_of(error: KdmError, statuses: Mapping[str, int] = STATUS) -> int:
    """Return the status of an error. An adapter's subclass has the code of the core's class it is a kind of."""
    return statuses.get(error.code, 500)


def error_body(problem: Problem) -> dict[str, str]:
    """Return the body of an error in both RFD dialects."""
    hint = "; choose one with ?namespace=" if isinstance(problem.error, AmbiguousName) else ""
    return {"error": problem.message + hint}


def problem(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response[dict[str, str]]:
    """Return Litestar's response for an error that belongs to no dialect."""
    return Response({"error": message}, status_code=status, headers=dict(headers or {}), media_type="application/json")


def _unmatched(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
    found = problem_of(error, STATUS, request.scope.get("state", {}).get("request_id", ""))
    return problem(found.status, found.message, found.fields)


HANDLERS: Final[ExceptionHandlersMap] = {HTTPException: _unmatched, Exception: _unmatched}
"""For an app that has no dialects."""
