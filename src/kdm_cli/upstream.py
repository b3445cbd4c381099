"""A kdm elsewhere, reached with a client certificate. Its files are read again when they are renewed.

``HTTPS_PROXY`` and ``NO_PROXY`` are honoured as by the other commands; loopback is never proxied.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx

from kdm_adapters.remote.access import Access, InvalidAccess, proxy_for

__all__ = ["Access", "InvalidAccess", "Upstream"]

CONNECT_S: Final = 10.0
READ_S: Final = 60.0
"""How long to wait for a next byte, in seconds: a stream has one each 15 s, and the page asks for shorter waits."""

MOST_CONNECTIONS: Final = 64


class Upstream:
    """Sends requests to a kdm. Belongs to one event loop.

    Args:
        access: How it is reached.

    Raises:
        InvalidAccess: The URL or a file of ``access`` cannot be used, or the environment's proxy.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._proxy = _proxy(access)
        self._age = self._files()
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
            InvalidAccess: A file was renewed, and cannot be used.
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
        age = self._files()
        if age != self._age:
            client = self._connected()
            self._former.append(self._client)
            self._client, self._age = client, age

    def _files(self) -> tuple[int, ...]:
        """Return what changes when a file does: 0 for one that is not there at this moment."""
        _, *files = self._access
        return tuple(_changed_at(Path(each)) for each in files if each is not None)

    def _connected(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._access.server,
            verify=self._access.tls_context(),
            timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=MOST_CONNECTIONS),
            headers={"accept-encoding": "identity", "user-agent": "kdm-ui"},
            follow_redirects=False,
            proxy=self._proxy,
            trust_env=False,  # httpx's rules for proxies are not the other commands'
        )


def _proxy(access: Access) -> httpx.Proxy | None:
    found = proxy_for(access.address())
    if found is None:
        return None
    host = f"[{found.host}]" if ":" in found.host else found.host
    return httpx.Proxy(f"http://{host}:{found.port}", auth=(found.user, found.password) if found.user else None)


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
