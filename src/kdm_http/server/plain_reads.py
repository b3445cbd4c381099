"""Requests that may be answered without a call of the application: which they are, and the bytes of their responses."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from kdm_http.server.application import Ready
from kdm_http.server.request_head import is_host

FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
"""Header fields of requests that have, or may have, a body."""

JOINED_BYTES: Final = 16 * 1024
"""Up to this size, the size of a TLS record, head and body are sent as one."""

_NOT_PLAIN: Final = FRAMING | {b"expect", b"upgrade"}
_METHODS: Final = frozenset({b"GET", b"HEAD"})
_STATUS_LINES: Final = {each.value: b"HTTP/1.1 %d %b\r\n" % (each, each.phrase.encode()) for each in HTTPStatus}


class PlainReads:
    """Recognises plain reads on one connection: GET and HEAD of HTTP/1.1, without a body, expectation or upgrade.

    It remembers the last Host that was valid, since a connection's requests usually have the same.
    """

    __slots__ = ("_good_host",)

    def __init__(self) -> None:
        """Start with no Host remembered."""
        self._good_host = b""

    def include(self, method: bytes, version: str, fields: Iterable[tuple[bytes, bytes]]) -> bool:
        """Return whether a request is a plain read.

        Args:
            method: The method.
            version: "1.1" or "1.0". The response to the latter would have to say that the connection stays open.
            fields: The header fields, with names in lower case and without blanks around the values.
        """
        if method not in _METHODS or version != "1.1":
            return False
        found: bytes | None = None
        for name, value in fields:
            if name == b"host":
                if found is not None:
                    return False
                found = value
            elif name in _NOT_PLAIN:
                return False
        if found is None or found == self._good_host:
            return found is not None
        if not is_host(found):
            return False
        self._good_host = found
        return True


def to_wire(ready: Ready, method: bytes, default_head: bytes) -> list[bytes]:
    """Return the bytes of a response: in one piece where it is small.

    Args:
        ready: The response.
        method: The request's method. The response to HEAD has no body.
        default_head: The header fields that every response begins with.
    """
    status, head, body = ready
    if method == b"HEAD":
        body = b""
    if len(body) > JOINED_BYTES:
        return [_STATUS_LINES[status], default_head, head, body]
    return [b"".join((_STATUS_LINES[status], default_head, head, body))]
