"""How large a request's header may be. The parser has no limit of its own, and reads a header of 20 MB to its end.

Nothing here reads from a connection: bytes and fields are counted as they come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

FIELD_OVERHEAD: Final = 4
"""Bytes of a header field besides its name and value: ": " and CRLF."""


class HeaderTooLarge(Exception):
    """The header of a request, or its trailer, is over its limit. Raised in a callback, it ends the parsing."""


class HeaderBudget:
    """The header bytes and fields that a connection's current request may still use.

    Attributes:
        exceeded: Whether a request has gone over its limit.
        messages: How many requests began in the data being parsed.
        piece: The data being parsed, after the header's earlier data: it holds the whole request line.
    """

    __slots__ = (
        "_all_counted",
        "_earlier",
        "_max_bytes",
        "_max_fields",
        "_piece_bytes",
        "_received",
        "_trailer",
        "exceeded",
        "messages",
        "piece",
    )

    def __init__(self, max_bytes: int, max_fields: int) -> None:
        """Start before the first request.

        Args:
            max_bytes: Target and header fields of one request together, in bytes; the same for its trailer.
            max_fields: Header fields of one request.
        """
        self.exceeded = False
        self.piece = b""
        self._max_bytes = max_bytes
        self._max_fields = max_fields
        self._earlier = b""
        self._received = 0  # bytes of the earlier pieces that hold nothing but this header
        self._all_counted = True  # whether there was no earlier piece that holds something else too
        self._piece_bytes = 0
        self.messages = 0
        self._trailer = 0

    def begin_piece(self, data: bytes) -> None:
        """Note the data that the parser is about to be given."""
        self._piece_bytes = len(data)
        self.messages = 0
        self.piece = self._earlier + data if self._earlier else data

    def begin_message(self) -> None:
        """Note that a request begins."""
        self.messages += 1
        self._all_counted = True
        self._received = self._trailer = 0

    def add_trailer(self, name: bytes, value: bytes) -> None:
        """Count a field that came after the body.

        Raises:
            HeaderTooLarge: The trailer is over its limit.
        """
        self._trailer += len(name) + len(value) + FIELD_OVERHEAD
        if self._trailer > self._max_bytes:
            self.exceeded = True
            raise HeaderTooLarge

    def check(self, target: bytes, fields: Sequence[tuple[bytes, bytes]]) -> None:
        """Check a header that is complete.

        Raises:
            HeaderTooLarge: It is over its limit.
        """
        if len(fields) <= self._max_fields:
            if self._all_counted and self._received + self._piece_bytes <= self._max_bytes:
                return  # all that came is less
            field_bytes = sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in fields)
            if len(target) + field_bytes <= self._max_bytes:
                return
        self.exceeded = True
        raise HeaderTooLarge

    def end_piece(self, in_header: bool, was_idle: bool) -> bool:
        """Note that the parser has read the data it was given.

        Args:
            in_header: Whether the data ended in the middle of a header.
            was_idle: Whether no request had begun before the data.

        Returns:
            Whether the part of the header that came so far is within its limit.
        """
        if not in_header:
            self._earlier = self.piece = b""
            return True
        self._earlier = self.piece[-self._max_bytes :]
        self.piece = b""
        if self.messages <= was_idle:
            self._received += self._piece_bytes
        else:  # a part of it was the requests before
            self._all_counted = False
        self.exceeded |= self._received > self._max_bytes
        return not self.exceeded
