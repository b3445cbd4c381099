"""Clients that mean harm: many sockets that hold on to the server and give it nothing to do."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from integration.edge.connection import Connection

__all__ = ["ATTACKS", "attack"]

BYTE_EVERY_S: Final = 0.2
HANDSHAKES_AT_A_TIME: Final = 20  # more would time out for want of processor, not for what is tested

_REQUEST: Final = b"GET /deployments HTTP/1.1\r\nHost: kdm\r\n" + b"X-Slow: " + b"a" * 1000
_WRITE: Final = (
    b"POST /deployments/nginx-deployment/replicas HTTP/1.1\r\nHost: kdm\r\nContent-Type: application/json\r\n"
)
_HEADER_BYTES: Final = 20 * 2**20


async def _silent(_: Connection) -> None:
    """Say nothing."""


async def _half_hello(connection: Connection) -> None:
    """Begin a TLS record and leave it at that."""
    await connection.send(b"\x16\x03\x01\x02")


async def _slow_header(connection: Connection) -> None:
    await _byte_by_byte(connection, _REQUEST)


async def _slow_body(connection: Connection) -> None:
    await connection.send(_WRITE + b"Content-Length: 1000\r\n\r\n")
    await _byte_by_byte(connection, b" " * 1000)


async def _idle_after_one(connection: Connection) -> None:
    await connection.send(b"GET /deployments HTTP/1.1\r\nHost: kdm\r\n\r\n")


async def _huge_header(connection: Connection) -> None:
    await connection.send(b"GET /deployments HTTP/1.1\r\nHost: kdm\r\nX-Huge: ")
    for _ in range(_HEADER_BYTES // 65536):
        await connection.send(b"a" * 65536)


async def _many_fields(connection: Connection) -> None:
    await connection.send(b"GET /deployments HTTP/1.1\r\nHost: kdm\r\n")
    for _ in range(_HEADER_BYTES // 65536):
        await connection.send(b"X-Small: 12345\r\n" * 4096)


async def _byte_by_byte(connection: Connection, data: bytes) -> None:
    for index in range(len(data)):
        await connection.send(data[index : index + 1])
        await asyncio.sleep(BYTE_EVERY_S)


Attack = Callable[[Connection], Awaitable[None]]

ATTACKS: Final[Mapping[str, Attack]] = {
    "half-open handshakes": _half_hello,
    "silent sockets": _silent,
    "slow headers": _slow_header,
    "slow bodies": _slow_body,
    "idle from the start": _silent,
    "idle after a request": _idle_after_one,
    "20 MB in a field": _huge_header,
    "20 MB of fields": _many_fields,
}
_WITHOUT_TLS: Final = {"half-open handshakes", "silent sockets"}


async def attack(url: str, context: ssl.SSLContext, name: str, count: int) -> list[bytes]:
    """Attack with many connections at once, until the server has closed every one of them.

    Args:
        url: The API to attack.
        context: A client's, with a good certificate.
        name: One of ``ATTACKS``.
        count: How many connections.

    Returns:
        What the server said on each.

    Raises:
        OSError: The server did not let one in.
    """
    handshaking = asyncio.Semaphore(HANDSHAKES_AT_A_TIME)

    async def one() -> bytes:
        async with handshaking:
            connection = await Connection.open(url, None if name in _WITHOUT_TLS else context)
        async with connection, asyncio.TaskGroup() as group:
            saying = group.create_task(_say(ATTACKS[name], connection))
            said = await connection.until_closed()
            saying.cancel()
        return said

    return await asyncio.gather(*(one() for _ in range(count)))


async def _say(what: Attack, connection: Connection) -> None:
    with contextlib.suppress(OSError):  # closed in the midst of it, as it should be
        await what(connection)
