"""When to ask again, as an answer's ``Retry-After`` says it (RFC 9110, section 10.2.3)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

MAX_RETRY_AFTER_S: Final = 120.0
"""The longest wait that is believed, in seconds: less than after which the cache counts as stale (150 s)."""


def retry_after_s(retry_after: str, date: str = "") -> float:
    """Return how long to wait, in seconds; 0 where nothing that makes sense was said.

    Args:
        retry_after: The ``Retry-After`` header: seconds, or an HTTP-date.
        date: The ``Date`` header of the same answer: the sender's clock. Without it ours is used.
    """
    if retry_after.isascii() and retry_after.isdecimal():
        return MAX_RETRY_AFTER_S if len(retry_after) > 9 else bounded_s(int(retry_after))
    until = _time(retry_after)
    if until is None:
        return 0.0
    return bounded_s((until - (_time(date) or datetime.now(UTC))).total_seconds())


def bounded_s(seconds: float) -> float:
    """Return a wait that somebody else asks for, within reason, in seconds."""
    return min(max(float(seconds), 0.0), MAX_RETRY_AFTER_S)


def _time(http_date: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(http_date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
