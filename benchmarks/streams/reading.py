"""Many streams in one process: all are read, the arrivals of some are noted."""

from __future__ import annotations

import json
import random
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from attrs import define

TARGET = "/api/v2/deployments?watch=true"
HANDSHAKE_S = 30.0
SETTLE_S = 2.0


@define(eq=False)
class _Stream:
    """One stream. One that is not sampled is read and not even decrypted: that would slow the reader, not kdm."""

    sock: socket.socket
    incoming: ssl.MemoryBIO
    tls: ssl.SSLObject
    text: bytes = b""

    def read(self, data: bytes) -> list[int]:
        """Return the counts that the events in some bytes show."""
        self.incoming.write(data)
        with suppress(ssl.SSLWantReadError):
            while more := self.tls.read(65536):
                self.text += more
        *lines, self.text = self.text.split(b"\n")
        shown = [json.loads(line[6:]) for line in lines if line.startswith(b"data: {") and b'"replicas"' in line]
        return [each["replicas"]["desired"] for each in shown]


@contextmanager
def streams(url: str, context: ssl.SSLContext, number: int) -> Iterator[list[_Stream]]:
    """Open streams, one after the other."""
    opened: list[_Stream] = []
    try:
        opened.extend(_open(url, context) for _ in range(number))
        yield opened
    finally:
        for each in opened:
            each.sock.close()


def arrivals(opened: list[_Stream], sampled: int, goes_on: Callable[[], bool]) -> list[tuple[int, float]]:
    """Read as long as something goes on, and a moment longer, and return which count came when on a sampled stream.

    Args:
        opened: The streams.
        sampled: On how many of them arrivals are noted: taken by chance.
        goes_on: Asked a few times a second.
    """
    noted = {each.sock.fileno() for each in random.sample(opened, min(sampled, len(opened)))}
    by_number = {each.sock.fileno(): each for each in opened}
    poll = select.epoll()
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    came: list[tuple[int, float, bytes]] = []
    end = None
    while end is None or time.monotonic() < end:
        if end is None and not goes_on():
            end = time.monotonic() + SETTLE_S
        for number, _ in poll.poll(0.2, len(opened)):
            data = by_number[number].sock.recv(65536)
            if not data:
                raise ConnectionError("a stream has ended")
            if number in noted:
                came.append((number, time.monotonic(), data))
    poll.close()
    first: dict[tuple[int, int], float] = {}  # what follows of a count is its Pods
    for number, at, data in came:
        for count in by_number[number].read(data):
            first.setdefault((number, count), at)
    return [(count, at) for (_, count), at in first.items()]


def _open(url: str, context: ssl.SSLContext) -> _Stream:
    where = urlsplit(url)
    sock = socket.create_connection((where.hostname or "", where.port or 443), timeout=HANDSHAKE_S)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    stream = _Stream(sock, incoming, context.wrap_bio(incoming, outgoing, server_hostname="localhost"))
    while True:
        try:
            stream.tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            sock.sendall(outgoing.read())
            incoming.write(sock.recv(65536))
    stream.tls.write(f"GET {TARGET} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    sock.sendall(outgoing.read())
    while b"event: synced" not in stream.text:
        data = sock.recv(65536)
        if not data:
            raise ConnectionError(f"no stream: {stream.text[:200]!r}")
        incoming.write(data)
        with suppress(ssl.SSLWantReadError):
            while more := stream.tls.read(65536):
                stream.text += more
    stream.text = b""
    return stream
