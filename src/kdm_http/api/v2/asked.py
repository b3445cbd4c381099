"""What a request to API v2 asks for, read strictly: its path, its query and its body."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar

import msgspec

from kdm_core import MAX_REPLICAS, DeploymentRef, Expect, OnBound, ScaleBy, SetTo
from kdm_http.api.errors import BadRequest
from kdm_http.api.requests import json_object
from kdm_http.api.route import Request

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


class Written(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What every write can say besides the change itself.

    Attributes:
        current_replicas: The count that the Deployment must have before.
        resource_version: The version that it must be at.
        uid: The object that it must be.
        reason: Why, for the audit trail.
        override: Whether to write although an owner will change it back. Without effect where there is none.
    """

    current_replicas: int | None = None
    resource_version: str | None = None
    uid: str | None = None
    reason: str = ""
    override: bool = False

    @property
    def expect(self) -> Expect:
        """What the Deployment must be like."""
        return Expect(self.resource_version, self.current_replicas, self.uid)


class SetReplicas(Written, frozen=True):
    """The body of a ``PUT`` of ``/replicas``."""

    replicas: int

    @property
    def change(self) -> SetTo:
        """The change."""
        return SetTo(self.replicas)


class Adjust(Written, frozen=True):
    """The body of a ``POST`` to ``/adjust``."""

    delta: int
    min: int = 0
    max: int | None = None
    on_bound: OnBound = OnBound.REJECT

    @property
    def change(self) -> ScaleBy:
        """The change."""
        return ScaleBy(self.delta, self.min, self.max, self.on_bound)


class Park(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The body of a ``POST`` to ``/park``.

    Attributes:
        park_id: What the batch is called that is restored together.
        reason: Why, for the audit trail.
        override: Whether to write although an owner will change it back.
    """

    park_id: str | None = None
    reason: str = ""
    override: bool = False


class Restore(Park, frozen=True):
    """The body of a ``POST`` to ``/restore``: only if it was parked with that ``park_id``.

    Attributes:
        replicas: To wake it with so many, in place of the count it had, which stays remembered.
    """

    replicas: int | None = None


FIELDS: Final[Mapping[type[msgspec.Struct], str]] = {
    SetReplicas: 'the body must be a JSON object with "replicas" (an integer) and, if wanted, ',
    Adjust: 'the body must be a JSON object with "delta" (an integer) and, if wanted, "min" and "max" (integers), '
    '"onBound" ("reject" or "clamp"), ',
    Park: 'the body must be a JSON object, {} at least, with, if wanted, "parkId" and "reason" (strings), "override" '
    "(true or false)",
    Restore: 'the body must be a JSON object, {} at least, with, if wanted, "parkId" and "reason" (strings), '
    '"replicas" (an integer), "override" (true or false)',
}
_COMMON: Final = (
    '"currentReplicas" (an integer), "resourceVersion", "uid" and "reason" (strings), "override" (true or false)'
)


def ref_of(request: Request) -> DeploymentRef:
    """Return which Deployment the path means. Its names need not be valid: the service says so in its place."""
    return DeploymentRef(request.path["namespace"], request.path["name"])


async def body_of(request: Request, shape: type[S]) -> S:
    """Return a body.

    Raises:
        BadRequest: It is no JSON, has an unknown or repeated field, or a value of another type.
    """
    rule = FIELDS[shape] + (_COMMON if issubclass(shape, Written) else "")
    document = await json_object(request, rule, "a number")
    names = [each.encode_name for each in msgspec.structs.fields(shape)]
    if unknown := sorted(document.keys() - set(names)):
        raise BadRequest(f"unknown field {unknown[0][:80]!r}: {rule}", allowed=names)
    for name, value in document.items():
        if isinstance(value, str) and not _is_text(value):
            raise BadRequest(f"{name}: has half a surrogate pair, which is no character: {rule}")
    try:
        return msgspec.convert(document, shape, strict=True)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{str(error)[:200]}: {rule}") from error


def _is_text(value: str) -> bool:
    """Return whether a string can be written as UTF-8: JSON's escapes can say what cannot (RFC 8259, section 8.2)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def boolean(query: Mapping[str, str], name: str) -> bool:
    """Return a parameter that is ``true`` or ``false``; False where it is not there."""
    return one_of(query, name, {"true": True, "false": False}, default=False)


def dry_run(query: Mapping[str, str]) -> bool:
    """Return whether only to try: ``dryRun=All``, as in the Kubernetes API."""
    return one_of(query, "dryRun", {"All": True}, default=False)


def one_of(query: Mapping[str, str], name: str, values: Mapping[str, T], *, default: T) -> T:
    """Return what a parameter means, of a few words that it can be.

    Raises:
        BadRequest: It is another.
    """
    word = query.get(name)
    if word is None:
        return default
    if word not in values:
        raise BadRequest(f"{name}: must be {' or '.join(values)}, not {word[:80]!r}", allowed=list(values))
    return values[word]


def members_of(query: Mapping[str, str], name: str, kind: type[E]) -> frozenset[E]:
    """Return the members of an enumeration that a parameter lists, with commas between them.

    Raises:
        BadRequest: One is none.
    """
    text = query.get(name)
    if text is None:
        return frozenset()
    values = {each.value: each for each in kind}
    words = text.split(",")
    for word in words:
        if word not in values:
            raise BadRequest(
                f"{name}: must be one or more of {', '.join(values)}, with commas between them, not {word[:80]!r}",
                allowed=list(values),
            )
    return frozenset(values[word] for word in words)


def count(query: Mapping[str, str], name: str, smallest: int) -> int | None:
    """Return a parameter that is a count; None where it is not there.

    Raises:
        BadRequest: It is no integer, or too small, or greater than any count.
    """
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and smallest <= int(text) <= MAX_REPLICAS):
        raise BadRequest(f"{name}: must be an integer from {smallest} to {MAX_REPLICAS}, not {text[:40]!r}")
    return int(text)
