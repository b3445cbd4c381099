"""A server under test: its clock, what it told, and an application that shows what it was given."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kdm_http.server.events import ServerEvents
from kdm_http.server.serve import Addresses, TlsFiles
from kdm_http.tls.peer import Peer
from kdm_http.tls.rejection import Rejection
from unit.http.credentials import Credentials

DEADLINE_S = 10.0


class Clock:
    """The time, as far ahead as a test wants it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Recorder(ServerEvents):
    """Keeps what the server told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.rejections: asyncio.Queue[Rejection] = asyncio.Queue()
        self.reloads: asyncio.Queue[Mapping[str, datetime]] = asyncio.Queue()
        self.refused_reloads: asyncio.Queue[str] = asyncio.Queue()
        self.refusals: list[int] = []
        self.open = 0
        self._closed = asyncio.Event()
        self.dropped = asyncio.Event()

    def rejected(self, rejection: Rejection) -> None:
        self.rejections.put_nowait(rejection)

    def connection_opened(self, listener: str, peer: Peer | None) -> None:
        del peer
        self.open += listener == "api"

    def connection_closed(self, listener: str) -> None:
        self.open -= listener == "api"
        self._closed.set()

    async def until_open(self, connections: int) -> None:
        """Wait until at most so many connections are left."""
        async with asyncio.timeout(DEADLINE_S):
            while self.open > connections:
                self._closed.clear()
                await self._closed.wait()

    def connection_dropped(self, listener: str) -> None:
        del listener
        self.dropped.set()

    def request_refused(self, listener: str, status: int, peer: Peer | None) -> None:
        del listener, peer
        self.refusals.append(status)

    def reloaded(self, not_after: Mapping[str, datetime]) -> None:
        self.reloads.put_nowait(not_after)

    def reload_refused(self, reason: str) -> None:
        self.refused_reloads.put_nowait(reason)


class Running:
    """One server."""

    def __init__(self, files: TlsFiles, credentials: Credentials) -> None:
        self.files = files
        self.credentials = credentials
        self.clock = Clock()
        self.events = Recorder()
        self.stopping = asyncio.Event()
        self.addresses = Addresses((), ())
        self.task: asyncio.Task[None] | None = None
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.served: list[str] = []

    @property
    def api(self) -> tuple[str, int]:
        return self.addresses.api[0]

    @property
    def ops(self) -> tuple[str, int]:
        return self.addresses.ops[0]

    @property
    def crl(self) -> Path:
        assert self.files.crl is not None
        return self.files.crl

    async def stop(self) -> None:
        """Stop, and raise what made the server end if anything did."""
        self.stopping.set()
        if self.task is not None:
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.wait({self.task})
            self.task.result()
            self.task = None

    async def rejection(self) -> Rejection:
        """Return the next rejection."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.events.rejections.get()

    async def reloaded(self) -> None:
        """Wait for the next reload after the start's."""
        async with asyncio.timeout(DEADLINE_S):
            await self.events.reloads.get()

    async def reload_refused(self) -> str:
        """Wait for the next refused reload, and return why."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.events.refused_reloads.get()

    def replace(self, path: Path, content: bytes) -> None:
        """Replace a file, as an atomic writer does."""
        new = path.with_suffix(".new")
        new.write_bytes(content)
        new.replace(path)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        """Tell who asks; ``/hold`` answers when released, ``/stream`` begins to, ``/large`` answers a lot."""
        if scope["type"] != "http":
            raise RuntimeError("no lifespan here")
        self.served.append(scope["path"])
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if message["type"] == "http.disconnect" or not message["more_body"]:
                break
        peer = scope["state"]["peer"]
        if scope["path"] == "/hold":
            self.entered.set()
            await self.release.wait()
        told = {
            "user": peer.identity.user,
            "groups": sorted(peer.identity.groups),
            "fingerprint": peer.identity.fingerprint,
            "address": peer.address,
            "bytes": len(body),
            "headers": [name.decode() for name, _ in scope["headers"]],
        }
        answer = json.dumps(told).encode()
        if scope["path"] == "/large":
            answer = b"x" * (8 << 20)
        headers = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["path"] == "/stream":
            await send({"type": "http.response.body", "body": answer[:1], "more_body": True})
            self.entered.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        await send({"type": "http.response.body", "body": answer})


async def ops_app(scope: Any, receive: Any, send: Any) -> None:
    """Tell whether the server is stopping, and what the scope has of a peer."""
    del receive
    if scope["type"] != "http":
        raise RuntimeError("no lifespan here")
    body = json.dumps({"stopping": scope["state"]["stopping"].is_set(), "peer": scope["state"].get("peer")}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
