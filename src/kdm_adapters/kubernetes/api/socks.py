"""Connections through a SOCKS5 proxy (RFC 1928), on the libraries aiohttp-socks and python-socks."""

from __future__ import annotations

import asyncio
import ssl
from operator import itemgetter
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp_socks import ProxyConnector
from python_socks import ProxyConnectionError, ProxyType
from python_socks.async_.asyncio import Proxy

from kdm_adapters.kubernetes.api.resolver import Resolver
from kdm_adapters.kubernetes.api.sockets import adopt_socket
from kdm_adapters.kubernetes.config.urls import DEFAULT_PORTS, Url


def socks_connector(proxy: Url, server_name: str, tls: ssl.SSLContext | bool) -> aiohttp.TCPConnector:
    """Return a connector that goes through a proxy, which also resolves the server's name, as in Go.

    Args:
        proxy: The proxy.
        server_name: The name that the server's certificate must hold, where it is not the host's.
        tls: The server's TLS; False for none.
    """
    return _SocksConnector(proxy, server_name, limit=0, ssl=tls)


class _SocksConnector(ProxyConnector):
    """Connects with kdm's own sockets, which notice that a peer is gone, and with the right name for TLS."""

    def __init__(self, proxy: Url, server_name: str, **options: Any) -> None:
        super().__init__(proxy.host, proxy.port or DEFAULT_PORTS["socks5"], **options)
        self._proxy = proxy
        self._server_name = server_name
        self._proxys_names = Resolver()

    async def _connect_via_proxy(
        self,
        host: str,
        port: int,
        ssl: ssl.SSLContext | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        proxy_port = self._proxy.effective_port or DEFAULT_PORTS["socks5"]
        try:
            found = await self._proxys_names.look_up(self._proxy.host, proxy_port)
        except OSError as error:
            raise ProxyConnectionError(error.errno, f"the proxy's name cannot be resolved: {error}") from error
        *_, (proxy_address, *_) = min(found, key=itemgetter(0))  # IPv4 first, as python-socks has it
        proxy = Proxy(
            ProxyType.SOCKS5,
            proxy_address,
            proxy_port,
            self._proxy.username,
            self._proxy.password or "" if self._proxy.username is not None else None,
        )
        connected = adopt_socket(await proxy.connect(host, port, timeout=timeout))
        try:
            return await self._loop.create_connection(
                self._factory,
                sock=connected,
                ssl=ssl,
                server_hostname=(self._server_name or host) if ssl else None,
            )
        except BaseException:
            connected.close()
            raise
