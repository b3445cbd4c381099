"""What a request to change many Deployments asks for, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from kdm_core import (
    ALL_NAMESPACES,
    EVERYTHING,
    Bulk,
    BulkItem,
    DeploymentRef,
    Expect,
    LabelSelector,
    OnBound,
    OnError,
    Park,
    Restore,
    ScaleBy,
    ScaleTimes,
    Selection,
    SetTo,
)
from kdm_core.bulk import BulkChange
from kdm_core.names import check_namespace
from kdm_http.api.errors import BadRequest
from kdm_http.api.requests import json_object
from kdm_http.api.route import Request

_RULE: Final = (
    'the body must be a JSON object with "select" or "items", and one of "replicas", "delta", "factor", "park" '
    'and "restore" in it or in each item: see POST /api/v2/scale in /api/v2/openapi.json'
)
_CHANGES: Final = ("replicas", "delta", "factor", "park", "restore")
_BOUNDS: Final = ("min", "max", "onBound")


class Asked(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A part of a request's body."""


class ParkId(Asked, frozen=True):
    """What parked Deployments are called together."""

    park_id: str


class Changing(Asked, frozen=True):
    """A change: one of ``replicas``, ``delta``, ``factor``, ``park`` and ``restore``.

    Bounds go with ``delta`` and ``factor``. ``park`` and ``restore`` are true, or name a parkId.
    """

    replicas: int | None = None
    delta: int | None = None
    factor: Decimal | int | None = None
    min: int | None = None
    max: int | None = None
    on_bound: OnBound | None = None
    park: bool | ParkId | None = None
    restore: bool | ParkId | None = None

    def change(self, where: str = "") -> BulkChange | None:
        """Return the change; None where there is none.

        Args:
            where: What to call the place in an error, with a dot at its end; "" for the body itself.

        Raises:
            BadRequest: There are several, or bounds that belong to none.
        """
        given = [name for name in _CHANGES if getattr(self, name) is not None]
        bounds = {"min": self.min, "max": self.max, "onBound": self.on_bound}
        bounded = [name for name in _BOUNDS if bounds[name] is not None]
        if len(given) > 1:
            raise BadRequest(f"{where}{given[0]} and {where}{given[1]} exclude each other: {_RULE}")
        if bounded and given not in (["delta"], ["factor"]):
            raise BadRequest(f"{where}{bounded[0]}: has a meaning only with delta or factor beside it: {_RULE}")
        on_bound = self.on_bound or OnBound.REJECT
        if self.replicas is not None:
            return SetTo(self.replicas)
        if self.delta is not None:
            return ScaleBy(self.delta, self.min or 0, self.max, on_bound)
        if self.factor is not None:
            return ScaleTimes(Decimal(self.factor), self.min, self.max, on_bound)
        if self.park is not None:
            return Park(_park_id(self.park, f"{where}park"))
        return None if self.restore is None else Restore(_park_id(self.restore, f"{where}restore"))


class Select(Asked, frozen=True):
    """Which Deployments: those with certain labels, or all; of one namespace, or of all."""

    namespace: str | None = None
    label_selector: str | None = None
    all: bool = False


class ScaleItem(Changing, frozen=True, kw_only=True):
    """One Deployment by name, with a change of its own or the one of the body."""

    namespace: str
    name: str
    current_replicas: int | None = None
    resource_version: str | None = None
    uid: str | None = None


class ScaleMany(Changing, frozen=True):
    """The body of a ``POST`` to ``/scale``."""

    select: Select | None = None
    items: list[ScaleItem] | None = None
    on_error: OnError = OnError.ABORT
    reason: str = ""
    override: bool = False

    @property
    def bulk(self) -> Bulk:
        """The batch.

        Raises:
            BadRequest: The parts do not fit together.
            KdmError: A value that can never be right.
        """
        if (self.select is None) == (self.items is None):
            raise BadRequest(f"exactly one of select and items must be there: {_RULE}")
        change = self.change()
        if self.select is not None:
            if change is None:
                raise BadRequest(f"one of {', '.join(_CHANGES)} must be there: {_RULE}")
            of: Selection | tuple[BulkItem, ...] = _selection(self.select, change)
        else:
            of = tuple(_item(each, change, f"items[{index}].") for index, each in enumerate(self.items or ()))
        return Bulk(of, self.reason, self.on_error, self.override)


async def bulk_of(request: Request) -> Bulk:
    """Return the batch that a request asks for.

    Raises:
        BadRequest: The body is no JSON, has an unknown or repeated field, or a value of another type.
        Refused: It asks for what this kdm does not have.
        KdmError: A value that can never be right.
    """
    document = await json_object(request, _RULE, "a number", decimals=True)
    names = [each.encode_name for each in msgspec.structs.fields(ScaleMany)]
    if unknown := sorted(document.keys() - set(names)):
        raise BadRequest(f"unknown field {unknown[0][:80]!r}: {_RULE}", allowed=names)
    _check_text(document)
    _check_factors(document)
    try:
        body = msgspec.convert(document, ScaleMany, strict=True)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{str(error)[:200]}: {_RULE}") from error
    return body.bulk


def _park_id(given: bool | ParkId, where: str) -> str | None:
    if given is False:
        raise BadRequest(f'{where}: must be true or {{"parkId": "..."}}; to do something else, leave it out: {_RULE}')
    return given.park_id if isinstance(given, ParkId) else None


def _selection(select: Select, change: BulkChange) -> Selection:
    for name, value in (("namespace", select.namespace), ("labelSelector", select.label_selector)):
        if value is not None and not value.strip():  # a variable that was not set would select everything
            raise BadRequest(f"select.{name}: must not be empty; leave it out, and say all: true if all are meant")
    namespace = ALL_NAMESPACES if select.namespace is None else check_namespace(select.namespace)
    selector = EVERYTHING if select.label_selector is None else LabelSelector.parse(select.label_selector)
    return Selection(change, namespace, selector, select.all)


def _item(item: ScaleItem, shared: BulkChange | None, where: str) -> BulkItem:
    own = item.change(where)
    if own is not None and shared is not None:
        raise BadRequest(f"{where[:-1]}: has a change of its own, and the body has one for all; leave one out: {_RULE}")
    change = own or shared
    if change is None:
        raise BadRequest(f"{where[:-1]}: one of {', '.join(_CHANGES)} must be there, or in the body for all: {_RULE}")
    expect = Expect(item.resource_version, item.current_replicas, item.uid)
    return BulkItem(DeploymentRef(item.namespace, item.name), change, expect)


def _check_factors(document: Mapping[str, Any]) -> None:
    """Refuse factors that are strings: they would be read as numbers."""
    items = document.get("items")
    for each in (document, *(items if isinstance(items, list) else ())):
        if isinstance(each, dict) and isinstance(each.get("factor"), str):
            raise BadRequest(f"factor: must be a number, not a string: {_RULE}")


def _check_text(document: object) -> None:
    """Refuse strings that cannot be written as UTF-8: JSON's escapes can say them (RFC 8259, section 8.2)."""
    left = [document]
    while left:  # not by recursion: a body may be nested deeply
        each = left.pop()
        if isinstance(each, str):
            try:
                each.encode()
            except UnicodeEncodeError as error:
                raise BadRequest(f"a string has half a surrogate pair, which is no character: {_RULE}") from error
        elif isinstance(each, dict):
            left += [*each, *each.values()]
        elif isinstance(each, list):
            left += each
