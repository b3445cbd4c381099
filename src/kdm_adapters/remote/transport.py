"""Calls to a kdm from an event loop, on httpx: with the certificate files as they are at each moment."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import msgspec

from kdm_adapters.remote.access import Access, InvalidAccess, proxy_for
from kdm_adapters.remote.errors import error_of
from kdm_adapters.remote.transport_errors import of_asking, of_connecting
from kdm_core.errors import KdmError

CONNECT_TIMEOUT_S: Final = 10.0

_LIMITS: Final = httpx.Limits(max_connections=32, max_keepalive_connections=8, keepalive_expiry=30)
_CONNECTING: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)

Stamp = tuple[tuple[int, int, int], ...]


class _Generation:
    """The client of one set of certificate files, and how many calls it has under way."""

    def __init__(self, client: httpx.AsyncClient, stamp: Stamp) -> None:
        self.client = client
        self.stamp = stamp
        self.calls = 0


class Transport:
    """Makes calls, and opens streams. Belongs to one event loop.

    Args:
        access: How to reach the kdm.
        agent: What it calls itself in ``User-Agent``.

    Raises:
        InvalidAccess: How to reach it makes no sense.
    """

    def __init__(self, access: Access, agent: str) -> None:
        self.access = access
        self.address = access.address()
        self._proxy = proxy_for(self.address)
        self._agent = agent
        self._now: _Generation | None = None
        self._old: set[_Generation] = set()

    async def aclose(self) -> None:
        """Close every connection."""
        generations = {*self._old, *([self._now] if self._now is not None else [])}
        self._now, self._old = None, set()
        await asyncio.gather(*(each.client.aclose() for each in generations))

    async def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
        *,
        timeout_s: float,
    ) -> bytes:
        """Make a call, once, and return the body of the answer.

        Args:
            method: The method.
            path: The path, encoded.
            query: The query.
            body: What to send, as JSON has it.
            timeout_s: How long all of it may take, in seconds.

        Raises:
            KdmError: What the kdm said, as the error that it is; or that it could not be reached, or did not answer.
        """
        read = method == "GET"
        content = None if body is None else msgspec.json.encode(body)
        fields = {"accept": "application/json"} | ({} if content is None else {"content-type": "application/json"})
        generation = await self._generation()
        generation.calls += 1
        try:
            async with asyncio.timeout(timeout_s):
                answer = await generation.client.request(
                    method, self.address.prefix + path, params=query, content=content, headers=fields
                )
        except (httpx.TransportError, TimeoutError) as error:
            raise self._failure(error, timeout_s, read=read) from error
        finally:
            generation.calls -= 1
            await self._let_go(generation)
        if answer.status_code >= 300:
            raise error_of(answer.status_code, _fields(answer), answer.content)
        return answer.content

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], fields: Mapping[str, str], *, silence_s: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a stream over a connection of its own, with the certificate files as they are now.

        Args:
            path: The path, encoded.
            query: The query.
            fields: More header fields.
            silence_s: For how long nothing may come, in seconds.

        Returns:
            What comes, piece by piece.

        Raises:
            KdmError: As ``call``; also while it is read.
        """
        sent = {"accept": "text/event-stream", "accept-encoding": "identity", **fields}
        try:
            async with (
                self._client(silence_s) as client,
                client.stream("GET", self.address.prefix + path, params=query, headers=sent) as answer,
            ):
                if answer.status_code != 200:
                    raise error_of(answer.status_code, _fields(answer), await answer.aread())
                yield answer.aiter_raw()
        except httpx.TransportError as error:
            raise self._failure(error, silence_s, read=True) from error

    def _failure(self, error: Exception, timeout_s: float, *, read: bool) -> KdmError:
        where = self.address.authority
        if isinstance(error, _CONNECTING):
            met = f"the proxy for {where}" if isinstance(error, httpx.ProxyError) else where
            return of_connecting(_cause(error), self.access, met, CONNECT_TIMEOUT_S)
        timed_out = isinstance(error, TimeoutError | httpx.TimeoutException)
        cause = TimeoutError(f"{timeout_s:g} s") if timed_out else _cause(error)
        return of_asking(cause, self.access, where, read=read)

    def _client(self, read_timeout_s: float | None) -> httpx.AsyncClient:
        proxy = self._proxy
        through = None
        if proxy is not None:
            auth = (proxy.user, proxy.password) if proxy.user else None
            through = httpx.Proxy(f"http://{proxy.host}:{proxy.port}", auth=auth)
        return httpx.AsyncClient(
            base_url=f"https://{self.address.authority}",
            verify=self.access.tls_context(),
            proxy=through,
            trust_env=False,
            timeout=httpx.Timeout(read_timeout_s, connect=CONNECT_TIMEOUT_S, pool=None),
            limits=_LIMITS,
            headers={"user-agent": self._agent},
        )

    async def _generation(self) -> _Generation:
        """Return the client of the certificate files as they are now; of those before, while they are no good."""
        stamp = _stamp(self.access)
        now = self._now
        if now is not None and now.stamp == stamp:
            return now
        try:
            made = _Generation(self._client(None), stamp)
        except InvalidAccess:
            if now is None:
                raise
            return now  # they are being replaced
        self._now = made
        if now is not None:
            self._old.add(now)
            await self._let_go(now)
        return made

    async def _let_go(self, generation: _Generation) -> None:
        if generation in self._old and not generation.calls:
            self._old.discard(generation)
            await generation.client.aclose()


def _stamp(access: Access) -> Stamp:
    """Return what differs where the files are others."""
    found = []
    for each in (access.ca, access.cert, access.key):
        try:
            stat = Path(each).stat() if each is not None else None
        except (OSError, ValueError):
            stat = None
        found.append((0, 0, 0) if stat is None else (stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def _fields(answer: httpx.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}


def _cause(error: BaseException) -> OSError:
    """Return what lies beneath a failure of httpx: the most telling OSError there is."""
    found = [each for each in _chain(error) if isinstance(each, OSError)]
    for kind in (ssl.SSLError, socket.gaierror, TimeoutError, ConnectionError):
        for each in found:
            if isinstance(each, kind):
                return each
    if isinstance(error, httpx.TimeoutException):
        return TimeoutError()
    numbered = [each for each in found if each.errno]
    return numbered[0] if numbered else ConnectionError(str(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop(0)
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        pending += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            pending += each.exceptions
