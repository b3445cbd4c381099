"""The members of a problem as the attributes of the error that it is, class by class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from kdm_core.errors import (
    AmbiguousName,
    BulkRefused,
    BulkTooLarge,
    ChangedSinceParked,
    Contended,
    DeploymentNotFound,
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

if TYPE_CHECKING:
    from kdm_core.model import Deployment, DeploymentRef

Json = dict[str, Any]


def fill(error: KdmError, body: Json, make: Callable[[Json], KdmError]) -> None:
    """Give an error its attributes.

    Args:
        error: The error.
        body: The problem.
        make: Makes the error of a problem within.
    """
    for of, give in _MEMBERS.items():
        if isinstance(error, of):
            give(error, body)
    if isinstance(error, BulkRefused):
        _bulk_refused(error, body, make)


def text(body: Mapping[str, Any], name: str) -> str:
    """Return a member that is a text; "" where it is none."""
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

    return DeploymentRef(text(body, "namespace"), text(body, "name"))


def _invalid_name(error: InvalidName, body: Json) -> None:
    error.what, error.value, error.rule = (text(body, each) for each in ("what", "value", "rule"))


def _invalid_replicas(error: InvalidReplicas, body: Json) -> None:
    error.value, error.maximum = text(body, "value"), _count(_part(body, "bounds"), "max")


def _invalid_selector(error: InvalidSelector, body: Json) -> None:
    error.selector, error.problem = text(body, "selector"), text(body, "problem")


def _not_found(error: DeploymentNotFound, body: Json) -> None:
    error.ref = _ref(body) if text(body, "namespace") and text(body, "name") else text(body, "name")


def _not_watched(error: NamespaceNotWatched, body: Json) -> None:
    error.namespace, error.watched = text(body, "namespace"), _texts(body, "allowed")


def _ambiguous(error: AmbiguousName, body: Json) -> None:
    error.name, error.namespaces = text(body, "name"), _texts(body, "namespaces")


def _forbidden(error: Forbidden, body: Json) -> None:
    from kdm_core.model import Verb  # noqa: PLC0415

    verb = text(body, "verb")
    error.verb = Verb(verb) if verb in set(Verb) else Verb.CONNECT
    error.user, error.target, error.namespace = (text(body, each) for each in ("user", "target", "namespace"))


def _out_of_bounds(error: OutOfBounds, body: Json) -> None:
    bounds = _part(body, "bounds")
    error.ref, error.result = _ref(body), _count(body, "result")
    error.current = _count(_part(body, "current"), "replicas")
    error.minimum, error.maximum = _count(bounds, "min"), _count(bounds, "max")


def _owner_conflict(error: OwnerConflict, body: Json) -> None:
    from kdm_core.owners import Effect, Judgement, Owner, OwnerType  # noqa: PLC0415

    error.ref, error.replicas = _ref(body), _count(body, "replicas")
    found = []
    for each in body["owners"] if isinstance(body.get("owners"), list) else ():
        if isinstance(each, dict) and each.get("effect") in set(Effect) and each.get("type") in set(OwnerType):
            least, most = (each.get(bound) if type(each.get(bound)) is int else None for bound in ("min", "max"))
            type_, holds = OwnerType(each["type"]), each.get("holds") is True
            owner = Owner(text(each, "kind"), text(each, "name"), least, most, type_, holds=holds)
            found.append(Judgement(owner, Effect(each["effect"]), text(each, "message"), text(each, "remedy")))
    error.owners = tuple(found)


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
            text(expected, "resourceVersion") or None,
            count if type(count) is int and 0 <= count < 2**31 else None,
            text(expected, "uid") or None,
        )


def _current(body: Json) -> Deployment | None:
    """Return the Deployment that does not meet a condition, as far as the answer shows it: what can be expected."""
    found = _part(body, "current")
    if not text(found, "name"):
        return None
    from kdm_core.model import Deployment, ReplicaStatus  # noqa: PLC0415

    return Deployment(
        ref=_ref(found),
        uid=text(found, "uid"),
        resource_version=text(found, "resourceVersion"),
        generation=_count(found, "generation"),
        observed_generation=0,
        replicas=ReplicaStatus(_count(found, "replicas")),
    )


def _of_ref(error: NothingToPark | NotParked, body: Json) -> None:
    error.ref = _ref(body)


def _changed_since_parked(error: ChangedSinceParked, body: Json) -> None:
    error.ref, error.current = _ref(body), _count(_part(body, "current"), "replicas")
    error.parked, error.forgotten = _count(body, "remembered"), body.get("forgotten") is True


def _unreadable(error: ParkingRecordUnreadable, body: Json) -> None:
    error.ref, error.where = _ref(body), text(body, "where")


def _full(error: ParkingFull, body: Json) -> None:
    error.where = text(body, "where")


def _too_large(error: BulkTooLarge, body: Json) -> None:
    error.total, error.limit = _count(body, "total"), _count(_part(body, "bounds"), "max")


def _bulk_refused(error: BulkRefused, body: Json, make: Callable[[Json], KdmError]) -> None:
    items = body.get("items")
    found = [each for each in items if isinstance(each, dict)] if isinstance(items, list) else []
    error.items = tuple((_ref(each), make(_part(each, "error"))) for each in found)
    error.total = _count(body, "total")


def _plan_changed(error: PlanChanged, body: Json) -> None:
    error.tag = text(body, "plan")


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
    OwnerConflict: _owner_conflict,
    PreconditionFailed: _precondition,
    WriteConflict: _conflict,
    BulkTooLarge: _too_large,
    PlanChanged: _plan_changed,
    NothingToPark: _of_ref,
    NotParked: _of_ref,
    ChangedSinceParked: _changed_since_parked,
    ParkingRecordUnreadable: _unreadable,
    ParkingFull: _full,
}
