"""When to ask again: in seconds or as a date, and never without end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_adapters.kubernetes.wire.retry_after import MAX_RETRY_AFTER_S, bounded_s, retry_after_s

NOW = "Thu, 26 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("17", 17),
        ("0", 0),
        ("Thu, 26 Nov 2026 12:00:30 GMT", 30),
        ("Thursday, 26-Nov-26 12:00:30 GMT", 30),
        ("Thu Nov 26 12:00:30 2026", 30),
        ("Thu, 26 Nov 2026 11:00:00 GMT", 0),
        ("Thu, 26 Nov 2099 12:00:00 GMT", MAX_RETRY_AFTER_S),
        ("99999", MAX_RETRY_AFTER_S),
        ("9" * 400, MAX_RETRY_AFTER_S),
        ("-5", 0),
        ("1.5", 0),
        ("soon", 0),
        ("\u0663", 0),
        ("", 0),
    ],
)
def test_both_forms_are_read_against_the_senders_clock(header: str, expected: float) -> None:
    assert retry_after_s(header, NOW) == expected


def test_a_date_without_the_senders_clock_is_read_against_ours() -> None:
    header = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 50 < retry_after_s(header) <= 100


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_the_headers_say_the_wait_is_bounded(header: str, date: str) -> None:
    assert 0 <= retry_after_s(header, date) <= MAX_RETRY_AFTER_S


@given(st.floats(allow_nan=False))
def test_whatever_a_status_says_the_wait_is_bounded(seconds: float) -> None:
    assert 0 <= bounded_s(seconds) <= MAX_RETRY_AFTER_S
