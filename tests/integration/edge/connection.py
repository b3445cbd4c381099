"""One HTTP/1.1 connection that a test holds in its hands: what it sends, when, and that the other side closes it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

__all__ = ["Answer", "Connection"]


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Connection:
    """A connection to an API. Belongs to one event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, url: str, context: ssl.SSLContext | None) -> Self:
        """Connect.

        Args:
            url: Of the API.
            context: Whom to trust and what to show; None leaves the handshake to the test.

        Raises:
            OSError: The other side refused the connection, or dropped it. TLS 1.3 tells a client that it is refused
                only when it reads.
        """
        port = urlsplit(url).port
        name = "localhost" if context else None
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name))

    @property
    def serial(self) -> str:
        """The serial number of the server's certificate, in upper-case hex."""
        return str(self._writer.get_extra_info("peercert")["serialNumber"])

    async def send(self, data: bytes) -> None:
        """Send some bytes.

        Raises:
            ConnectionError: The other side has closed.
        """
        self._writer.write(data)
        await self._writer.drain()

    async def get(self, path: str) -> Answer:
        """Send a request and read its response.

        Raises:
            OSError: The other side closed before the response was whole, or refused the certificate.
        """
        await self.send(f"GET {path} HTTP/1.1\r\nHost: kdm\r\n\r\n".encode())
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            status, *fields = head.rstrip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        except asyncio.IncompleteReadError as exc:
            raise ConnectionResetError("closed before the response was whole") from exc
        return Answer(int(status.split()[1]), headers, body)

    async def until_closed(self) -> bytes:
        """Wait until the other side closes, and return what it sent before."""
        received = bytearray()
        with contextlib.suppress(OSError):
            while data := await self._reader.read(65536):
                received += data
        return bytes(received)

    async def close(self) -> None:
        """Close this side."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
