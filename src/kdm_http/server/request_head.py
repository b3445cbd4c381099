"""Checks of a request's head where the parser is lenient or does not look: RFC 9112, sections 2 to 6.

The parser (llhttp) checks the characters of fields, Content-Length, and a body that is framed in two ways. This module
checks the rest: the request line's form, the protocol and its version, Host, the target, transfer codings and
expectations. Its functions are pure. A request that is refused here is answered, and its connection closed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import Final

from kdm_core.copyable import Copyable

MAX_PORT: Final = 65535
MALFORMED: Final = "malformed HTTP request"

_VERSIONS: Final = {"1.1": b" HTTP/1.1\r\n", "1.0": b" HTTP/1.0\r\n"}

_HEX: Final = b"%[0-9A-Fa-f]{2}"
_PLAIN: Final = rb"-A-Za-z0-9._~!$&'()*+,;="
"""What RFC 3986 calls unreserved and sub-delims."""
_is_host: Final = re.compile(
    rb"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?:[%b]|%b)*)(?::(?P<port>[0-9]{0,5}))?" % (_PLAIN, _HEX)
).fullmatch
_is_origin_form: Final = re.compile(
    rb"/(?:[%b:@/]|%b)*(?:\?(?:[%b:@/?]|%b)*)?" % (_PLAIN, _HEX, _PLAIN, _HEX)
).fullmatch
_absolute_form: Final = re.compile(rb"(?i:https?)://([^/?]+)(/[^?]*)?(\?.*)?").fullmatch


class BadHead(Copyable):
    """A request that is refused because of its head.

    Attributes:
        status: The HTTP status to answer with.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def check_request_line(method: bytes, target: bytes, version: str, piece: bytes) -> None:
    """Check a request line: rebuilt from what the parser read, it must equal what came (RFC 9112, section 3).

    The parser accepts more than one blank, and requests of RTSP, ICE and HTTP/0.9.

    Args:
        method: The method that was read.
        target: The target that was read.
        version: The version that was read, as "1.1".
        piece: The bytes that hold the request line, among others.

    Raises:
        BadHead: The request must not be served.
    """
    end = _VERSIONS.get(version)
    if end is None:
        raise BadHead(400, "only HTTP/1.1 and HTTP/1.0 are supported")
    line = method + b" " + target + end
    if not piece.startswith(line) and line not in piece:  # the first is quick, and usual
        raise BadHead(400, MALFORMED)


def is_host(value: bytes) -> bool:
    """Return whether the value of a Host field is valid: RFC 9112, section 3.2. An empty one is."""
    found = _is_host(value)
    if found is None:
        return False
    if found["v6"] is not None:
        try:
            IPv6Address(found["v6"].decode())
        except ValueError:
            return False
    return int(found["port"] or 0) <= MAX_PORT


def check(method: bytes, target: bytes, version: str, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Check a head whose request line is good.

    Args:
        method: The method.
        target: The target as it came.
        version: "1.1" or "1.0".
        fields: The header fields, with names in lower case and without blanks around the values.

    Returns:
        The target in origin-form, or ``*``.

    Raises:
        BadHead: The request must not be served.
    """
    hosts = 0
    codings = []
    for name, value in fields:
        if name == b"host":
            hosts += 1
            if not is_host(value):
                raise BadHead(400, "the Host field is not valid: it is a name or an address, and maybe a port")
        elif name == b"transfer-encoding":
            codings.append(value.lower())
        elif name == b"expect" and version == "1.1" and value.lower() != b"100-continue":
            raise BadHead(417, "the only supported expectation is 100-continue")
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise BadHead(400, "a request has exactly one Host field")
    if codings and version == "1.0":  # RFC 9112, section 6.1: the framing is faulty
        raise BadHead(400, "HTTP/1.0 has no Transfer-Encoding; send a Content-Length")
    if codings and codings != [b"chunked"]:
        raise BadHead(400, "the only supported Transfer-Encoding is chunked")
    return _origin_form(method, target)


def _origin_form(method: bytes, target: bytes) -> bytes:
    if method == b"CONNECT":
        raise BadHead(405, "CONNECT is for proxies, and this is not one")
    if target == b"*" and method == b"OPTIONS":
        return target
    absolute = _absolute_form(target)
    if absolute is not None:  # RFC 9112, section 3.2.2: must be accepted, though clients send it to proxies only
        authority, path, query = absolute.groups(b"")
        if not is_host(authority) or authority.startswith(b":"):
            raise BadHead(400, "the target's host is not valid: it is a name or an address, and maybe a port")
        if not path and method == b"OPTIONS" and not query:
            return b"*"
        target = (path or b"/") + query
    if _is_origin_form(target) is None:
        raise BadHead(400, "the target is not valid: a path, maybe with a query, in ASCII, what is special %-encoded")
    return target
