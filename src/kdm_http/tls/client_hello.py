"""The protocols a client offers, read from its first message: Python shows a server only the one agreed on."""

from __future__ import annotations

import struct
from typing import Final

from attrs import define, field

_HANDSHAKE: Final = 22
"""The record type (RFC 8446, section 5.1)."""

_HEADER_BYTES: Final = 5
"""Of a record (RFC 8446, section 5.1)."""

_CLIENT_HELLO: Final = 1
"""The handshake type (RFC 8446, section 4)."""

_PROTOCOLS: Final = 16
"""The extension application_layer_protocol_negotiation (RFC 7301)."""

_MAX_BYTES: Final = 128 * 1024
"""More than OpenSSL accepts for this message."""

_uint16: Final = struct.Struct(">H").unpack_from
_extension: Final = struct.Struct(">HH").unpack_from
"""The kind and the length of an extension (RFC 8446, section 4.2)."""


@define(eq=False)
class ClientHello:
    """Collects a ClientHello from the bytes of a connection, until it is complete or turns out to be something else.

    Each byte is looked at once: nobody knows yet who sends them, and a client may cut them as small as it likes.

    Attributes:
        done: Whether no more bytes are needed.
        protocols: The application protocols it offers, once it is complete; None where it does not say.
    """

    done: bool = False
    protocols: tuple[bytes, ...] | None = None
    _header: bytes = b""
    """What has come of the header of a record."""
    _left: int = 0
    """How many bytes of a record are still to come."""
    _message: bytearray = field(factory=bytearray)

    def feed(self, data: bytes) -> None:
        """Add bytes that came on the connection."""
        at = 0
        while at < len(data) and not self.done:
            if self._left:
                piece = data[at : at + self._left]
                self._left -= len(piece)
                self._add(piece)
            else:
                piece = data[at : at + _HEADER_BYTES - len(self._header)]
                self._begin_record(self._header + piece)
            at += len(piece)
        if self.done:
            self._message = bytearray()

    def _begin_record(self, header: bytes) -> None:
        self.done = header[0] != _HANDSHAKE
        if len(header) < _HEADER_BYTES:
            self._header = header
        else:
            self._header, self._left = b"", int.from_bytes(header[3:])

    def _add(self, piece: bytes) -> None:
        message = self._message
        message += piece
        if len(message) < 4:
            return
        end = 4 + int.from_bytes(message[1:4])
        if message[0] != _CLIENT_HELLO or end > _MAX_BYTES:
            self.done = True
        elif len(message) >= end:
            self.done, self.protocols = True, _offered(bytes(message[4:end]))


def _offered(body: bytes) -> tuple[bytes, ...] | None:
    """Find the protocols (RFC 8446, section 4.1.2), as far as they can be read: OpenSSL refuses malformed messages."""
    try:
        at = 34  # after the version and the random bytes
        at += 1 + body[at]  # the session
        at += 2 + _uint16(body, at)[0]  # the cipher suites
        at += 1 + body[at] + 2  # the compression, and the length of the extensions
        while at < len(body):
            kind, length = _extension(body, at)
            at += 4
            if kind == _PROTOCOLS:
                return _names(body[at + 2 : at + length])
            at += length
    except (IndexError, struct.error):
        pass
    return None


def _names(listed: bytes) -> tuple[bytes, ...]:
    names = []
    while listed:
        end = 1 + listed[0]
        names.append(listed[1:end])
        listed = listed[end:]
    return tuple(names)
