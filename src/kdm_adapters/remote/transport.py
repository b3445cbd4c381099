"""Calls to a kdm from an event loop, on httpcore: with the certificate files as they are at each moment."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import anyio
import httpcore
import msgspec

from kdm_adapters.remote.access import Access, InvalidAccess, proxy_for
from kdm_adapters.remote.closing import Sockets, pieces_of
from kdm_adapters.remote.connection import CONNECT_TIMEOUT_S, SAFE
from kdm_adapters.remote.errors import error_of
from kdm_adapters.remote.transport_errors import Unreachable, no_stream, of_asking, of_connecting
from kdm_core.errors import KdmError

MAX_CONNECTIONS: Final = 32
"""How many calls are under way at a time. Others wait for one to end."""

_MAX_ERROR_BYTES: Final = 4 * 1024 * 1024
"""How much of an error is read in place of a stream. One that refuses the most Deployments at once is smaller."""

_CONNECTING: Final = (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.ProxyError)
_FAILURES: Final = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    OSError,  # an alert of TLS that comes when the answer is read is one
)

_WANTS_MORE: Final = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What a handshake that was cut off was at: no failure."""

Stamp = tuple[tuple[int, int, int], ...]


class Passed(NamedTuple):
    """An answer as it comes.

    Attributes:
        status: The HTTP status.
        fields: The header fields.
        body: The body, piece by piece, as it was sent.
    """

    status: int
    fields: list[tuple[bytes, bytes]]
    body: AsyncIterator[bytes]


class _Sent:
    """Notices whether any of a request was sent to the server, and not only to a proxy."""

    def __init__(self) -> None:
        self.yet = False

    async def __call__(self, step: str, info: Mapping[str, Any]) -> None:
        begun = step == "http11.send_request_headers.started" and info["request"].method != b"CONNECT"
        self.yet = self.yet or begun


class _Generation:
    """The connections of one set of certificate files, and how many calls it has under way."""

    def __init__(self, pool: httpcore.AsyncConnectionPool, stamp: Stamp) -> None:
        self.pool = pool
        self.stamp = stamp
        self.calls = 0


class Transport:
    """Makes calls, opens streams, and passes requests on. Belongs to one event loop.

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
        await asyncio.gather(*(each.pool.aclose() for each in generations))

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
        read = method in SAFE
        content = None if body is None else msgspec.json.encode(body)
        fields = {"accept": "application/json"} | ({} if content is None else {"content-type": "application/json"})
        async with self._begun(timeout_s, read=read) as (pool, sent), asyncio.timeout(timeout_s):
            answer = await pool.request(
                method,
                self._url(path, query),
                headers=self._headers(fields),
                content=content,
                extensions={**_timeouts(None), "trace": sent},
            )
        if answer.status >= 300:
            raise error_of(answer.status, _fields(answer), answer.content, read=read)
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
        sent = self._headers({"accept": "text/event-stream", **fields})
        try:
            async with (
                self._pool() as pool,
                pool.stream("GET", self._url(path, query), headers=sent, extensions=_timeouts(silence_s)) as answer,
            ):
                fields = _fields(answer)
                if answer.status != 200:
                    async with asyncio.timeout(silence_s):
                        raise error_of(answer.status, fields, await _beginning(answer), read=True)
                if not fields.get("content-type", "").lower().startswith("text/event-stream"):
                    raise no_stream()
                async with pieces_of(answer) as pieces:
                    yield pieces
        except _FAILURES as error:
            raise self._failure(error, read=True) from error

    @asynccontextmanager
    async def passed(
        self, method: str, target: bytes, fields: list[tuple[bytes, bytes]], content: bytes, *, silence_s: float
    ) -> AsyncIterator[Passed]:
        """Pass a request on, once, and give its answer, whatever it is, before its body is there.

        Args:
            method: The method.
            target: The path and the query, as they were asked for.
            fields: The header fields, beyond those that every request has.
            content: The body.
            silence_s: For how long nothing may come, in seconds.

        Raises:
            KdmError: There is no answer, or it breaks off: then this comes while its body is read.
        """
        prefix = self.address.prefix.encode()
        url = httpcore.URL(scheme="https", host=self.address.host, port=self.address.port, target=prefix + target)
        headers = [*self._headers({"accept-encoding": "identity"}), *fields]
        async with self._begun(silence_s, read=method in SAFE) as (pool, sent):
            extensions = {**_timeouts(silence_s), "trace": sent}
            call = pool.stream(method, url, headers=headers, content=content or None, extensions=extensions)
            async with call as answer, pieces_of(answer) as pieces:
                yield Passed(answer.status, answer.headers, pieces)

    @asynccontextmanager
    async def _begun(
        self, timeout_s: float, *, read: bool
    ) -> AsyncIterator[tuple[httpcore.AsyncConnectionPool, _Sent]]:
        """Give the connections for a call, and what traces it. A failure meanwhile is raised as the error it means."""
        sent = _Sent()
        generation = await self._generation()
        generation.calls += 1
        try:
            yield generation.pool, sent
        except _FAILURES as error:
            if sent.yet or isinstance(error, _CONNECTING):
                raise self._failure(error, read=read) from error
            raise self._unsent(error, generation.calls, timeout_s) from error
        finally:
            generation.calls -= 1
            await self._let_go(generation)

    def _failure(self, error: Exception, *, read: bool) -> KdmError:
        where = self.address.authority
        if isinstance(error, _CONNECTING):
            met = f"the proxy for {where}" if isinstance(error, httpcore.ProxyError) else where
            return of_connecting(_cause(error), self.access, met, CONNECT_TIMEOUT_S)
        timed_out = isinstance(error, TimeoutError | httpcore.TimeoutException)
        return of_asking(TimeoutError() if timed_out else _cause(error), self.access, where, read=read)

    def _unsent(self, error: Exception, calls: int, timeout_s: float) -> KdmError:
        """Return the error that a call is that ended before any of it was sent: nothing was written."""
        where = self.address.authority
        if calls > MAX_CONNECTIONS and isinstance(error, TimeoutError):
            return Unreachable(
                f"{calls} calls to {where} are under way: this one did not get its turn in {timeout_s:g} s"
            )
        return of_connecting(_cause(error), self.access, where, min(timeout_s, CONNECT_TIMEOUT_S))

    def _url(self, path: str, query: Mapping[str, str] | None) -> str:
        asked = f"?{urlencode(query)}" if query else ""
        return f"https://{self.address.authority}{self.address.prefix}{path}{asked}"

    def _headers(self, fields: Mapping[str, str]) -> list[tuple[bytes | str, bytes | str]]:
        return [("host", self.address.authority), ("user-agent", self._agent), *fields.items()]

    def _pool(self) -> httpcore.AsyncConnectionPool:
        proxy = self._proxy
        through = None
        if proxy is not None:
            auth = (proxy.user, proxy.password) if proxy.user else None
            through = httpcore.Proxy(f"http://{proxy.host}:{proxy.port}", auth=auth)
        return httpcore.AsyncConnectionPool(
            ssl_context=self.access.tls_context(),
            proxy=through,
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=8,
            keepalive_expiry=30,
            network_backend=Sockets(),
        )

    async def _generation(self) -> _Generation:
        """Return the connections of the certificate files as they are now; of those before, while they are no good."""
        stamp = _stamp(self.access)
        now = self._now
        if now is not None and now.stamp == stamp:
            return now
        try:
            made = _Generation(self._pool(), stamp)
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
            await generation.pool.aclose()


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


async def _beginning(answer: httpcore.Response) -> bytes:
    """Return the body of an answer, up to a bound: it may be without an end."""
    found = b""
    async with pieces_of(answer) as pieces:
        async for piece in pieces:
            found += piece
            if len(found) > _MAX_ERROR_BYTES:
                break
    return found


def _timeouts(read_s: float | None) -> dict[str, Any]:
    return {"timeout": {"connect": CONNECT_TIMEOUT_S, "read": read_s, "write": read_s, "pool": None}}


def _fields(answer: httpcore.Response) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}


def _cause(error: BaseException) -> OSError:
    """Return what lies beneath a failure of httpcore: the most telling OSError there is."""
    found = [each for each in _chain(error) if isinstance(each, OSError) and not isinstance(each, _WANTS_MORE)]
    for kind in (ssl.SSLError, socket.gaierror, TimeoutError, ConnectionError):
        for each in found:
            if isinstance(each, kind):
                return each
    if isinstance(error, httpcore.TimeoutException):
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
