"""A TLS client that hides nothing: it shows the alert it was sent, and how a connection ended."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any, Self

from attrs import define, frozen

DEADLINE_S = 10.0


@frozen
class Response:
    """An HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@define(eq=False)
class Client:
    """One connection, made by ``open``. A TLS 1.3 client learns that it was rejected when it reads: so read."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO
    tls: ssl.SSLObject
    buffered: bytes = b""

    @classmethod
    async def open(
        cls, address: tuple[str, int], context: ssl.SSLContext, session: ssl.SSLSession | None = None
    ) -> Self:
        """Connect, without a handshake yet."""
        reader, writer = await asyncio.open_connection(*address)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost", session=session)
        return cls(reader, writer, incoming, outgoing, tls)

    async def close(self) -> None:
        self.writer.transport.abort()

    async def handshake(self) -> None:
        """Do the client's part of the handshake."""
        await self._drive(self.tls.do_handshake)

    async def send(self, data: bytes) -> None:
        """Send bytes, after the handshake."""
        self.tls.write(data)
        self.writer.write(self.outgoing.read())
        await self.writer.drain()

    async def read(self) -> bytes:
        """Return the next bytes; b"" after close_notify.

        Raises:
            ssl.SSLError: An alert came.
            ConnectionResetError: The connection ended without close_notify.
        """
        return bytes(await self._drive(lambda: self.tls.read(65536)))

    async def alert(self) -> str:
        """Shake hands and read until the alert, and return its name."""
        try:
            await self.handshake()
            while await self.read():
                pass
        except ssl.SSLError as exc:
            # Python has no name for some of the alerts, but OpenSSL has words for all.
            said = exc.reason or str(exc)
            return said.lower().replace(" ", "_").partition("alert_")[2].partition("_(")[0]
        return "none"

    async def closed(self) -> bool:
        """Wait for the end of the connection, and return whether it came without another byte."""
        return await self.rest() == b""

    async def rest(self) -> bytes:
        """Return all that comes until the end of the connection."""
        got, self.buffered = self.buffered, b""
        try:
            while more := await self.read():
                got += more
        except (ConnectionError, ssl.SSLError):
            pass
        return got

    async def request(
        self, target: str = "/", *, method: str = "GET", body: bytes = b"", headers: str = ""
    ) -> Response:
        """Send a request and return the response."""
        if self.tls.version() is None or self.tls.cipher() is None:
            await self.handshake()
        length = f"content-length: {len(body)}\r\n" if body else ""
        await self.send(f"{method} {target} HTTP/1.1\r\nhost: kdm\r\n{length}{headers}\r\n".encode() + body)
        return await self.response()

    async def response(self) -> Response:
        """Read one response."""
        head = await self._until(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(self.buffered) < length:
            self.buffered += await self._more()
        body, self.buffered = self.buffered[:length], self.buffered[length:]
        return Response(int(first.split()[1]), headers, body)

    async def _until(self, end: bytes) -> bytes:
        while end not in self.buffered:
            self.buffered += await self._more()
        head, _, self.buffered = self.buffered.partition(end)
        return head + end

    async def _more(self) -> bytes:
        data = await self.read()
        if not data:
            raise ConnectionResetError("closed in the middle of a response")
        return data

    async def _drive(self, step: Any) -> Any:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    result = step()
                except ssl.SSLWantReadError:
                    await self._exchange()
                except ssl.SSLZeroReturnError:
                    return b""
                else:
                    self.writer.write(self.outgoing.read())
                    return result

    async def _exchange(self) -> None:
        self.writer.write(self.outgoing.read())
        data = await self.reader.read(65536)
        if not data:
            raise ConnectionResetError("closed without close_notify")
        self.incoming.write(data)
