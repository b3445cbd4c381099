"""Connections to the API server, direct or through a proxy, with one set of credentials for each pool."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

import aiohttp

from kdm_adapters.kubernetes.api.resolver import Resolver
from kdm_adapters.kubernetes.api.sockets import open_socket
from kdm_adapters.kubernetes.config.access import Access, Endpoint
from kdm_adapters.kubernetes.config.tls_context import tls_context
from kdm_adapters.kubernetes.config.urls import Url

CONNECT_TIMEOUT_S: Final = 5.0
"""How long connecting may take, TLS included, in seconds."""

# aiohttp's own default, 300 s in all, would cut watches.
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_S)

_HEADER_BYTES: Final = 1024 * 1024
_HEADERS: Final = 10_000
"""How long each header of an answer may be, and how many there may be. aiohttp's own 8190 bytes and 128 headers make a
refusal to read of what kubectl does not mind (Go's limit is 10 MiB in all): a gateway's cookies, or warnings by the
hundred about a write that was carried out."""

# Twice this may wait to be decoded.
_READ_BUFFER_BYTES: Final = 64 * 1024


class Progress:
    """How far one request has come. Before ``connected`` nothing of it was sent, so nothing can have happened."""

    def __init__(self) -> None:
        self.has_credentials = False
        self.connected = False


class Answer(aiohttp.ClientResponse):
    """The answer to a request. One that is not read to its end takes its connection along, at once.

    aiohttp would close such a connection in good order: it would wait for the API server's close_notify, half a minute
    where the server is gone, and outlive the repository and perhaps the event loop.
    """

    def close(self) -> None:
        """Let go of the answer, whether or not it has begun."""
        if self.connection is not None and self.connection.transport is not None:
            self.connection.transport.abort()
        super().close()


class Connections:
    """A connection pool. Closes itself once it is retired and idle.

    Attributes:
        endpoint: Where its connections go.
        headers: The credentials. They may change while connections stay open.
        users: How many requests are under way.
        retired: Whether another one has taken its place.
    """

    def __init__(self, access: Access) -> None:
        self.endpoint = access.endpoint
        self.headers = access.headers
        self.users = 0
        self.retired = False
        self._options = _options(access.endpoint)
        # Over TLS a request is tunnelled through the proxy, without TLS it is made to the proxy.
        to_proxy = access.endpoint.proxy if access.endpoint.tls is None else None
        self._proxy_headers = _proxy_authorization(to_proxy) if to_proxy is not None else {}
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_create_start.append(_note_connecting)
        tracing.on_connection_create_end.append(_note_connected)
        tracing.on_connection_reuseconn.append(_note_connected)
        # Watches are long-lived connections of their own: a limit would let them starve writes. Nobody sets cookies.
        # Without trust_env aiohttp reads neither a netrc file nor the environment's proxies.
        self._session = aiohttp.ClientSession(
            connector=_connector(access.endpoint),
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
            max_headers=_HEADERS,
            read_bufsize=_READ_BUFFER_BYTES,
            response_class=Answer,
            trace_configs=[tracing],
            trust_env=False,
        )

    async def request(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, progress: Progress
    ) -> aiohttp.ClientResponse:
        """Send a request and return its answer, whose body is still to be read. Redirections are not followed."""
        return await self._session.request(
            method,
            self.endpoint.server + target,
            headers=[*headers.items(), *self.headers, *self._proxy_headers.items()],
            data=body,
            allow_redirects=False,
            timeout=_TIMEOUT,
            trace_request_ctx=progress,
            **self._options,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()


async def _note_connecting(_session: object, context: Any, _parameters: object) -> None:
    # A connection that was kept may have ended just now. aiohttp tries a GET again then, and never a PATCH.
    context.trace_request_ctx.connected = False


async def _note_connected(_session: object, context: Any, _parameters: object) -> None:
    context.trace_request_ctx.connected = True


def _connector(endpoint: Endpoint) -> aiohttp.TCPConnector:
    context = False if endpoint.tls is None else tls_context(endpoint.tls)
    if endpoint.proxy is not None and endpoint.proxy.scheme.startswith("socks5"):
        from kdm_adapters.kubernetes.api.socks import socks_connector  # noqa: PLC0415 - most need none of it

        return socks_connector(endpoint.proxy, endpoint.tls.server_name if endpoint.tls else "", context)
    return aiohttp.TCPConnector(limit=0, ssl=context, socket_factory=open_socket, resolver=Resolver())


def _options(endpoint: Endpoint) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if endpoint.tls is not None and endpoint.tls.server_name:
        options["server_hostname"] = endpoint.tls.server_name
    if not endpoint.compression:
        options["skip_auto_headers"] = ("Accept-Encoding",)
    if endpoint.proxy is not None and not endpoint.proxy.scheme.startswith("socks5"):
        options["proxy"] = f"{endpoint.proxy.scheme}://{endpoint.proxy.authority}"
        if endpoint.tls is not None:
            options["proxy_headers"] = _proxy_authorization(endpoint.proxy)
    return options


def _proxy_authorization(proxy: Url) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{proxy.username}:{proxy.password or ''}".encode()
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair).decode()}"}
