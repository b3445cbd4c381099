"""The protocols a client offers, read from its first message: Python shows a server only the one agreed on."""

from __future__ import annotations

import struct
from typing import Final

from attrs import define

_HANDSHAKE: Final = 22
"""The record type (RFC 8446, section 5.1)."""

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

    Attributes:
        done: Whether no more bytes are needed.
        protocols: The application protocols it offers, once it is complete; None where it does not say.
    """

    done: bool = False
    protocols: tuple[bytes, ...] | None = None
    _received: bytes = b""

    def feed(self, data: bytes) -> None:
        """Add bytes that came on the connection."""
        self._received += data
        message, body_bytes = _unwrap(self._received), 0
        if len(message) >= 4:
            body_bytes = int.from_bytes(message[1:4])
            if len(message) - 4 >= body_bytes:
                self.done = True
                if message[0] == _CLIENT_HELLO:
                    self.protocols = _offered(message[4 : 4 + body_bytes])
        if len(self._received) > _MAX_BYTES or self._received[:1] not in {b"", bytes([_HANDSHAKE])}:
            self.done = True
        if self.done:
            self._received = b""


def _unwrap(records: bytes) -> bytes:
    """Return the message in the records, as far as it has come."""
    message = b""
    while len(records) > 5 and records[0] == _HANDSHAKE:
        end = 5 + int.from_bytes(records[3:5])
        message += records[5:end]
        records = records[end:]
    return message


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
