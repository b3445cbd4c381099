"""kdm's values as JSON has them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any

import attrs


def as_json(value: attrs.AttrsInstance) -> dict[str, Any]:
    """Return one of kdm's values as what :func:`json.dumps` takes, and every reader of JSON (RFC 8259) understands.

    ``attrs.asdict`` alone is not enough: a time stays a ``datetime``, the members of a set come in another order with
    each run, and an age that is not known is ``inf``, for which JSON has no number. The values keep these types all the
    same: a time that can be compared and groups that can be tested for membership are worth more to a program than
    the saving of one call.

    A time becomes RFC 3339 in UTC, a set a sorted list, a member of an enumeration its value, a path and an exact
    decimal their text, an error its code and its message, and a number that is not finite null. What a value has worked
    out for itself is left out.

    Args:
        value: Anything that the port or the service takes or returns, a change and an audit event included.
    """
    return attrs.asdict(value, filter=lambda attribute, _: attribute.init, value_serializer=_plain)


def _plain(_instance: Any, _attribute: Any, value: Any) -> Any:  # noqa: PLR0911 - a table
    match value:
        case Enum():
            return value.value
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case float() if not math.isfinite(value):
            return None
        case frozenset() | tuple():
            return sorted(value, key=str) if isinstance(value, frozenset) else list(value)
        case PurePath() | Decimal():
            return str(value)
        case Exception():
            return {"code": getattr(value, "code", "error"), "message": str(value)}
    return value
