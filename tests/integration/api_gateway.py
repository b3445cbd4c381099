"""A reverse proxy to a real API server that can keep kdm from watching while it lets writes through, or the reverse.

A TCP proxy (`proxy.py`) cannot tell one from the other. This one speaks plain HTTP on loopback to kdm, and adds the
administrator's credentials towards the API server.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from kdm_adapters.kubernetes.api.connections import Answer

from .proxy import TURNS_UNTIL_SERVED

__all__ = ["ApiGateway", "administrator", "page"]

_MESSAGES = {
    # as the API server's authorizer puts it: the same status comes from quotas and webhooks, with other words
    "Forbidden": 'deployments.apps "web" is forbidden: User "kdm" cannot patch resource "deployments/scale" '
    'in API group "apps" in the namespace "default"',
}
_HOP_BY_HOP = {"connection", "content-encoding", "content-length", "host", "transfer-encoding"}


@asynccontextmanager
async def administrator(kubeconfig: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Make a client of the API server with a kubeconfig's certificate; paths are relative to the server."""
    content = yaml.safe_load(kubeconfig)
    cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    context = ssl.create_default_context(cadata=_decoded(cluster, "certificate-authority-data").decode())
    with tempfile.NamedTemporaryFile() as pem:
        pem.write(_decoded(user, "client-certificate-data") + b"\n" + _decoded(user, "client-key-data"))
        pem.flush()
        context.load_cert_chain(pem.name)
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    async with aiohttp.ClientSession(cluster["server"], connector=connector, response_class=Answer) as session:
        yield session


class ApiGateway:
    """Passes everything until told otherwise.

    Args:
        upstream: The API server's administrator.

    Attributes:
        watches_broken: Whether lists and watches are cut off. Reads of one Deployment still pass.
        broken_namespace: In which namespace alone they are; "" for none.
        write_refusal: What a PATCH is answered instead of being passed on: status and Kubernetes reason.
        mute: Whether PATCHes and probes are swallowed: there is no answer, ever.
        speaks: What PATCHes and probes are answered with instead of being passed on.
        speaks_to_all: Whether lists and watches are answered so, too.
    """

    def __init__(self, upstream: aiohttp.ClientSession) -> None:
        self._upstream = upstream
        self._reads: set[asyncio.BaseTransport] = set()
        self.watches_broken = False
        self.broken_namespace = ""
        self.write_refusal: tuple[int, str] | None = None
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self.mute = False
        self.speaks: Callable[[web.Request], web.Response] | None = None
        self.speaks_to_all = False
        self.url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[ApiGateway]:
        """Listen on a free port for as long as the block lasts."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0, access_log=None)
        await runner.setup()
        try:
            self._runner = runner
            await self._listen(0)
            yield self
        finally:
            self.cut_watches()
            for _ in range(TURNS_UNTIL_SERVED):  # whatever was accepted until now is the server's own, and ends with it
                await asyncio.sleep(0)
            await runner.cleanup()

    async def leave(self) -> None:
        """Refuse connections, and end those there are: nothing can reach the API server."""
        assert self._runner is not None
        assert self._runner.server is not None
        assert self._site is not None
        await self._site.stop()
        self._site = None
        for connection in self._runner.server.connections:
            if connection.transport is not None:
                _abort(connection.transport)

    async def come_back(self) -> None:
        """Listen again, on the same port; nothing happens where it never left."""
        if self._site is None:
            await self._listen(int(self.url.rpartition(":")[2]))

    async def _listen(self, port: int) -> None:
        assert self._runner is not None
        self._site = web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True)
        await self._site.start()
        host, port, *_ = self._runner.addresses[0]
        self.url = f"http://{host}:{port}"

    def cut_watches(self) -> None:
        """End every list and watch under way with a reset."""
        for transport in self._reads:
            _abort(transport)

    def kubeconfig(self, directory: Path) -> Path:
        """Write a kubeconfig that leads here."""
        path = directory / "gateway-kubeconfig"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "gateway",
            "clusters": [{"name": "gateway", "cluster": {"server": self.url}}],
            "users": [{"name": "gateway", "user": {}}],
            "contexts": [{"name": "gateway", "context": {"cluster": "gateway", "user": "gateway"}}],
        }
        path.write_text(yaml.safe_dump(content))
        return path

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        follows = (
            request.method == "GET"
            and request.path.endswith(("/deployments", "/horizontalpodautoscalers"))
            and not request.query.get("fieldSelector", "")
        )
        transport = request.transport
        if transport is None:  # the client has gone
            return web.Response()
        if follows and (self.watches_broken or f"/namespaces/{self.broken_namespace}/" in request.path):
            _abort(transport)
            return web.Response()
        if self.mute and not follows:
            await asyncio.Event().wait()  # until the client gives up, which cancels this
        looks_up = "fieldSelector" in request.query
        if self.speaks is not None and (self.speaks_to_all or not (follows or looks_up)):
            return self.speaks(request)
        if request.method == "PATCH" and self.write_refusal is not None:
            return _refuse(*self.write_refusal)
        if not follows:
            return await self._pass(request)
        self._reads.add(transport)
        try:
            return await self._pass(request)
        finally:
            self._reads.discard(transport)

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        async with self._upstream.request(
            request.method,
            request.path_qs,
            headers=headers,
            data=await request.read() or None,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            response = web.StreamResponse(
                status=answer.status,
                headers={name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP},
            )
            try:
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
            except BaseException:
                if answer.connection is not None and answer.connection.transport is not None:
                    answer.connection.transport.abort()  # a close in good order would outlive the event loop
                raise
            return response


def _abort(transport: asyncio.BaseTransport) -> None:
    assert isinstance(transport, asyncio.WriteTransport)
    transport.abort()


def _refuse(code: int, reason: str) -> web.Response:
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": _MESSAGES.get(reason, f"the gateway says {reason}"),
    }
    headers = {"Retry-After": "1"} if code == 429 else {}
    return web.json_response(status, status=code, headers=headers)


def page(code: int, text: str = "No such site", **headers: str) -> Callable[[web.Request], web.Response]:
    """Return what answers with a page for people."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    body = f"<html><head><title>{code}</title></head><body><h1>{text}</h1></body></html>"
    return lambda _: web.Response(status=code, text=body, content_type="text/html", headers=fields)


def _decoded(of: dict[str, Any], key: str) -> bytes:
    return base64.b64decode(of[key])
