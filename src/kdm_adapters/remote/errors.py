"""What a kdm answered that went wrong, as the error of the core that it is: code by code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from kdm_core.errors import (
    ERRORS,
    AmbiguousName,
    BulkRefused,
    BulkTooLarge,
    ChangedSinceParked,
    ClusterOverloaded,
    ClusterTimeout,
    ClusterUnrecognized,
    Contended,
    DeploymentNotFound,
    Forbidden,
    InvalidInput,
    InvalidName,
    InvalidQuery,
    InvalidReplicas,
    InvalidSelector,
    KdmError,
    NamespaceNotWatched,
    NothingToPark,
    NotParked,
    OutOfBounds,
    ParkingFull,
    ParkingRecordUnreadable,
    PlanChanged,
    PreconditionFailed,
    Unavailable,
    WriteConflict,
)

if TYPE_CHECKING:
    from kdm_core.model import Deployment, DeploymentRef

Json = dict[str, Any]

MEDIA_TYPE: Final = "application/problem+json"

MAX_RETRY_AFTER_S: Final = 3600
"""The longest wait that a server's Retry-After can ask for, in seconds."""

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
    "no-stream-left": ClusterOverloaded,
    "request-timeout": ClusterTimeout,
}
"""The codes that the server's edge has beyond the core's, and the error each is a kind of."""


class Problem(Exception):
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
        self.code = _text(body, "code")
        self.request_id = _text(body, "requestId")
        super().__init__(f"{status} {self.code}: {_text(body, 'detail')} (request id {self.request_id})")

    def __reduce__(self) -> tuple[Any, ...]:
        return Problem, (self.status, self.body)


def problem_of(error: BaseException) -> Problem | None:
    """Return what the server said, where an error is its answer; None where no server answered."""
    return error.__cause__ if isinstance(error.__cause__, Problem) else None


def error_of(status: int, fields: Mapping[str, str], content: bytes) -> KdmError:
    """Return the error that an answer is. Its ``__cause__`` is the :class:`Problem`.

    Args:
        status: The HTTP status, of 300 or more.
        fields: The header fields, names in lower case.
        content: The body.
    """
    body = _problem(fields.get("content-type", ""), content)
    if body is None:
        shown = " ".join(content[: 4 * _SHOWN].decode("utf-8", "replace").split())[:_SHOWN]
        error: KdmError = ClusterUnrecognized(
            f"the answer is not kdm's ({status}{': ' + shown if shown else ''}): is the server's URL that of a kdm, "
            "with nothing in front of it that answers in its place? A write may have happened: read before trying again"
        )
        body = {}
    else:
        error = _error(body)
    if "written" in body and (body["written"] is None or isinstance(body["written"], bool)):
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
    if media_type.partition(";")[0].strip().lower() != MEDIA_TYPE:
        return None
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) and _text(body, "code") else None


def _error(body: Json) -> KdmError:
    code = _text(body, "code")
    kind = ERRORS.get(code) or EDGE.get(code)
    if kind is None:  # of a newer kdm
        kind = Unavailable if body.get("retryable") is True else KdmError
    error = kind.__new__(kind)  # its constructor would make another message
    error.args = (_text(body, "detail") or code,)
    for of, fill in _MEMBERS.items():
        if isinstance(error, of):
            fill(error, body)
    return error


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""


def _count(body: Mapping[str, Any], name: str) -> int:
    value = body.get(name)
    return value if type(value) is int else 0


def _part(body: Mapping[str, Any], name: str) -> Json:
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def _texts(body: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = body.get(name)
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def _ref(body: Mapping[str, Any]) -> DeploymentRef:
    from kdm_core.model import DeploymentRef  # noqa: PLC0415 - most calls need no model

    return DeploymentRef(_text(body, "namespace"), _text(body, "name"))


def _invalid_name(error: InvalidName, body: Json) -> None:
    error.what, error.value, error.rule = (_text(body, each) for each in ("what", "value", "rule"))


def _invalid_replicas(error: InvalidReplicas, body: Json) -> None:
    error.value, error.maximum = _text(body, "value"), _count(_part(body, "bounds"), "max")


def _invalid_selector(error: InvalidSelector, body: Json) -> None:
    error.selector, error.problem = _text(body, "selector"), _text(body, "problem")


def _not_found(error: DeploymentNotFound, body: Json) -> None:
    error.ref = _ref(body) if _text(body, "namespace") and _text(body, "name") else _text(body, "name")


def _not_watched(error: NamespaceNotWatched, body: Json) -> None:
    error.namespace, error.watched = _text(body, "namespace"), _texts(body, "allowed")


def _ambiguous(error: AmbiguousName, body: Json) -> None:
    error.name, error.namespaces = _text(body, "name"), _texts(body, "namespaces")


def _forbidden(error: Forbidden, body: Json) -> None:
    from kdm_core.model import Verb  # noqa: PLC0415

    verb = _text(body, "verb")
    error.verb = Verb(verb) if verb in set(Verb) else Verb.CONNECT
    error.user, error.target, error.namespace = (_text(body, each) for each in ("user", "target", "namespace"))


def _out_of_bounds(error: OutOfBounds, body: Json) -> None:
    bounds = _part(body, "bounds")
    error.ref, error.result = _ref(body), _count(body, "result")
    error.current = _count(_part(body, "current"), "replicas")
    error.minimum, error.maximum = _count(bounds, "min"), _count(bounds, "max")


def _contended(error: Contended, body: Json) -> None:
    error.ref, error.attempts = _ref(body), _count(body, "attempts")


def _precondition(error: PreconditionFailed, body: Json) -> None:
    error.current = _current(body)


def _conflict(error: WriteConflict, body: Json) -> None:
    error.current = _current(body)
    if "expected" in body:
        from kdm_core.scaling import Expect  # noqa: PLC0415

        expected = _part(body, "expected")
        count = expected.get("currentReplicas")
        error.expected = Expect(
            _text(expected, "resourceVersion") or None,
            count if type(count) is int and 0 <= count < 2**31 else None,
            _text(expected, "uid") or None,
        )


def _current(body: Json) -> Deployment | None:
    """Return the Deployment that does not meet a condition, as far as the answer shows it: what can be expected."""
    found = _part(body, "current")
    if not _text(found, "name"):
        return None
    from kdm_core.model import Deployment, ReplicaStatus  # noqa: PLC0415

    return Deployment(
        ref=_ref(found),
        uid=_text(found, "uid"),
        resource_version=_text(found, "resourceVersion"),
        generation=_count(found, "generation"),
        observed_generation=0,
        replicas=ReplicaStatus(_count(found, "replicas")),
    )


def _of_ref(error: NothingToPark | NotParked, body: Json) -> None:
    error.ref = _ref(body)


def _changed_since_parked(error: ChangedSinceParked, body: Json) -> None:
    error.ref, error.forgotten = _ref(body), body.get("forgotten") is True
    error.current, error.parked = (_count(_part(body, each), "replicas") for each in ("current", "parked"))


def _unreadable(error: ParkingRecordUnreadable, body: Json) -> None:
    error.ref, error.where = _ref(body), _text(body, "where")


def _full(error: ParkingFull, body: Json) -> None:
    error.where = _text(body, "where")


def _too_large(error: BulkTooLarge, body: Json) -> None:
    error.total, error.limit = _count(body, "total"), _count(_part(body, "bounds"), "max")


def _bulk_refused(error: BulkRefused, body: Json) -> None:
    items = body.get("items")
    found = [each for each in items if isinstance(each, dict)] if isinstance(items, list) else []
    error.items = tuple((_ref(each), _error(_part(each, "error"))) for each in found)
    error.total = _count(body, "total")


def _plan_changed(error: PlanChanged, body: Json) -> None:
    error.tag = _text(body, "plan")


_MEMBERS: Final[Mapping[type[KdmError], Callable[[Any, Json], None]]] = {
    InvalidName: _invalid_name,
    InvalidReplicas: _invalid_replicas,
    InvalidSelector: _invalid_selector,
    DeploymentNotFound: _not_found,
    NamespaceNotWatched: _not_watched,
    AmbiguousName: _ambiguous,
    Forbidden: _forbidden,
    OutOfBounds: _out_of_bounds,
    Contended: _contended,
    PreconditionFailed: _precondition,
    WriteConflict: _conflict,
    BulkTooLarge: _too_large,
    BulkRefused: _bulk_refused,
    PlanChanged: _plan_changed,
    NothingToPark: _of_ref,
    NotParked: _of_ref,
    ChangedSinceParked: _changed_since_parked,
    ParkingRecordUnreadable: _unreadable,
    ParkingFull: _full,
}
