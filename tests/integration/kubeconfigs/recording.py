"""Servers and proxies on loopback that write down what is sent to them."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote

from attrs import field, frozen

__all__ = ["NAMES", "Recording", "recording"]

_CERTIFICATES: Final[Mapping[str, str]] = {
    "main": "main",
    "second": "main",
    "v6": "main",
    "mirror": "main",
    "stranger": "stranger",
    "bare": "bare",
    "own": "own",
    "nameless": "nameless",
    "expired": "expired",
    "tls_proxy": "main",
}
_PLAIN: Final = ("plain", "proxy", "socks")
_ANSWERS: Final = {
    "/version": b'{"major":"1","minor":"36","gitVersion":"v1.36.3"}',
    "/readyz": b"ok",
    "/apis/apps/v1/deployments": (
        b'{"kind":"DeploymentList","apiVersion":"apps/v1","metadata":{"resourceVersion":"1"},"items":[]}'
    ),
}
"""What kubectl and kdm ask for. Which of it is no difference."""
NAMES: Final = (*_CERTIFICATES, *_PLAIN)
"""Servers by the certificate they show, ``plain`` for HTTP, and three kinds of proxy.

The ``mirror`` answers with what it was sent: ``/401/status`` with a Status of that code, ``/502/html`` with a page,
``/302/there`` with an address. As a proxy it refuses.
"""

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@frozen
class Recording:
    """What was sent to the servers of one run.

    Attributes:
        ports: Of each server.
        sent: A line for each different request, to a server or a proxy.
        distrusted: The servers that a TLS handshake was broken off with, or nothing was sent to.
        handlers: Of the connections that are open.
    """

    ports: dict[str, int] = field(factory=dict)
    sent: set[str] = field(factory=set)
    distrusted: set[str] = field(factory=set)
    handlers: set[asyncio.Task[None]] = field(factory=set)


@asynccontextmanager
async def recording(names: Iterable[str], pki: Path) -> AsyncIterator[Recording]:
    """Run servers.

    Args:
        names: Which of `NAMES`.
        pki: Where their certificates are.
    """
    found = Recording()
    async with AsyncExitStack() as stack:
        for name in names:
            listener = await asyncio.start_server(
                partial(_connected, found, name, pki), "::1" if name == "v6" else "127.0.0.1", 0
            )
            stack.callback(listener.close)
            found.ports[name] = listener.sockets[0].getsockname()[1]
        yield found
        while found.handlers:  # whoever connected is gone: they end
            await asyncio.wait(found.handlers)


async def _connected(
    found: Recording, name: str, pki: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    served = False
    task = asyncio.current_task()
    assert task is not None
    found.handlers.add(task)
    task.add_done_callback(found.handlers.discard)
    try:
        if name in _CERTIFICATES:
            await writer.start_tls(_context(pki, _CERTIFICATES[name]))
        serve = _socks if name == "socks" else _mirror if name == "mirror" else _serve
        served = await serve(found, name, (reader, writer))
    except (OSError, EOFError, asyncio.LimitOverrunError):  # whoever connected went away, or speaks something else
        pass
    finally:
        if not served:
            found.distrusted.add(name)
        with suppress(OSError):
            writer.close()


def _context(pki: Path, certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / f"{certificate}.crt", pki / f"{certificate}.key")
    context.load_verify_locations(pki / "ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.sni_callback = lambda connection, name, _: setattr(connection, "asked_for", name)
    return context


async def _serve(found: Recording, name: str, streams: _Streams) -> bool:
    """Answer a request; of a proxy, pass a connection on to another server."""
    reader, writer = streams
    method, target, headers = await _request(reader)
    found.sent.add(_line(name, method, target, headers, writer))
    if method == "CONNECT":
        return await _join(found, target.rpartition(":")[2], streams, b"HTTP/1.1 200 OK\r\n\r\n")
    body = next((answer for path, answer in _ANSWERS.items() if path in target), b"")
    kind = b"text/plain" if body == b"ok" else b"application/json"
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: %b\r\n" % kind)
    writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    await writer.drain()
    return True


async def _mirror(found: Recording, name: str, streams: _Streams) -> bool:
    reader, writer = streams
    method, target, headers = await _request(reader)
    found.sent.add(_line(name, method, target, headers, writer))
    code, form = ("407", "html") if method == "CONNECT" else target.split("/")[1:3]
    seen = "; ".join(f"{key}: {value}" for key, value in headers.items())
    kind, body = "text/html", f"<html><h1>{code}</h1>{seen}</html>"
    if form == "status":
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": seen, "code": int(code)}
        kind, body = "application/json", json.dumps({**status, "reason": "Unauthorized" if code == "401" else seen})
    if form == "garbage":
        kind, body = "application/json", f'{{"kind": "DeploymentList", "items": [{seen}'
    lines = [f"HTTP/1.1 {code} {seen}", "Connection: close", f"Content-Type: {kind}", f"X-Seen: {seen}"]
    if code.startswith("3"):
        lines.append(f"Location: https://127.0.0.1/{quote(seen)}")
    head = "\r\n".join([*lines, f"Content-Length: {len(body.encode())}", "", ""])
    writer.write(head.encode() + body.encode())
    await writer.drain()
    return True


def _line(name: str, method: str, target: str, headers: Mapping[str, str], writer: asyncio.StreamWriter) -> str:
    """Return what matters of a request: everything but which resource it was for."""
    for path in _ANSWERS:
        target = target.partition(path)[0]
    parts = [f"{name}:", target if method == "GET" else f"{method} {target}"]
    connection = writer.get_extra_info("ssl_object")
    if asked_for := getattr(connection, "asked_for", None):
        parts.append(f"(server name {asked_for.lower()})")
    if connection and (certificate := connection.getpeercert()):
        parts.append("certificate of " + "".join(value for ((_, value),) in certificate["subject"]))
    parts.extend(
        f"{key}: {_readable(value)}"
        for key, value in sorted(headers.items())
        if key in {"authorization", "proxy-authorization", "cookie"} or key.startswith("impersonate-")
    )
    return " ".join(filter(None, parts))


def _readable(value: str) -> str:
    scheme, _, rest = value.partition(" ")
    return f"Basic {base64.b64decode(rest).decode()}" if scheme.lower() == "basic" else value


async def _request(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str]]:
    begin = await reader.readexactly(1)
    if not begin.isalpha():  # a TLS handshake, for instance, which would wait for an answer
        raise ConnectionAbortedError
    head = (begin + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        key, value = key.strip().lower(), value.strip()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return method, target, headers


async def _socks(found: Recording, name: str, streams: _Streams) -> bool:
    """SOCKS 5 (RFC 1928), with a name and a password (RFC 1929) where they are offered."""
    reader, writer = streams
    version, count = await reader.readexactly(2)
    if version != 5:
        return False
    methods = await reader.readexactly(count)
    credentials = ""
    if 2 in methods:
        writer.write(b"\x05\x02")
        await reader.readexactly(1)
        words = [(await reader.readexactly((await reader.readexactly(1))[0])).decode() for _ in range(2)]
        credentials = " as " + ":".join(words)
        writer.write(b"\x01\x00")
    else:
        writer.write(b"\x05\x00")
    *_, kind = await reader.readexactly(4)
    if kind == 3:
        host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
    else:
        family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
        host = socket.inet_ntop(family, await reader.readexactly(size))
    port = int.from_bytes(await reader.readexactly(2), "big")
    found.sent.add(f"{name}: CONNECT {host}:{port}{credentials}")
    return await _join(found, str(port), streams, b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")


async def _join(found: Recording, port: str, streams: _Streams, agreed: bytes) -> bool:
    """Connect to one of the other servers, whatever host was asked for, and pass on what both sides say."""
    reader, writer = streams
    if int(port) not in found.ports.values():
        return False
    onward = await asyncio.open_connection("::1" if found.ports.get("v6") == int(port) else "127.0.0.1", int(port))
    writer.write(agreed)
    with suppress(OSError):
        await asyncio.gather(_pass(reader, onward[1]), _pass(onward[0], writer))
    return True


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while chunk := await source.read(65536):
            sink.write(chunk)
            await sink.drain()
    finally:
        sink.close()
