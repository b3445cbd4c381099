"""HTTP to the API server, on kubernetes.aio's REST client: bytes in, bytes out, credentials always fresh."""
# kubernetes is typed in part only:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple
from urllib.parse import urlencode

import aiohttp

from kdm_adapters.kubernetes.answers import is_refusal, read_refusal
from kdm_adapters.kubernetes.credentials import Credentials, discard_private_file
from kdm_adapters.kubernetes.messages import TIMED_OUT, UNANSWERED, UNREACHABLE, Failure
from kdm_adapters.kubernetes.official import Configuration, RESTClientObject
from kdm_adapters.kubernetes.refusals import refuses_credentials
from kdm_adapters.kubernetes.sockets import open_socket
from kdm_adapters.kubernetes.wire.readers import JSON
from kdm_core.errors import ClusterUnreachable
from kdm_core.ports import Instrument

_log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S: Final = 5.0
"""How long connecting may take, TLS included, in seconds."""

USER_AGENT: Final = "kdm"

# kubernetes.aio's own default, 300 s in all, would cut watches.
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_S)

# Twice this may wait to be decoded.
_READ_BUFFER_BYTES: Final = 64 * 1024


class Answer(NamedTuple):
    """An answer that is read as it arrives. ``media_type`` is its Content-Type without parameters."""

    media_type: str
    body: aiohttp.StreamReader


class ApiError(Exception):
    """A request that did not succeed, or had no answer. ``failure`` says how."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class _Transport(RESTClientObject):
    """A connection pool with one set of credentials. Closes itself once retired and idle."""

    def __init__(self, configuration: Configuration) -> None:
        # Watches are long-lived connections of their own: a limit would let them starve writes. Nobody sets cookies.
        configuration.client_session_kwargs = {
            "read_bufsize": _READ_BUFFER_BYTES,
            "cookie_jar": aiohttp.DummyCookieJar(),
            "middlewares": (_refuse_redirect,),
        }
        super().__init__(configuration)
        self.users = 0
        self.retired = False

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=0, ssl=self.ssl_context, socket_factory=open_socket)


class Client:
    """Requests to one API server.

    Args:
        credentials: Where it is and who asks.
        instrument: Told each request.
    """

    def __init__(self, credentials: Credentials, instrument: Instrument | None = None) -> None:
        self._credentials = credentials
        self._instrument = instrument or Instrument()
        self._transport: _Transport | None = None
        self._open: set[_Transport] = set()
        self._closed = False
        self._renewing = asyncio.Lock()

    async def close(self) -> None:
        """Close every connection, of old credentials too. Requests after that are refused."""
        self._closed, self._transport = True, None
        while self._open:
            await self._open.pop().close()

    @asynccontextmanager
    async def stream(self, verb: str, path: str, query: Mapping[str, str], accept: str) -> AsyncIterator[Answer]:
        """Open a GET whose answer is read as it arrives. No time limit but the one for connecting.

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
        merge_patch: object = None,
        timeout_s: float,
    ) -> bytes:
        """Make a request and return the answer's body, which is JSON.

        Args:
            verb: RBAC's name of what is done.
            method: HTTP's.
            path: The path.
            query: The query parameters.
            merge_patch: The body, to be sent as a JSON merge patch (RFC 7396).
            timeout_s: How long it may take in all, in seconds.

        Raises:
            ApiError: It was refused, or there was no answer.
        """
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._answer(verb, method, path, query or {}, JSON, merge_patch) as answer,
            ):
                return await answer.read()
        except TimeoutError as error:
            raise ApiError(Failure(0, TIMED_OUT, f"the cluster did not answer within {timeout_s:g} s")) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ApiError(Failure(0, UNANSWERED, f"the cluster's answer broke off: {_text(error)}")) from error

    @asynccontextmanager
    async def _answer(
        self,
        verb: str,
        method: str,
        path: str,
        query: Mapping[str, str],
        accept: str,
        merge_patch: object = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        started, code = time.monotonic(), 0
        try:
            transport = await self._fresh()
        except ClusterUnreachable as error:
            raise ApiError(Failure(0, UNREACHABLE, str(error))) from error
        transport.users += 1
        answer: aiohttp.ClientResponse | None = None
        try:
            try:
                answer = await self._send(transport, method, path, query, accept, merge_patch)
                code = answer.status
            except ApiError as error:
                code = error.failure.code
                raise
            finally:
                self._instrument.api_request(verb, code, time.monotonic() - started)
            if is_refusal(answer):
                refused = await read_refusal(answer)
                if refuses_credentials(refused):
                    self._credentials.refuse()
                raise ApiError(refused)
            yield answer
        finally:
            if answer is not None:
                answer.close()
            transport.users -= 1
            if transport.retired and not transport.users:
                await self._close(transport)

    async def _send(
        self,
        transport: _Transport,
        method: str,
        path: str,
        query: Mapping[str, str],
        accept: str,
        merge_patch: object,
    ) -> aiohttp.ClientResponse:
        configuration = transport.configuration
        headers = {"Accept": accept, "User-Agent": USER_AGENT}
        if merge_patch is not None:
            headers["Content-Type"] = "application/merge-patch+json"
        for setting in (await configuration.auth_settings()).values():
            headers[setting["key"]] = setting["value"]
        url = configuration.host + path + ("?" + urlencode(query) if query else "")
        try:
            answer = await transport.request(method, url, headers, body=merge_patch, _request_timeout=_TIMEOUT)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise ApiError(
                Failure(0, UNREACHABLE, f"the cluster at {configuration.host} cannot be reached: {_text(error)}")
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ApiError(
                Failure(0, UNANSWERED, f"the cluster at {configuration.host} did not answer: {_text(error)}")
            ) from error
        response: aiohttp.ClientResponse = answer.response
        return response

    async def _fresh(self) -> _Transport:
        """Return a transport with valid credentials. The old one lives until its last watch ends."""
        async with self._renewing:
            self._check_open()
            old = self._transport
            if old is not None and not self._credentials.is_outdated():
                return old
            try:
                new = _transport(await self._credentials.load())
            except ClusterUnreachable as error:
                if old is None:
                    raise
                _log.warning("going on with the old credentials: %s", error)
                return old
            self._open.add(new)
            try:
                self._check_open()  # it may have been closed meanwhile
            except ClusterUnreachable:
                await self._close(new)
                raise
            self._transport = new
        if old is not None:
            old.retired = True
            if not old.users:
                await self._close(old)
        return new

    def _check_open(self) -> None:
        if self._closed:
            raise ClusterUnreachable("the repository has been stopped")

    async def _close(self, transport: _Transport) -> None:
        await transport.close()
        self._open.discard(transport)  # not before: where this is cancelled, ``close`` does it again


def _transport(configuration: Configuration) -> _Transport:
    try:
        return _Transport(configuration)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ClusterUnreachable(f"the certificates for the cluster cannot be used: {_text(error)}") from error
    finally:
        discard_private_file(configuration)


async def _refuse_redirect(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Do not follow a redirect: it would take the credentials and the write to whoever it names. The API has none."""
    answer = await handler(request)
    if 300 <= answer.status < 400:
        refused = await read_refusal(answer)
        answer.close()
        raise ApiError(refused)
    return answer


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
