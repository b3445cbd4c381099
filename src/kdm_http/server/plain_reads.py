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
STATUS_LINES: Final = {each.value: b"HTTP/1.1 %d %b\r\n" % (each, each.phrase.encode()) for each in HTTPStatus}


def is_plain(method: bytes, version: str, fields: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a request is a plain read: GET or HEAD of HTTP/1.1, without a body, expectation or upgrade.

    Args:
        method: The method.
        version: "1.1" or "1.0". The response to the latter would have to say that the connection stays open.
        fields: The header fields, with names in lower case and without blanks around the values.
    """
    if method not in _METHODS or version != "1.1":
        return False
    host: bytes | None = None
    for name, value in fields:
        if name == b"host":
            if host is not None:
                return False
            host = value
        elif name in _NOT_PLAIN:
            return False
    return host is not None and is_host(host)


def to_wire(ready: Ready, method: bytes, default_head: bytes) -> list[bytes]:
    """Return the bytes of a response: in one piece where it is small.

    Args:
        ready: The response.
        method: The request's method. The response to HEAD has no body.
        default_head: The header fields that every response begins with.
    """
    status, head, body = ready[:3]
    if method == b"HEAD":
        body = b""
    if len(body) > JOINED_BYTES:
        return [STATUS_LINES[status], default_head, head, body]
    return [b"".join((STATUS_LINES[status], default_head, head, body))]
