"""Requests that no route matches: answered in the form of the dialect whose paths they are nearest to."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from kdm_http.api.errors import problem_of
from kdm_http.api.rfd001 import RFD001
from kdm_http.api.route import Dialect
from kdm_http.api.v2.dialect import V2

_V2_PATHS: Final = ("/api/v2", "/problems", "/ui")


def dialect_near(path: str) -> Dialect:
    """Return the dialect that a path belongs to, whether or not there is such a route."""
    return V2 if any(path == each or path.startswith(f"{each}/") for each in _V2_PATHS) else RFD001


def _unmatched(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    scope = request.scope
    dialect = dialect_near(scope["path"])
    identifier = scope.get("state", {}).get("request_id", "")
    found = problem_of(error, dialect.statuses, identifier, write=scope["method"] in {"POST", "PUT", "PATCH", "DELETE"})
    return Response(
        msgspec.json.encode(dialect.error_body(found)),
        status_code=found.status,
        headers=dict(found.fields),
        media_type=dialect.error_type.decode(),
    )


HANDLERS: Final[ExceptionHandlersMap] = {HTTPException: _unmatched, Exception: _unmatched}
"""For the app itself, not a router: where no route matches, Litestar asks no other handlers."""
