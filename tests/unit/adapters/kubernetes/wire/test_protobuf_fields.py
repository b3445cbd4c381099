"""The Protocol Buffers wire format: what is read, what is skipped, and that no bytes make it fail otherwise."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_adapters.kubernetes.wire.protobuf_fields import Fields, Kind, Malformed, entries
from unit.adapters.kubernetes.wire.protobuf_objects import number, text, varint

FIELDS = Fields(
    {3: Kind.BYTES, 1: Kind.INT, 2: Kind.OPTIONAL_INT, 4: Kind.REPEATED, 5: {1: Kind.BYTES, 2: {7: Kind.INT}}}
)
ABSENT = [b"", 0, None, b"", b"", 0]

UNKNOWN = [
    number(6, 2**40),
    text(7, "x" * 300),
    text(2000, "y"),
    number(2000, 300),
    varint(8 << 3 | 1) + b"\xff" * 8,
    varint(8 << 3 | 5) + b"\xff" * 4,
    varint(2000 << 3 | 1) + b"\xff" * 8,
]


def test_fields_come_in_the_order_asked_for() -> None:
    message = number(1, 5) + number(2, 0) + text(3, "a") + text(4, "b") + text(4, "") + text(5, text(1, "c"))
    assert FIELDS.read(message) == [b"a", 5, 0, text(4, "b") + text(4, ""), b"c", 0]
    assert entries(FIELDS.read(message)[3]) == [b"b", b""]


def test_absent_fields_have_their_defaults() -> None:
    assert FIELDS.read(b"") == ABSENT


@given(
    st.lists(st.sampled_from(UNKNOWN)), st.permutations([number(1, 1), text(3, "a"), text(5, text(2, number(7, 9)))])
)
def test_other_fields_are_skipped_and_the_order_does_not_matter(unknown: list[bytes], known: list[bytes]) -> None:
    between = b"".join(unknown)
    message = between + between.join(known) + text(4, b"x") + between + text(4, "y" * 200) + between
    assert FIELDS.read(message) == [b"a", 1, None, text(4, "x") + text(4, "y" * 200), b"", 9]


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_are_read_with_their_sign(value: int) -> None:
    assert FIELDS.read(number(1, value))[1] == value


@given(st.binary(max_size=20_000))
def test_values_of_any_length_are_read(value: bytes) -> None:
    assert FIELDS.read(text(3, value))[0] == value
    assert entries(FIELDS.read(text(4, value) + text(4, b"") + text(4, value))[3]) == [value, b"", value]


def test_the_last_of_several_values_counts_and_messages_are_merged() -> None:
    """As the specification asks of every parser."""
    assert FIELDS.read(text(3, "a") + text(3, "b") + number(1, 1) + number(1, 2))[:2] == [b"b", 2]
    assert FIELDS.read(text(5, text(1, "a")) + text(5, text(2, number(7, 9))))[4:] == [b"a", 9]


@pytest.mark.parametrize(
    "message",
    [
        b"\x08",  # a tag alone
        b"\x08\x80",  # half a number
        b"\x08" + b"\xff" * 10,  # a number of 70 bits
        b"\x1a\x05abcd",  # shorter than it says
        b"\x1a\xff\xff\xff\xff\x0f",  # 4 GB, it says
        b"\x3a\xff\xff\xff\xff\x0f",  # the same, of a field to skip
        b"\x2a\x03\x0a\x05abcd",  # longer than what it is within
        b"\x2a\x02\x12\x02\x38\x01",  # the same, one deeper
        text(5, b"\x38"),
        text(1, "a"),  # of another type than it should be
        number(3, 1),
        number(5, 1),
        b"\x0d\x00\x00\x00\x00",
        b"\x0b\x0c",  # a group
        b"\x07\x00",  # a wire type that does not exist
    ],
)
def test_what_is_no_such_message_is_malformed(message: bytes) -> None:
    with pytest.raises(Malformed):
        FIELDS.read(message)


def test_of_a_malformed_message_its_beginning_can_be_had() -> None:
    assert FIELDS.glean(number(1, 5) + text(3, "a") + b"\x0b") == [b"a", 5, None, b"", b"", 0]
    assert FIELDS.glean(b"\x1a\x05abcd") == ABSENT, "a name that is cut off is none"


@given(st.binary(max_size=60))
def test_no_bytes_make_it_fail_otherwise(message: bytes) -> None:
    with suppress(Malformed):
        FIELDS.read(message)
    assert len(FIELDS.glean(message)) == len(ABSENT)
