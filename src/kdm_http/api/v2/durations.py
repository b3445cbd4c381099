"""How long to wait, as a query parameter says it: Go's notation, as in kubectl's flags."""

from __future__ import annotations

import re
from typing import Final

from kdm_http.api.errors import BadRequest

MAX_WAIT_S: Final = 600.0
"""The longest wait, in seconds: 10 minutes, the default of a Deployment's ``progressDeadlineSeconds``."""

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)")
_whole: Final = re.compile(rf"(?:{_PART.pattern})+", re.ASCII).fullmatch


def duration(name: str, text: str) -> float:
    """Return a duration in seconds.

    Args:
        name: The parameter's name.
        text: Such as ``60s``, ``2m`` or ``1m30s``; ``0`` too.

    Raises:
        BadRequest: It is no duration, or longer than ``MAX_WAIT_S``.
    """
    rule = "a duration from 0s to 10m, such as 500ms, 60s, 2m or 1m30s"
    if text == "0":
        return 0.0
    if len(text) > 64 or not _whole(text):
        raise BadRequest(f"{name}: must be {rule}, not {text[:40]!r}")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if seconds > MAX_WAIT_S:
        raise BadRequest(f"{name}: must be {rule}, not {text[:40]!r}")
    return seconds
