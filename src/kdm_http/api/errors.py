"""What went wrong, told over HTTP: one table from error to status, and one body shape, ``{"error": ...}``."""

from __future__ import annotations

import logging
from typing import Any, Final

from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from kdm_core import (
    AmbiguousName,
    AuditUnavailable,
    CacheNotSynced,
    CacheStale,
    ClusterOverloaded,
    ClusterTimeout,
    ClusterUnreachable,
    ClusterUnrecognized,
    Contended,
    DeploymentNotFound,
    Forbidden,
    InvalidChange,
    InvalidInput,
    InvalidName,
    InvalidQuery,
    InvalidReplicas,
    InvalidSelector,
    KdmError,
    NamespaceNotWatched,
    OutOfBounds,
    PolicyError,
    PreconditionFailed,
    Unavailable,
    WriteConflict,
    WriteForbidden,
    WriteInvalid,
)

_log = logging.getLogger(__name__)

STATUS: Final[dict[type[KdmError], int]] = {
    InvalidInput: 400,
    InvalidChange: 400,
    InvalidName: 400,
    InvalidQuery: 400,
    InvalidReplicas: 400,
    InvalidSelector: 400,
    Forbidden: 403,
    DeploymentNotFound: 404,
    NamespaceNotWatched: 404,
    AmbiguousName: 409,
    Contended: 409,
    OutOfBounds: 409,
    WriteConflict: 409,
    PreconditionFailed: 412,
    WriteInvalid: 422,
    PolicyError: 500,  # told at the start and in the log, not to a caller
    WriteForbidden: 502,  # kdm's own permissions are wrong: nothing the caller could mend
    ClusterUnrecognized: 502,
    AuditUnavailable: 503,
    CacheNotSynced: 503,
    CacheStale: 503,
    ClusterOverloaded: 503,
    ClusterUnreachable: 503,
    ClusterTimeout: 504,
}
"""The status of every error a use case can end with."""

MAX_BODY_BYTES: Final = 64 * 1024
"""The largest body that is read. ``{"replicaCount": 2147483647}`` has 28 bytes; the rest is courtesy."""

_PHRASES: Final = {
    404: "no such route; the API is described at /api/v1/openapi.json",
    405: "this route does not allow that method; see the Allow header",
    413: f"the body is larger than {MAX_BODY_BYTES} bytes",
}


class BadRequest(Exception):
    """A request that is wrong before the domain sees it.

    Args:
        message: What is wrong and what is allowed.
        status: 400, 401 or 415.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def problem(status: int, message: str, headers: dict[str, str] | None = None) -> Response[dict[str, str]]:
    """Return the one shape an error has, in both dialects and on every path."""
    return Response({"error": message}, status_code=status, headers=headers, media_type="application/json")


def status_of(error: KdmError) -> int:
    """Return the status of an error, or of the nearest class above it that has one (adapters have subclasses)."""
    return next((STATUS[each] for each in type(error).__mro__ if each in STATUS), 500)


def _of_domain(request: Request[Any, Any, Any], error: KdmError) -> Response[dict[str, str]]:
    status = status_of(error)
    if status == 500:
        return _of_nobody(request, error)
    message = str(error)
    if isinstance(error, AmbiguousName):
        message += "; choose one with ?namespace="
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, Unavailable) else None
    return problem(status, message, headers)


def _of_request(_: Request[Any, Any, Any], error: BadRequest) -> Response[dict[str, str]]:
    return problem(error.status, str(error))


def _of_framework(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, str]]:
    if error.status_code >= 500:
        return _of_nobody(request, error)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers = {"Allow": headers.get("allow") or headers["Allow"]}
    if error.status_code == 413:
        headers["Connection"] = "close"  # the rest of the body is not worth reading
    return problem(error.status_code, _PHRASES.get(error.status_code, error.detail), headers)


def _of_nobody(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
    request_id = request.scope.get("state", {}).get("request_id", "")
    _log.error("internal error", exc_info=error, extra={"request_id": request_id})
    return problem(500, f"internal error; the log has more under request id {request_id}")


HANDLERS: Final[ExceptionHandlersMap] = {
    KdmError: _of_domain,
    BadRequest: _of_request,
    HTTPException: _of_framework,
    Exception: _of_nobody,
}
"""For the app itself, not a router: an unmatched route reaches nobody else's handlers."""
