"""A kdm elsewhere, reached with a client certificate. Its files are read again when they are renewed."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
from attrs import frozen

CONNECT_S: Final = 10.0
READ_S: Final = 60.0
"""How long to wait for a next byte, in seconds: a stream has one each 15 s, and the page asks for shorter waits."""

MOST_CONNECTIONS: Final = 64


@frozen
class Access:
    """How a kdm is reached.

    Attributes:
        server: Its URL.
        ca: The certificates that its own is judged by; None for the system's.
        cert: The client certificate.
        key: Its key.
    """

    server: str
    ca: Path | None
    cert: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """Return what TLS needs.

        Raises:
            OSError: A file cannot be read, or is none of certificates or of a key (``ssl.SSLError`` is one).
        """
        context = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
        context.load_cert_chain(self.cert, self.key)
        return context

    def age(self) -> tuple[int, ...]:
        """Return what changes when a file does."""
        return tuple(each.stat().st_mtime_ns for each in (self.ca, self.cert, self.key) if each is not None)


class Upstream:
    """Sends requests to a kdm. Belongs to one event loop.

    Args:
        access: How it is reached.

    Raises:
        OSError: A file of ``access`` cannot be used.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._age = access.age()
        self._client = self._connected()
        self._former: list[httpx.AsyncClient] = []  # their streams go on until they end

    @property
    def url(self) -> str:
        """Where it is."""
        return self._access.server

    @asynccontextmanager
    async def stream(
        self, method: str, target: str, fields: list[tuple[bytes, bytes]], body: bytes
    ) -> AsyncIterator[httpx.Response]:
        """Send a request, and give its answer before its body is there.

        Args:
            method: The method.
            target: The path and query.
            fields: The header fields.
            body: The body.

        Raises:
            OSError: A file was renewed, and cannot be used.
            httpx.HTTPError: There is no answer.
        """
        self._renew()
        async with self._client.stream(method, target, headers=fields, content=body or None) as answer:
            yield answer

    async def aclose(self) -> None:
        """Close every connection."""
        for client in (*self._former, self._client):
            await client.aclose()

    def _renew(self) -> None:
        age = self._access.age()
        if age != self._age:
            client = self._connected()
            self._former.append(self._client)
            self._client, self._age = client, age

    def _connected(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._access.server,
            verify=self._access.context(),
            timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=MOST_CONNECTIONS),
            headers={"accept-encoding": "identity", "user-agent": "kdm-ui"},
            follow_redirects=False,
            trust_env=False,
        )
