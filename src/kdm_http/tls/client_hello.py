"""The protocols a client offers, read from its first message: Python shows a server only the one agreed on."""

from __future__ import annotations

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
    rest = body[34:]  # version and random bytes
    rest = rest[1 + int.from_bytes(rest[:1]) :]  # session
    rest = rest[2 + int.from_bytes(rest[:2]) :]  # cipher suites
    rest = rest[1 + int.from_bytes(rest[:1]) :]  # compression
    rest = rest[2:]
    while len(rest) >= 4:
        kind, end = int.from_bytes(rest[:2]), 4 + int.from_bytes(rest[2:4])
        if kind == _PROTOCOLS:
            return _names(rest[6:end])
        rest = rest[end:]
    return None


def _names(listed: bytes) -> tuple[bytes, ...]:
    names = []
    while listed:
        end = 1 + listed[0]
        names.append(listed[1:end])
        listed = listed[end:]
    return tuple(names)
