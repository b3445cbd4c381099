"""Sends mutated requests over mutual TLS, and reads what comes of each connection.

Several requests go out at once, then close_notify: kdm must answer what it can answer, and close. A good client beside
it must be served throughout, and kdm must not grow.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random
from typing import Final

from attrs import define, field

from fuzz.mutation import mutated

__all__ = ["BadAnswer", "Figures", "check_answers", "send_mutated"]

REQUESTS_AT_ONCE: Final = 12
HANG_S: Final = 30.0
"""How long a connection may stay open after the client has ended its side, in seconds: well past kdm's own limits."""

_READ_BYTES: Final = 256 * 1024
_head: Final = re.compile(
    rb"HTTP/1\.1 ([0-9]{3}) [^\r\n]*\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [^\r\n]*\r\n)*)\r\n"
).match
_MUST_HAVE: Final = (b"x-request-id", b"cache-control", b"x-content-type-options")
_SERVER_ERRORS: Final = frozenset[int]()
"""The documented ones that a healthy kdm on its own memory answers: none."""


class BadAnswer(AssertionError):
    """What kdm did with a connection is not what it promises."""


@define
class Figures:
    """What came of it all."""

    sent: int = 0
    connections: int = 0
    statuses: Counter[int] = field(factory=Counter)
    good: int = 0
    """Answers to the good client."""

    @property
    def answered(self) -> int:
        """How many requests were answered; after one whose end is in doubt the rest of its connection is not read."""
        return sum(self.statuses.values())

    def __str__(self) -> str:
        statuses = ", ".join(f"{count} x {status}" for status, count in sorted(self.statuses.items()))
        return (
            f"{self.sent} mutated requests on {self.connections} connections, {self.answered} answered: {statuses}; "
            f"{self.good} requests of a good client beside them, all answered with 200"
        )


def send_mutated(
    port: int, context: ssl.SSLContext, good: ssl.SSLContext, *, requests: int, seed: int, workers: int = 4
) -> Figures:
    """Send this many mutated requests from a few threads, with a good client beside them.

    Args:
        port: Where kdm serves, on 127.0.0.1.
        context: The mutating client's certificate, and whom it trusts.
        good: The good client's.
        requests: How many mutated requests, in all.
        seed: Of the mutations.
        workers: How many connections at a time.

    Raises:
        BadAnswer: An answer, or the lack of one, breaks a promise. The message has the bytes that were sent.
    """
    figures, failures = Figures(), list[BaseException]()
    finished, lock = threading.Event(), threading.Lock()

    def mutate(worker: int) -> None:
        random = Random(f"{seed}/{worker}")  # noqa: S311 - mutations, not cryptography
        try:
            while not failures:
                with lock:
                    count = min(REQUESTS_AT_ONCE, requests - figures.sent)
                    figures.sent += count
                    figures.connections += 1
                if count <= 0:
                    figures.connections -= 1
                    return
                sent = [mutated(random) for _ in range(count)]
                statuses = check_answers(b"".join(sent), exchange(port, context, b"".join(sent)))
                with lock:
                    figures.statuses.update(statuses)
        except BaseException as error:  # noqa: BLE001 - told by whoever started the thread
            failures.append(error)

    def behave() -> None:
        try:
            figures.good = _good_requests(port, good, finished)
        except BaseException as error:  # noqa: BLE001 - likewise
            failures.append(error)

    threads = [threading.Thread(target=mutate, args=(worker,)) for worker in range(workers)]
    beside = threading.Thread(target=behave)
    for thread in (beside, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    finished.set()
    beside.join()
    if failures:
        raise failures[0]
    return figures


def check_answers(sent: bytes, received: bytes) -> list[int]:
    """Judge everything that came back on a connection.

    Returns:
        The statuses.

    Raises:
        BadAnswer: It is no sequence of whole responses, or one of them is not as kdm's responses are.
    """
    try:
        return list(_judged(received, maybe_head=b"HEAD" in sent.upper()))
    except BadAnswer as error:
        raise BadAnswer(f"{error}\nsent: {sent!r}\nreceived: {received[-2000:]!r}") from None


def _judged(received: bytes, *, maybe_head: bool) -> Iterator[int]:
    at = 0
    while at < len(received):
        head = _head(received, at)
        if head is None:
            raise BadAnswer(f"no response begins at byte {at}")
        status, fields = int(head[1]), _fields(head[2])
        at = head.end()
        if status == 100:
            continue
        body = b""
        length = int(fields.get(b"content-length", b"0"))
        if not (maybe_head and (at == len(received) or received.startswith(b"HTTP/1.1 ", at))):
            body, at = received[at : at + length], at + length
            if len(body) < length:
                raise BadAnswer(f"a response of {length} bytes is cut off after {len(body)}")
        _judge(status, fields, body)
        yield status


def _judge(status: int, fields: dict[bytes, bytes], body: bytes) -> None:
    if status >= 500 and status not in _SERVER_ERRORS:
        raise BadAnswer(f"a {status}")
    for name in _MUST_HAVE:
        if name not in fields:
            raise BadAnswer(f"a {status} without {name.decode()}")
    if status >= 400 and body:
        try:
            error = json.loads(body)
        except ValueError as exc:
            raise BadAnswer(f"a {status} whose body is no JSON") from exc
        if not (isinstance(error, dict) and set(error) == {"error"} and isinstance(error["error"], str)):
            raise BadAnswer(f"a {status} whose body is another")


def _fields(block: bytes) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for line in block.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b": ")
        fields[name.lower()] = value
    return fields


def exchange(port: int, context: ssl.SSLContext, data: bytes) -> bytes:
    """Send it all, end this side, and return what comes until the other side has closed."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(into, out, server_hostname="localhost")
    received = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as connection:
        while not _done(tls.do_handshake):
            _pass_on(connection, into, out)
        tls.write(data)
        _done(tls.unwrap)  # close_notify goes out behind the data; reading goes on
        with suppress(ConnectionError):  # a reset: kdm closed with some of this unread
            connection.sendall(out.read())
            while chunk := _receive(connection, data):
                into.write(chunk)
                with suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                    while plain := tls.read(_READ_BYTES):
                        received += plain
    return bytes(received)


def _done(step: Callable[[], object]) -> bool:
    try:
        step()
    except ssl.SSLWantReadError:
        return False
    return True


def _pass_on(connection: socket.socket, into: ssl.MemoryBIO, out: ssl.MemoryBIO) -> None:
    if pending := out.read():
        connection.sendall(pending)
    chunk = connection.recv(_READ_BYTES)
    if not chunk:
        raise BadAnswer("the handshake of a good client was broken off")
    into.write(chunk)


def _receive(connection: socket.socket, sent: bytes) -> bytes:
    try:
        return connection.recv(_READ_BYTES)
    except TimeoutError:
        raise BadAnswer(f"open {HANG_S:g} s after the client's end\nsent: {sent!r}") from None


_GOOD: Final = b"GET /api/v1/deployments/nginx-deployment/replicas HTTP/1.1\r\nHost: kdm\r\n\r\n"


def _good_requests(port: int, context: ssl.SSLContext, finished: threading.Event) -> int:
    """Ask again and again on one connection, until it is over."""
    count = 0
    with (
        socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        while not finished.is_set():
            connection.sendall(_GOOD)
            received = b""
            while b'{"name":"nginx-deployment","replicaCount":' not in received or not received.endswith(b"}"):
                chunk = connection.recv(_READ_BYTES)
                if not chunk:
                    raise BadAnswer(f"the good client lost its connection after {count} requests: {received!r}")
                received += chunk
            if not received.startswith(b"HTTP/1.1 200 "):
                raise BadAnswer(f"the good client got {received!r}")
            count += 1
            finished.wait(0.002)
    return count
