"""The Protocol Buffers wire format, as far as Kubernetes uses it: reads a few fields of a message and skips the rest.

See https://protobuf.dev/programming-guides/encoding. What is not asked for is skipped by its length, so that a pod
template costs as much as a number.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

_NUMBER: Final = 0
_BYTES: Final = 2
_FIXED_BYTES: Final = {1: 8, 5: 4}
"""Wire types: a varint; a length and so many bytes; fixed64 and fixed32. The others, groups, Kubernetes never used."""
_FIXED_OR_GROUP: Final = 0b101
"""A bit of every wire type that neither is nor begins with a varint."""

_MAX_VARINT_BYTES: Final = 10
_ONE_BYTE: Final = 0x80
"""Numbers less than this are one byte: lengths up to 127, and the tags of fields 1 to 15."""
_TAGS: Final = 0x100
"""Tags less than this can be asked for: those of fields 1 to 31."""


class Malformed(ValueError):
    """The bytes are not such a message."""


class Kind(enum.Enum):
    """What a field is."""

    INT = enum.auto()
    """An int32, int64 or bool; 0 where absent."""
    OPTIONAL_INT = enum.auto()
    """The same; None where absent."""
    BYTES = enum.auto()
    """A string, undecoded, bytes, or a message; empty where absent."""
    REPEATED = enum.auto()
    """Any number of these, each with its tag and length still in front: see :func:`entries`."""


_ABSENT: Final = {Kind.INT: 0, Kind.OPTIONAL_INT: None, Kind.BYTES: b"", Kind.REPEATED: b""}

_MISTAKEN: Final = 1 << 30
"""The place of a field with the wrong wire type: past the end of every list of values, so that writing there fails."""

Wanted = Mapping[int, "Kind | Wanted"]
"""Fields of interest, by their numbers (1 to 31): what each of them is, or which ones are of interest within it."""


class Fields:
    """The fields of interest of a message and of those within it.

    Args:
        wanted: The fields. They are returned in this order, whatever is nested in what.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._absent: list[int | bytes | None] = []
        self._table = self._place(wanted)

    def read(self, message: bytes, at: int = 0) -> list[Any]:
        """Return the fields' values.

        Args:
            message: The message.
            at: Where it begins.

        Raises:
            Malformed: The bytes are not such a message.
        """
        values = self._absent.copy()
        self._read(message, at, values)
        return values

    def glean(self, message: bytes, at: int = 0) -> list[Any]:
        """Return the fields' values, as far as the bytes make sense."""
        values = self._absent.copy()
        with suppress(Malformed):
            self._read(message, at, values)
        return values

    def _place(self, wanted: Wanted) -> list[Any]:
        """Return, by tag, the value's place (its complement if repeated), a table for a nested message, or None."""
        table: list[Any] = [None] * _TAGS
        for number, what in wanted.items():
            table[number << 3 : (number + 1) << 3] = [_MISTAKEN] * 8
            if isinstance(what, Kind):
                wire_type = _NUMBER if what in {Kind.INT, Kind.OPTIONAL_INT} else _BYTES
                place = len(self._absent)
                self._absent.append(_ABSENT[what])
                table[number << 3 | wire_type] = ~place if what is Kind.REPEATED else place
            else:
                table[number << 3 | _BYTES] = self._place(what)
        return table

    def _read(self, message: bytes, at: int, values: list[Any]) -> None:  # noqa: C901, PLR0912 - calls would double its time
        end, table = len(message), self._table
        around: list[tuple[int, list[Any]]] = []  # the messages that this one is within
        try:
            while True:
                while at < end:
                    begin = at
                    tag, size = message[at], message[at + 1]
                    at += 2
                    if tag >= _ONE_BYTE:
                        tag, at = varint(message, begin)
                        size, at = varint(message, at) if not tag & _FIXED_OR_GROUP else (0, at)
                    elif size >= _ONE_BYTE and not tag & _FIXED_OR_GROUP:
                        high = message[at]
                        if high < _ONE_BYTE:
                            size += (high << 7) - _ONE_BYTE
                            at += 1
                        else:
                            size, at = varint(message, at - 1)
                    what = table[tag] if tag < _TAGS else None
                    if tag & 7 == _BYTES:
                        start = at
                        at += size
                        if what is None:
                            continue
                        if at > end:
                            break
                        if what.__class__ is list:
                            around.append((end, table))
                            at, end, table = start, at, what
                        elif what >= 0:
                            values[what] = message[start:at]
                        else:
                            # One slice for all that follow each other: as a rule, all there are.
                            while tag < _ONE_BYTE and at < end and message[at] == tag and message[at + 1] < _ONE_BYTE:
                                at += 2 + message[at + 1]
                            values[~what] += message[begin:at]
                    elif what is not None:
                        values[what] = size if size < 1 << 63 else size - (1 << 64)
                    elif tag & 7 != _NUMBER:
                        at = extent(message, begin)[2]
                if at > end:
                    raise Malformed("a field is longer than its message")
                if not around:
                    return
                end, table = around.pop()
        except IndexError:
            raise Malformed("a field ends too early, or is of another type") from None


def varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at an index, as 64 bits without a sign, and the index after it.

    Raises:
        IndexError: The message ends within it.
        Malformed: It is too long for a number.
    """
    value = message[at]
    if value < _ONE_BYTE:
        return value, at + 1
    value &= 0x7F
    for shift in range(7, 7 * _MAX_VARINT_BYTES, 7):
        at += 1
        byte = message[at]
        value |= (byte & 0x7F) << shift
        if byte < _ONE_BYTE:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + 1
    raise Malformed("a number of more than 64 bits")


def extent(message: bytes, at: int) -> tuple[int, int, int]:
    """Return the tag of the field at an index, where its value begins, and where it ends, perhaps past the message.

    Raises:
        IndexError: The message ends before that can be seen.
        Malformed: There is no field.
    """
    tag, start = varint(message, at)
    wire_type = tag & 7
    if wire_type == _BYTES:
        size, start = varint(message, start)
        return tag, start, start + size
    if wire_type == _NUMBER:
        return tag, start, varint(message, start)[1]
    if wire_type not in _FIXED_BYTES:
        raise Malformed(f"a field is of wire type {wire_type}")
    return tag, start, start + _FIXED_BYTES[wire_type]


def entries(repeated: bytes) -> list[bytes]:
    """Return the single values of a field of kind ``REPEATED``."""
    found = []
    at = 0
    while at < len(repeated):
        if repeated[at] | repeated[at + 1] < _ONE_BYTE:
            start = at + 2
            at = start + repeated[at + 1]
        else:
            _, start, at = extent(repeated, at)
        found.append(repeated[start:at])
    return found
