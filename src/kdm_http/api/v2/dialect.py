"""API v2's form of errors: application/problem+json, as RFC 9457 has it."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar.exceptions import HTTPException

from kdm_core import (
    AmbiguousName,
    BulkRefused,
    BulkTooLarge,
    ChangedSinceParked,
    Contended,
    Deployment,
    DeploymentNotFound,
    DeploymentRef,
    Expect,
    Forbidden,
    InvalidName,
    InvalidReplicas,
    InvalidSelector,
    KdmError,
    NamespaceNotWatched,
    NothingToPark,
    NotParked,
    OutOfBounds,
    OwnerConflict,
    ParkingFull,
    ParkingRecordUnreadable,
    PlanChanged,
    PreconditionFailed,
    WriteConflict,
)
from kdm_http.api.errors import BadRequest, Problem, Refused, problem_of
from kdm_http.api.route import Dialect
from kdm_http.api.v2.bodies import LastChangeBody
from kdm_http.api.v2.owner_bodies import OwnerBody
from kdm_http.api.v2.problems import KINDS, PATH, STATUSES
from kdm_http.api.v2.tags import tag_of_replicas

_REQUEST_CODES: Final = {400: "invalid-request", 415: "unsupported-media-type"}
_ROUTER_CODES: Final = {404: "no-such-route", 405: "method-not-allowed", 413: "body-too-large"}
_NO_ROUTE: Final = "no such route; the API is described at /api/v2/openapi.json"


def error_body(problem: Problem) -> dict[str, Any]:
    """Return the body of an error."""
    code = _code_of(problem)
    kind = KINDS[code]
    error = problem.error
    body: dict[str, Any] = {
        "type": PATH + code,
        "title": kind.title,
        "status": problem.status,
        "detail": _NO_ROUTE if code == "no-such-route" else problem.message,
        "code": code,
        "requestId": problem.request_id,
        "retryable": kind.retryable,
    }
    if problem.write:
        body["written"] = _written(error)
    return body | _members(error) | _of_batch(error, problem)


def timeout_error(seconds: float) -> Refused:
    """Return the error of a request that took too long."""
    return Refused(
        "request-timeout",
        504,
        f"no answer within {seconds:.0f} s; a write may have happened: read before trying again",
        written=None,
        retry_after_s=1,
    )


V2: Final = Dialect("v2", STATUSES, error_body, b"application/problem+json", timeout_error, encoded_slashes=False)


def _code_of(problem: Problem) -> str:
    error = problem.error
    if isinstance(error, KdmError):
        return error.code if error.code in STATUSES else "error"
    if isinstance(error, Refused):
        return error.code
    if isinstance(error, BadRequest):
        return _REQUEST_CODES[error.status]
    if isinstance(error, HTTPException) and problem.status < 500:
        return _ROUTER_CODES.get(problem.status, "invalid-request")
    return "error"


def _written(error: Exception) -> bool | None:
    if isinstance(error, KdmError | Refused):
        return error.written
    return False if isinstance(error, BadRequest | HTTPException) else None


def _members(error: Exception) -> dict[str, Any]:  # noqa: PLR0911 - a table
    """Return what a program wants to know of an error besides its code."""
    match error:
        case BadRequest(allowed=allowed) if allowed is not None:
            return {"allowed": list(allowed)}
        case NamespaceNotWatched():
            return {"namespace": error.namespace, "allowed": list(error.watched)}
        case DeploymentNotFound():
            return _ref(error.ref)
        case AmbiguousName():
            return {"name": error.name, "namespaces": list(error.namespaces)}
        case Forbidden():
            said = {"verb": error.verb.value, "user": error.user}
            return said | {"target": error.target, "namespace": error.namespace}
        case PreconditionFailed() if error.current is not None:
            return {"current": _current(error.current)}
        case WriteConflict():
            return _conflict(error.expected, error.current)
    return _members_of_counts(error) or _members_of_words(error)


def _members_of_counts(error: Exception) -> dict[str, Any]:
    match error:
        case InvalidReplicas():
            return {"value": error.value, "bounds": {"min": 0, "max": error.maximum}}
        case OutOfBounds():
            members = _ref(error.ref) | {"bounds": {"min": error.minimum, "max": error.maximum}}
            return members | {"current": {"replicas": error.current}, "result": error.result}
        case ChangedSinceParked():
            members = _ref(error.ref) | {"current": {"replicas": error.current}, "forgotten": error.forgotten}
            return members | {"remembered": error.parked}
        case Contended():
            return _ref(error.ref) | {"attempts": error.attempts}
        case OwnerConflict():
            return _ref(error.ref) | {
                "replicas": error.replicas,
                "owners": [msgspec.to_builtins(OwnerBody.of(each)) for each in error.owners],
            }
    return {}


def _members_of_words(error: Exception) -> dict[str, Any]:
    match error:
        case InvalidName():
            return {"what": error.what, "value": error.value, "rule": error.rule}
        case NothingToPark() | NotParked():
            return _ref(error.ref)
        case ParkingRecordUnreadable():
            return _ref(error.ref) | {"where": error.where}
        case ParkingFull():
            return {"where": error.where}
        case InvalidSelector():
            return {"selector": error.selector, "problem": error.problem}
    return {}


def _ref(ref: DeploymentRef | str) -> dict[str, Any]:
    return {"name": ref} if isinstance(ref, str) else {"namespace": ref.namespace, "name": ref.name}


def _of_batch(error: Exception, problem: Problem) -> dict[str, Any]:
    match error:
        case BulkTooLarge():
            return {"total": error.total, "bounds": {"min": 1, "max": error.limit}}
        case PlanChanged():
            return {"plan": error.tag}
        case BulkRefused():
            items = [_ref(ref) | {"error": _of_item(why, problem.request_id)} for ref, why in error.items]
            return {"total": error.total, "items": items}
    return {}


def _of_item(error: Exception, request_id: str) -> dict[str, Any]:
    return error_body(problem_of(error, STATUSES, request_id, write=True))


def _conflict(expected: Expect | None, current: Deployment | None) -> dict[str, Any]:
    members: dict[str, Any] = {}
    if expected is not None:
        wanted = {
            "currentReplicas": expected.replicas,
            "resourceVersion": expected.resource_version,
            "uid": expected.uid,
        }
        members["expected"] = {name: value for name, value in wanted.items() if value is not None}
    if current is not None:
        members["current"] = _current(current)
    return members


def _current(found: Deployment) -> dict[str, Any]:
    return _ref(found.ref) | {
        "generation": found.generation,
        "replicas": found.replicas.desired,
        "resourceVersion": found.resource_version,
        "uid": found.uid,
        "etag": tag_of_replicas(found).decode(),
        "lastChange": None if found.last_change is None else LastChangeBody.of(found.last_change),
    }
