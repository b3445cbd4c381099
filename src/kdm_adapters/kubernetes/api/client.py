"""HTTP to the API server: bytes in, bytes out, credentials kept fresh, every failure described."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple
from urllib.parse import urlencode

import aiohttp

from kdm_adapters.kubernetes.api.answers import is_refusal, read_refusal
from kdm_adapters.kubernetes.api.connections import Connections, Progress
from kdm_adapters.kubernetes.api.errors import refuses_credentials
from kdm_adapters.kubernetes.api.transport_errors import describe
from kdm_adapters.kubernetes.config.access import Access
from kdm_adapters.kubernetes.config.credentials import Credentials, CredentialsError
from kdm_adapters.kubernetes.wire.messages import TIMED_OUT, UNANSWERED, UNREACHABLE, Failure
from kdm_adapters.kubernetes.wire.readers import JSON
from kdm_core.copyable import Copyable
from kdm_core.ports import WatchInstrument

_log = logging.getLogger(__name__)

USER_AGENT: Final = "kdm"


SERVER_CHANGED: Final = "the cluster's address has changed: everything is being read again"


class Answer(NamedTuple):
    """An answer that is read as it arrives. ``media_type`` is its Content-Type without parameters."""

    media_type: str
    body: aiohttp.StreamReader


class Patch(NamedTuple):
    """The body of a PATCH: what is to be changed, and in which format."""

    media_type: str
    content: object


class ApiError(Copyable):
    """A request that did not succeed, or had no answer. ``failure`` says how."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Client:
    """Requests to one API server.

    Credentials are renewed by one task that no request can cancel. What fails before a request is sent counts as
    unreached: nothing was written.

    Args:
        credentials: Where it is and who asks.
        instrument: Counts each request.
        on_server_changed: Called once the credentials have led to a server of another address. What is known of the
            old one means nothing any more.

    Attributes:
        epoch: Counts the servers. What was read in one epoch is worth nothing in the next.
    """

    def __init__(
        self,
        credentials: Credentials,
        instrument: WatchInstrument | None = None,
        *,
        on_server_changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.epoch = 0
        self._credentials = credentials
        self._instrument = instrument or WatchInstrument()
        self._on_server_changed = on_server_changed
        self._connections: Connections | None = None
        self._open: set[Connections] = set()
        self._closed = False
        self._renewal: asyncio.Task[None] | None = None
        self._problem = ""
        self._told = ""

    async def close(self) -> None:
        """End a renewal under way, its plugin included, and close every connection. Requests after that are refused."""
        self._closed = True
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait({self._renewal})
        self._connections = None
        while self._open:
            await self._open.pop().close()

    @asynccontextmanager
    async def stream(self, verb: str, path: str, query: Mapping[str, str], accept: str) -> AsyncIterator[Answer]:
        """Open a GET whose answer is read as it arrives. The only time limit is the one for connecting.

        Args:
            verb: RBAC's name of what is done: list or watch.
            path: The path.
            query: The query parameters.
            accept: The media types wanted (RFC 9110).

        Yields:
            The answer.

        Raises:
            ApiError: It was refused, or there was no answer.
        """
        async with self._answer(verb, "GET", path, query, accept) as answer:
            yield Answer(answer.content_type, answer.content)

    async def request(
        self,
        verb: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        patch: Patch | None = None,
        timeout_s: float,
        epoch: int | None = None,
    ) -> bytes:
        """Make a request and return the answer's body, which is JSON.

        Args:
            verb: RBAC's name of what is done.
            method: HTTP's.
            path: The path.
            query: The query parameters.
            patch: The body.
            timeout_s: How long it may take in all, in seconds.
            epoch: The epoch that the request belongs to; it is not sent in a later one. None for the present one.

        Raises:
            ApiError: It was refused, or there was no answer.
        """
        progress = Progress()
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._answer(verb, method, path, query or {}, JSON, patch, progress, epoch) as answer,
            ):
                try:
                    return await answer.read()
                except Exception as error:
                    raise self._broken("the cluster's answer broke off", error) from error
        except TimeoutError as error:
            raise ApiError(_timed_out(progress, timeout_s)) from error

    @asynccontextmanager
    async def _answer(
        self,
        verb: str,
        method: str,
        path: str,
        query: Mapping[str, str],
        accept: str,
        patch: Patch | None = None,
        progress: Progress | None = None,
        epoch: int | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        started, code = time.monotonic(), 0
        progress = progress or Progress()
        connections = await self._fresh(self.epoch if epoch is None else epoch)
        progress.has_credentials = True
        connections.users += 1
        answer: aiohttp.ClientResponse | None = None
        try:
            try:
                answer = await self._send(connections, method, path, query, accept, patch, progress)
                code = answer.status
            finally:
                self._instrument.api_request(verb, code, time.monotonic() - started)
            if is_refusal(answer):
                refused = await read_refusal(answer)
                if refuses_credentials(refused):
                    self._credentials.refuse()
                raise ApiError(self.masked(refused))
            yield answer
        finally:
            if answer is not None:
                answer.close()
            connections.users -= 1
            if connections.retired and not connections.users:
                await self._close(connections)

    async def _send(
        self,
        connections: Connections,
        method: str,
        path: str,
        query: Mapping[str, str],
        accept: str,
        patch: Patch | None,
        progress: Progress,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": accept, "User-Agent": USER_AGENT}
        body = None
        if patch is not None:
            headers["Content-Type"] = patch.media_type
            body = json.dumps(patch.content).encode()
        target = path + ("?" + urlencode(query) if query else "")
        try:
            return await connections.request(method, target, headers, body, progress)
        except Exception as error:
            if progress.connected:
                raise self._broken("the cluster did not answer", error) from error
            self._tell(f"the cluster cannot be reached: {type(error).__name__}: {error}")
            raise ApiError(Failure(0, UNREACHABLE, f"the cluster cannot be reached: {describe(error)}")) from error

    def _broken(self, what: str, error: Exception) -> ApiError:
        self._tell(f"{what}: {type(error).__name__}: {error}")
        return ApiError(Failure(0, UNANSWERED, f"{what}: {describe(error)}"))

    def _tell(self, detail: str) -> None:
        """Log what no caller learns, once until it changes: a cluster that is gone is asked again and again."""
        detail = self._credentials.redact(detail)
        level = logging.DEBUG if detail == self._told else logging.WARNING
        self._told = detail
        _log.log(level, "%s", detail)

    def mask(self, text: str) -> str:
        """Return what an answer says, without kdm's credentials where it repeats them."""
        return self._credentials.redact.mask(text)

    def masked(self, failure: Failure) -> Failure:
        """Return a failure without kdm's credentials in its words."""
        return failure._replace(reason=self.mask(failure.reason), message=self.mask(failure.message))

    async def _fresh(self, epoch: int) -> Connections:
        """Return connections with valid credentials. Old ones live until their last watch ends."""
        is_outdated = await self._credentials.is_outdated()
        if self._closed:
            raise ApiError(Failure(0, UNREACHABLE, "the repository has been stopped"))
        if self._connections is None or is_outdated:
            if self._renewal is None:
                self._renewal = asyncio.create_task(self._renew(), name="kdm-credentials")
                self._renewal.add_done_callback(self._renewed)
            if self._connections is None or not self._credentials.is_usable():
                await asyncio.wait({self._renewal})  # a request that is cancelled does not cancel it
        if epoch != self.epoch:
            raise ApiError(Failure(0, UNREACHABLE, SERVER_CHANGED))
        if self._connections is None:
            raise ApiError(Failure(0, UNREACHABLE, self._problem))
        return self._connections

    def _renewed(self, _renewal: asyncio.Task[None]) -> None:
        self._renewal = None

    async def _renew(self) -> None:
        """Load the credentials again. Never fails: a request finds the old ones, or the problem."""
        self._problem = "kdm has no credentials for the cluster yet"
        old = self._connections
        try:
            access = await self._credentials.load()
            if old is not None and old.endpoint == access.endpoint:
                old.headers = access.headers
                return
            self._connections = Connections(access)
            self._open.add(self._connections)
        except CredentialsError as error:
            self._problem, detail = str(error), error.detail
        except Exception as error:  # noqa: BLE001 - a defect must not end all requests: the old ones may still do
            self._problem = "kdm's credentials for the cluster cannot be used"
            detail = self._credentials.redact(f"{self._problem}: {type(error).__name__}: {error}")
        else:
            if old is not None:
                await self._retire(old, access)
            return
        if old is None:
            _log.error("%s", detail)
        else:
            _log.warning("going on with the old credentials: %s", detail)

    async def _retire(self, old: Connections, access: Access) -> None:
        if old.endpoint.server != access.endpoint.server:
            self.epoch += 1
            _log.warning("%s", SERVER_CHANGED)
            self._on_server_changed()
        old.retired = True
        if not old.users:
            await self._close(old)

    async def _close(self, connections: Connections) -> None:
        await connections.close()
        self._open.discard(connections)  # not before: where this is cancelled, ``close`` does it again


def _timed_out(progress: Progress, timeout_s: float) -> Failure:
    if progress.connected:
        return Failure(0, TIMED_OUT, f"the cluster did not answer within {timeout_s:g} s")
    if progress.has_credentials:
        return Failure(0, UNREACHABLE, f"the cluster cannot be reached: no connection within {timeout_s:g} s")
    return Failure(0, UNREACHABLE, "kdm's credentials for the cluster are still being renewed")
