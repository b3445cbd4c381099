"""A listener: bound sockets, the connections accepted from them, and their graceful end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import socket
from email.utils import formatdate
from typing import Any, Final

import structlog

from kdm_http.server.connection import Connection
from kdm_http.server.context import ListenerContext
from kdm_http.server.deadlines import OneShot
from kdm_http.server.leaving import linger_s
from kdm_http.server.uvicorn_seam import Config
from kdm_http.tls.handshake import Handshake, current
from kdm_http.tls.known_clients import KnownClient
from kdm_http.tls.rejection import Reason, Rejection

BACKLOG: Final = 2048
"""Connections the system holds until they are accepted; it may cut this to its own maximum."""

ACCEPT_BATCH: Final = 64
"""Connections accepted in a row before requests get their turn."""

ALERT_S: Final = 1.0
"""How long a client may take to read the alert of a failed handshake and to close, in seconds."""

TLS_CLOSE_S: Final = 10.0
"""How long a client may take to read the rest and to answer close_notify, in seconds."""

RESOLVE_S: Final = 10.0
"""How long the name of a host to listen on may take to be resolved, in seconds. A resolver may try for minutes
(resolv.conf(5): attempts times timeout, for each server)."""

CUT_S: Final = 0.5
"""How long the tasks that are cancelled after the grace period may take to end, in seconds."""

_FULL: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_NO_FAMILY: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}

_log = structlog.get_logger("kdm.server")


class BindError(Exception):
    """An address cannot be listened on; the message says which and why, on one line."""


async def bind(host: str, port: int) -> tuple[socket.socket, ...]:
    """Open listening sockets on every address a host name stands for.

    Args:
        host: A name or an address; "" for every address of the machine. "::" is every one too, IPv4 included.
        port: The port; 0 lets the system choose one, the same for all addresses.

    Raises:
        BindError: The name does not resolve, or an address cannot be bound.
    """
    try:
        found = await _addresses(host, port)
    except (OSError, UnicodeError) as exc:  # the latter for what IDNA cannot encode
        raise BindError(f"cannot listen on {_place(host, port)}: {getattr(exc, 'strerror', None) or exc}") from exc
    families = {family for family, *_ in found}
    bound: list[socket.socket] = []
    lacking: OSError | None = None
    with contextlib.ExitStack() as opened:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            # One port for all: the one the first address was given.
            wanted = (address[0], bound[0].getsockname()[1] if bound else port, *address[2:])
            try:
                sock = opened.enter_context(socket.socket(family, kind, protocol))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    # Alone, the unspecified address stands for IPv4 too, whatever net.ipv6.bindv6only says.
                    dual = address[0] == "::" and socket.AF_INET not in families
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
                sock.bind(wanted)
                sock.listen(BACKLOG)
                sock.setblocking(False)
            except OSError as exc:
                lacking = exc
                if exc.errno in _NO_FAMILY:
                    continue  # "localhost" may stand for ::1 on a machine without IPv6
                break
            bound.append(sock)
        else:
            if bound:
                opened.pop_all()
                return tuple(bound)
    reason = lacking.strerror if lacking else "no address"
    raise BindError(f"cannot listen on {_place(host or '*', port)}: {reason}") from lacking


async def _addresses(host: str, port: int) -> list[tuple[Any, ...]]:
    """Ask the system, on a thread of the event loop's executor: uvloop's own would be waited for in the end."""
    job = functools.partial(socket.getaddrinfo, host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    try:
        async with asyncio.timeout(RESOLVE_S):
            return await asyncio.to_thread(job)
    except TimeoutError as exc:
        raise OSError(errno.ETIMEDOUT, f"no name server answered within {RESOLVE_S:g} s") from exc


class Listener:
    """Serves one application on bound sockets. Belongs to the event loop it is used on."""

    def __init__(
        self, sockets: tuple[socket.socket, ...], config: Config, context: ListenerContext, state: dict[str, Any]
    ) -> None:
        """Take over sockets that listen already. ``open`` begins to accept.

        Args:
            sockets: The sockets.
            config: uvicorn's.
            context: What the connections have in common.
            state: The initial content of each request's ``scope["state"]``.
        """
        self._sockets = sockets
        self._config = config
        self._context = context
        self._state = state
        self._admitting: set[asyncio.Task[None]] = set()
        self._ticking: asyncio.TimerHandle | None = None
        context.emptied.set()

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """The addresses listened on, as host and port."""
        return tuple(sock.getsockname()[:2] for sock in self._sockets)

    def open(self) -> None:
        """Begin to accept connections."""
        self._tick()
        for sock in self._sockets:
            asyncio.get_running_loop().add_reader(sock, self._accept, sock)

    def close(self) -> None:
        """Accept no more connections. Those that are open, or wait to be accepted, are served until ``drain``."""
        for sock in self._sockets:
            self._accept(sock)
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        self._sockets = ()

    def revalidate(self) -> None:
        """Check the client of every connection again, and close those that are refused. Called after a reload."""
        for connection in list(self._context.state.connections):
            if isinstance(connection, Connection):
                connection.revalidate()

    async def drain(self, hurry: asyncio.Event) -> None:
        """End all connections: those that stay idle, and the others when their response is written.

        A handshake under way has the time of an idle connection to end: a request may follow it. After the grace period
        of the listener's limits connections are cut, and their tasks cancelled.

        Args:
            hurry: Ends the grace period early when set.
        """
        self._context.draining = True
        for connection in list(self._context.state.connections):
            connection.shutdown()
        ends: set[asyncio.Task[Any]] = {asyncio.create_task(self._emptied()), asyncio.create_task(hurry.wait())}
        try:
            await asyncio.wait(ends, timeout=self._context.limits.grace_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            await asyncio.wait(ends)
        await self._cut()
        if self._ticking is not None:
            self._ticking.cancel()

    async def _emptied(self) -> None:
        if self._admitting:
            await asyncio.wait(self._admitting, timeout=linger_s(self._context.limits.grace_s))
            await self._end_handshakes()
        await self._context.emptied.wait()
        while self._context.state.tasks:
            await asyncio.wait(self._context.state.tasks)

    async def _end_handshakes(self) -> None:
        for task in self._admitting:
            task.cancel()
        if self._admitting:
            await asyncio.wait(self._admitting)

    async def _cut(self) -> None:
        await self._end_handshakes()
        left = list(self._context.state.connections)
        if left:
            _log.warning("connections cut at the end of the grace", listener=self._context.name, connections=len(left))
        for connection in left:
            connection.transport.abort()
        for task in list(self._context.state.tasks):
            task.cancel()
        if self._context.state.tasks:
            await asyncio.wait(self._context.state.tasks, timeout=CUT_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CUT_S):
                await self._context.emptied.wait()

    def _tick(self) -> None:
        """Keep the date field current, and forget users who left."""
        date = (b"date", formatdate(usegmt=True).encode())
        defaults = self._context.state.default_headers = [date, *self._config.encoded_headers]
        self._context.default_head = b"".join([b"%b: %b\r\n" % field for field in defaults])
        self._context.quota.forget_quiet()
        self._ticking = asyncio.get_running_loop().call_later(1, self._tick)

    def _accept(self, listening: socket.socket) -> None:
        """Accept what is waiting. This is no task: one that is cancelled can lose the connection it was just given."""
        loop = asyncio.get_running_loop()
        for _ in range(ACCEPT_BATCH):
            try:
                sock, _ = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as exc:
                if exc.errno in _FULL:
                    _log.error("cannot accept connections", listener=self._context.name, reason=exc.strerror)
                    loop.remove_reader(listening)
                    loop.call_later(1, self._resume, listening)
                    return
                continue  # the client is gone already
            self._take(sock)

    def _resume(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _take(self, sock: socket.socket) -> None:
        if len(self._context.state.connections) + len(self._admitting) >= self._context.limits.connections:
            sock.close()
            self._context.events.connection_dropped(self._context.name)
            return
        sock.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._admit(sock))
        self._admitting.add(task)
        task.add_done_callback(functools.partial(self._admitted, sock))

    def _admitted(self, sock: socket.socket, task: asyncio.Task[None]) -> None:
        self._admitting.discard(task)
        if task.cancelled():
            sock.close()  # it may have been cancelled before its first step; closing twice is fine

    async def _admit(self, sock: socket.socket) -> None:
        """Take one connection through its handshake, until its protocol takes over."""
        loop, context = asyncio.get_running_loop(), self._context
        handshake = Handshake(_address(sock))
        material = context.tls.material if context.tls is not None else None

        def protocol() -> Connection:
            return Connection(
                self._config, context.state, self._state, loop, context=context, handshake=handshake, material=material
            )

        if material is None:
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(protocol, sock)
            return
        task, timer = asyncio.current_task(), OneShot(loop)
        assert task is not None  # noqa: S101 - a coroutine runs in a task

        def failed() -> None:
            self._reject(handshake)
            timer.start(ALERT_S, task.cancel)

        def expire() -> None:
            handshake.fail(TimeoutError())
            task.cancel()

        current.set(handshake)
        handshake.failed = failed
        timer.start(context.limits.handshake_s, expire)
        try:
            await loop.connect_accepted_socket(protocol, sock, ssl=material.context, ssl_shutdown_timeout=TLS_CLOSE_S)
        except OSError as exc:  # of which ssl.SSLError is one
            handshake.fail(exc)
        finally:
            timer.cancel()

    def _reject(self, handshake: Handshake) -> None:
        reason, detail = handshake.failure or (Reason.DISCONNECTED, "")
        shown = KnownClient.read((handshake.refused,) if handshake.refused else ())
        self._context.reject(
            Rejection(
                time=self._context.now(),
                address=handshake.address,
                reason=reason,
                detail=detail,
                user=shown.user,
                subject=shown.subject,
                fingerprint=shown.fingerprint,
            )
        )


def _address(sock: socket.socket) -> str:
    try:
        host, port = sock.getpeername()[:2]
    except OSError:
        return ""
    host = host.removeprefix("::ffff:") if "." in host else host  # IPv4 on a socket for both
    return _place(host, port)


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
