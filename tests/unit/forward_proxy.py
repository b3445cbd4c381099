"""A forward proxy on loopback, for tests of what goes through one."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack, suppress

from attrs import define, field


@define
class Proxy:
    """A proxy on loopback. Whatever host it is asked for, it connects to loopback.

    Attributes:
        scheme: "http", "https" or "socks5".
        tls: The certificate of one that is spoken to over TLS.
        asked: What it was asked for.
        refuses: Whether it refuses all.
    """

    scheme: str
    tls: ssl.SSLContext | None = None
    refuses: bool = False
    asked: list[str] = field(factory=list)
    port: int = 0

    async def start(self, stack: AsyncExitStack) -> None:
        """Listen until the stack is closed, which also ends every connection."""
        speak = self._socks if self.scheme == "socks5" else self._http
        tls = self.tls if self.scheme == "https" else None

        under_way: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            under_way[writer] = asyncio.current_task()
            with suppress(asyncio.IncompleteReadError, OSError):
                await speak(reader, writer)
            writer.close()
            del under_way[writer]

        async def stop() -> None:
            listening.close()
            tasks = [each for each in under_way.values() if each is not None]
            for writer in under_way:
                writer.close()
            await asyncio.gather(*tasks)

        listening = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
        self.port = listening.sockets[0].getsockname()[1]
        stack.push_async_callback(stop)

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.partition("\r\n")[0].split()
        fields = dict(each.lower().split(": ", 1) for each in head.split("\r\n")[1:-2])
        self.asked.append(f"{method} {target}")
        if secret := fields.get("proxy-authorization"):
            self.asked.append(secret)
        if self.refuses:
            writer.write(b"HTTP/1.1 407 s3cret\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        elif method == "CONNECT":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await _tunnel(reader, writer, int(target.rpartition(":")[2]))
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            await writer.drain()

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        if 2 in await reader.readexactly(count):
            writer.write(b"\x05\x02")
            await reader.readexactly(1)
            pair = [(await reader.readexactly((await reader.readexactly(1))[0])).decode() for _ in range(2)]
            self.asked.append(":".join(pair))
            writer.write(b"\x01\x00")
        else:
            writer.write(b"\x05\x00")
        *_, kind = await reader.readexactly(4)
        length = 4 if kind == 1 else (await reader.readexactly(1))[0]
        address = await reader.readexactly(length)
        host = ".".join(map(str, address)) if kind == 1 else address.decode()
        port = int.from_bytes(await reader.readexactly(2))
        self.asked.append(f"{host}:{port}")
        writer.write(bytes((5, 5 if self.refuses else 0, 0, 1)) + bytes(6))
        if not self.refuses:
            await _tunnel(reader, writer, port)


async def _tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
