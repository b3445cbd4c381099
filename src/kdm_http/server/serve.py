"""The server: the API over mutual TLS, probes and metrics on a plain port, one event loop, a graceful stop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, Final, Literal

import structlog
from attrs import evolve, field, frozen

from kdm_http.file_watch import POLL_S
from kdm_http.server import descriptors, signals
from kdm_http.server.application import AnswerAtOnce
from kdm_http.server.connection import Connection
from kdm_http.server.context import ListenerContext
from kdm_http.server.events import ServerEvents
from kdm_http.server.limits import ClientQuota, Limits
from kdm_http.server.listener import BindError, Listener, bind
from kdm_http.server.responses import within
from kdm_http.server.threads import AbandonableThreads
from kdm_http.server.uvicorn_seam import ASGI3Application, Config, ServerState
from kdm_http.tls.context import TlsConfigurationError, TlsFiles
from kdm_http.tls.reload import ServerTls

__all__ = [
    "Addresses",
    "BindError",
    "Limits",
    "ServerConfig",
    "ServerError",
    "ServerEvents",
    "TlsConfigurationError",
    "TlsFiles",
    "run",
    "serve",
]

OPS_GRACE_S: Final = 0.2
"""How long the ops listener waits for probes under way when it stops, in seconds."""

_log = structlog.get_logger("kdm.server")


class ServerError(Exception):
    """The server cannot start; the message says why, on one line. See also ``BindError``, ``TlsConfigurationError``."""


_utc_now: Final = functools.partial(datetime.now, UTC)


@frozen
class ServerConfig:
    """How to serve.

    Attributes:
        tls: The certificate files of the API. They are polled and may be replaced at any time.
        host: Where the API listens: a name or an address, "" for every address.
        port: The API's port; 0 lets the system choose.
        ops_host: Where probes and metrics are served, without TLS.
        ops_port: Their port; 0 lets the system choose.
        limits: The limits of the API. Those of the ops listener are the same, except for ``ops_connections``.
        ops_connections: How many connections the ops listener has at a time.
        minimum_tls_version: 1.3, or 1.2 for clients that do not have it (with forward secret AEAD suites only).
        development: Whether kdm's public development certificates are accepted (``--dev``).
        loop: Which event loop ``run`` makes; "auto" is uvloop where it is installed.
        reload_poll_s: How often the certificate files are read, in seconds.
        now: Returns the time, in UTC, at which new files are checked and clients are checked again. OpenSSL checks
            clients by the system's clock. Tests set it.
    """

    tls: TlsFiles
    host: str = ""
    port: int = 8443
    ops_host: str = ""
    ops_port: int = 8080
    limits: Limits = field(factory=Limits)
    ops_connections: int = 64
    minimum_tls_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    development: bool = False
    loop: Literal["auto", "asyncio", "uvloop"] = "auto"
    reload_poll_s: float = POLL_S
    now: Callable[[], datetime] = _utc_now


@frozen
class Addresses:
    """Where the server listens: host and port of each bound address (one name may have several)."""

    api: tuple[tuple[str, int], ...]
    ops: tuple[tuple[str, int], ...]


async def serve(
    api_app: ASGI3Application,
    ops_app: ASGI3Application,
    *,
    config: ServerConfig,
    lifespan: AbstractAsyncContextManager[object] | None = None,
    started: Callable[[Addresses], None] = lambda _: None,
    events: ServerEvents | None = None,
    stop: asyncio.Event | None = None,
    read_again: Callable[[], None] = lambda: None,
) -> None:
    """Serve both applications until asked to stop, then stop gracefully.

    The order: certificates are read, both ports are bound, ``lifespan`` is entered, the applications' ASGI lifespans
    begin, connections are accepted, ``started`` is called. On SIGINT or SIGTERM (when run on the main thread), or when
    ``stop`` is set: the API accepts no more, closes connections that stay idle, and the others with their next
    response, within ``limits.grace_s``; then the ops listener stops, then the applications' lifespans end, then
    ``lifespan``. A second signal ends the grace period early. See :mod:`kdm_http.server.signals` for the others.

    Each request of the API finds the client, a :class:`~kdm_http.tls.peer.Peer`, in ``scope["state"]["peer"]``. Both
    applications find an :class:`asyncio.Event` in ``scope["state"]["stopping"]``, set as soon as the stop begins: an
    endless stream should end then, and the server is no longer ready.

    Args:
        api_app: The API, an ASGI 3 application.
        ops_app: Liveness, readiness and metrics, an ASGI 3 application. Anybody can reach it.
        config: How to serve.
        lifespan: What has to exist as long as requests are served, such as the repository; entered and left on this
            loop.
        started: Called with the addresses once the server listens.
        events: Called for connections, rejections and reloads.
        stop: Stops the server when set.
        read_again: Called on SIGHUP, after the certificate files were read again: to read other files again.

    Raises:
        TlsConfigurationError: The certificate files cannot be used.
        BindError: A port cannot be listened on.
        ServerError: An application's lifespan refused to start.
    """
    events = events or ServerEvents()
    stop = stop or asyncio.Event()
    hurry = asyncio.Event()
    stopping = asyncio.Event()
    tls = await asyncio.to_thread(  # a file system that hangs must not block signals
        ServerTls,
        config.tls,
        minimum_version=config.minimum_tls_version,
        development=config.development,
        now=config.now,
        events=events,
    )
    async with contextlib.AsyncExitStack() as stack:
        api_sockets = await bind(config.host, config.port)
        stack.callback(_close_all, api_sockets)
        ops_sockets = await bind(config.ops_host, config.ops_port)
        stack.callback(_close_all, ops_sockets)
        stack.enter_context(signals.handled(stop, hurry, functools.partial(_read_again, tls, read_again)))
        if lifespan is not None:
            await stack.enter_async_context(lifespan)

        limits = config.limits
        api = await _listener(stack, "api", api_sockets, api_app, limits, config, events, stopping, tls)
        ops_limits = evolve(limits, connections=config.ops_connections, grace_s=OPS_GRACE_S)
        ops = await _listener(stack, "ops", ops_sockets, ops_app, ops_limits, config, events, stopping, None)

        watching = asyncio.create_task(tls.watch(api.revalidate, config.reload_poll_s))
        stopped = asyncio.create_task(stop.wait())
        try:
            addresses = Addresses(api.addresses, ops.addresses)
            api.open()
            ops.open()
            _log.info("serving", api=addresses.api, ops=addresses.ops)
            started(addresses)
            await asyncio.wait({watching, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.set()
            _log.info("stopping")
            api.close()
            await _end(watching, stopped)
            await api.drain(hurry)
            ops.close()
            await ops.drain(hurry)
        if not watching.cancelled():
            watching.result()
    _log.info("stopped")


def run(
    api_app: ASGI3Application,
    ops_app: ASGI3Application,
    *,
    config: ServerConfig,
    lifespan: AbstractAsyncContextManager[object] | None = None,
    started: Callable[[Addresses], None] = lambda _: None,
    events: ServerEvents | None = None,
    read_again: Callable[[], None] = lambda: None,
) -> None:
    """Make an event loop and ``serve`` on it until a signal comes. See ``serve`` for arguments and errors."""
    descriptors.provide(config.limits.connections + config.ops_connections)
    serving = serve(
        api_app, ops_app, config=config, lifespan=lifespan, started=started, events=events, read_again=read_again
    )
    with asyncio.Runner(loop_factory=_loop_factory(config.loop)) as runner:
        runner.get_loop().set_default_executor(AbandonableThreads())  # a resolver that hangs does not delay the end
        runner.run(serving)


def _loop_factory(name: Literal["auto", "asyncio", "uvloop"]) -> Callable[[], asyncio.AbstractEventLoop]:
    if name != "asyncio":
        try:
            import uvloop  # noqa: PLC0415  # not on every platform

            return uvloop.new_event_loop
        except ImportError:
            if name == "uvloop":
                raise ServerError("the event loop uvloop is not installed") from None
    return asyncio.new_event_loop


async def _listener(
    stack: contextlib.AsyncExitStack,
    name: str,
    sockets: tuple[socket.socket, ...],
    app: ASGI3Application,
    limits: Limits,
    config: ServerConfig,
    events: ServerEvents,
    stopping: asyncio.Event,
    tls: ServerTls | None,
) -> Listener:
    uvicorn_config = Config(
        within(app, limits.request_s, lambda status: events.request_refused(name, status, None)),
        http=Connection,
        ws="none",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
    uvicorn_config.load()
    state = await stack.enter_async_context(_app_lifespan(name, uvicorn_config))
    answer_at_once: AnswerAtOnce | None = getattr(app, "answer_at_once", None)
    quota = ClientQuota(limits, time.monotonic)
    context = ListenerContext(name, limits, events, config.now, quota, ServerState(), tls, answer_at_once)
    return Listener(sockets, uvicorn_config, context, {**state, "stopping": stopping})


@contextlib.asynccontextmanager
async def _app_lifespan(name: str, config: Config) -> AsyncIterator[dict[str, Any]]:
    lifespan = config.lifespan_class(config)
    await lifespan.startup()
    if lifespan.should_exit:
        raise ServerError(f"the {name} application failed to start")
    try:
        yield lifespan.state
    finally:
        await lifespan.shutdown()


def _read_again(tls: ServerTls, read_others: Callable[[], None]) -> None:
    _log.info("reading certificates and policy again")
    tls.reload()
    read_others()


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def _close_all(sockets: tuple[socket.socket, ...]) -> None:
    for sock in sockets:
        sock.close()
