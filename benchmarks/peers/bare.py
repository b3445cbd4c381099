"""The limit of every server on this event loop: TLS, and a constant answer to whatever comes, from a bare protocol."""

from __future__ import annotations

import asyncio
import signal
from email.utils import formatdate
from pathlib import Path

import uvloop

from benchmarks.peers.mtls import context, parser

_HEAD = """\
HTTP/1.1 200 OK\r
date: {date}\r
content-type: application/json\r
content-length: {length}\r
cache-control: private, no-cache\r
x-content-type-options: nosniff\r
x-request-id: 0123456789abcdef\r
\r
"""


class Constant(asyncio.Protocol):
    """Answers each piece of data with the same bytes, as long as kdm's answer: one for all Deployments, one for one."""

    def __init__(self, one: bytes, many: bytes) -> None:
        self._one, self._many = one, many

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._many if data.startswith(b"GET /api/v1/deployments ") else self._one)


def _answer(body: bytes) -> bytes:
    return _HEAD.format(date=formatdate(usegmt=True), length=len(body)).encode() + body


async def _serve() -> None:
    options = parser(__doc__)
    options.add_argument("--one", type=Path, required=True, help="what to answer for one Deployment")
    options.add_argument("--many", type=Path, required=True, help="what to answer for all")
    arguments = options.parse_args()
    one, many = (_answer(each.read_bytes()) for each in (arguments.one, arguments.many))
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await loop.create_server(lambda: Constant(one, many), "127.0.0.1", 0, ssl=context(arguments))
    print(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await ended.wait()


def main() -> None:
    """Serve the contents of two files on a free loopback port until SIGTERM; print the URL first."""
    uvloop.run(_serve())


if __name__ == "__main__":
    main()
