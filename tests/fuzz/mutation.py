"""Requests that are nearly right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

__all__ = ["REQUESTS", "mutated"]

_WRITE: Final = b'Content-Type: application/json\r\nContent-Length: 19\r\n\r\n{"replicaCount": 2}'
_CHUNKED: Final = b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"

REQUESTS: Final[Sequence[bytes]] = (
    b"GET /deployments HTTP/1.1\r\nHost: kdm\r\n\r\n",
    b"GET /deployments?namespace=shop HTTP/1.1\r\nHost: localhost:8443\r\nAccept: application/json\r\n\r\n",
    b"GET /deployments/nginx-deployment/replicas HTTP/1.1\r\nHost: kdm\r\nX-Request-Id: 7\r\n\r\n",
    b"HEAD /deployments/nginx-deployment/replicas HTTP/1.1\r\nHost: kdm\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: kdm\r\nUser-Agent: probe/1.0\r\nAccept-Encoding: gzip, br\r\n\r\n",
    b'GET /api/v1/deployments HTTP/1.1\r\nHost: kdm\r\nIf-None-Match: "abc", W/"def"\r\n\r\n',
    b"GET /api/v1/deployments/api/replicas?namespace=payments HTTP/1.1\r\nHost: [::1]:8443\r\n\r\n",
    b"GET https://kdm:8443/api/v1/health HTTP/1.1\r\nHost: kdm:8443\r\n\r\n",
    b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: kdm\r\nConnection: keep-alive\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: kdm\r\n\r\n",
    b"GET /deployments HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST /deployments/nginx-deployment/replicas HTTP/1.1\r\nHost: kdm\r\n" + _WRITE,
    b"POST /deployments/api/replicas?namespace=shop HTTP/1.1\r\nHost: kdm\r\nIf-Match: *\r\n" + _WRITE,
    b"PUT /api/v1/deployments/nginx-deployment/replicas HTTP/1.1\r\nHost: kdm\r\nExpect: 100-continue\r\n" + _WRITE,
    b"PUT /api/v1/deployments/nginx-deployment/replicas HTTP/1.1\r\nHost: kdm\r\n"
    + _CHUNKED
    + b'5\r\n{"rep\r\ne\r\nlicaCount": 3}\r\n0\r\n\r\n',
    b"DELETE /deployments/nginx-deployment HTTP/1.1\r\nHost: kdm\r\nContent-Length: 0\r\n\r\n",
)
"""Requests of both dialects, each whole."""

_BITS_OF_HTTP: Final = (
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"%", b"%00", b"%2f", b"%zz", b"?", b"#", b"//", b"/../",
    b"\x80", b"\xff", b"\xc3\xa9", b"*", b",", b";", b"=", b'"', b"{", b"}", b"[", b"]", b"-", b"+", b"\x7f",
    b"http://", b"@", b"Host: a\r\n", b"Content-Length: 5\r\n", b"Content-Length: 18446744073709551616\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"Trailer: x\r\n", b" folded\r\n",
    b"HTTP/2.0", b"HTTP/0.9", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"namespace=", b"namespace=*",
    b"namespace=shop&namespace=blog", b"nginx-deployment", b"\xed\xa0\x80", b"If-Match: *\r\n",
)  # fmt: skip
_NUMBERS: Final = (b"0", b"1", b"-1", b"00", b"2147483647", b"2147483648", b"9" * 40, b"1e9", b"0x10", b"1.0", b"99999")


def mutated(random: Random) -> bytes:
    """Return a request with one to four faults, or now and then none."""
    request = random.choice(REQUESTS)
    for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3, 4))):
        request = random.choice(_FAULTS)(random, request)
    return request


def _flip(random: Random, request: bytes) -> bytes:
    at = random.randrange(len(request) + 1)
    return request[:at] + bytes([random.randrange(256)]) + request[at + 1 :]


def _insert(random: Random, request: bytes) -> bytes:
    at = random.randrange(len(request) + 1)
    return request[:at] + random.choice(_BITS_OF_HTTP) + request[at:]


def _insert_field(random: Random, request: bytes) -> bytes:
    head, end, rest = request.partition(b"\r\n")
    name = random.choice((b"X-A", b"Accept", b"If-Match", b"If-None-Match", b"Cookie", b"Forwarded", b"Authorization"))
    value = bytes(random.choices(range(256) if random.random() < 0.1 else range(33, 127), k=random.randrange(40)))
    return head + end + name + b": " + value + b"\r\n" + rest


def _delete(random: Random, request: bytes) -> bytes:
    at = random.randrange(len(request) + 1)
    return request[:at] + request[at + random.randrange(1, 12) :]


def _repeat(random: Random, request: bytes) -> bytes:
    at = random.randrange(len(request) + 1)
    piece = request[at : at + random.randrange(1, 40)]
    return request[:at] + piece * random.choice((2, 2, 3, 200)) + request[at + len(piece) :]


def _swap_lines(random: Random, request: bytes) -> bytes:
    lines = request.split(b"\r\n")
    one, other = random.randrange(len(lines)), random.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\r\n".join(lines)


def _renumber(random: Random, request: bytes) -> bytes:
    digits = [at for at, byte in enumerate(request) if chr(byte).isdigit()]
    if not digits:
        return request
    at = random.choice(digits)
    return request[:at] + random.choice(_NUMBERS) + request[at + 1 :]


def _recase(random: Random, request: bytes) -> bytes:
    at = random.randrange(len(request) + 1)
    to = at + random.randrange(1, 30)
    return request[:at] + request[at:to].swapcase() + request[to:]


def _splice(random: Random, request: bytes) -> bytes:
    other = random.choice(REQUESTS)
    return request[: random.randrange(len(request) + 1)] + other[random.randrange(len(other)) :]


_FAULTS: Final[Sequence[Callable[[Random, bytes], bytes]]] = (
    _flip, _insert, _insert, _insert_field, _insert_field, _delete, _repeat, _swap_lines, _renumber, _recase, _splice,
)  # fmt: skip
