"""A TCP proxy between kdm and an API server, which makes the network as bad as a test wants it.

It sees bytes, not TLS: what it forwards is what was sent, late, slowly, in part or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import math
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeAlias, TypeVar

from .controlplane import kubeconfig

__all__ = ["Direction", "Proxy"]

T = TypeVar("T")
_Stream: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
# When it is due, and what: bytes, b"" for the end of the stream, None for a reset.
_InFlight: TypeAlias = tuple[float, bytes | None]

LOOPBACK = "127.0.0.1"
CHUNK_BYTES = 65536
IN_FLIGHT_CHUNKS = 16  # a network buffers about this much
CONNECT_TIMEOUT_S = 5.0
CONTROL_TIMEOUT_S = 10.0  # longer: a cut waits for a connection that is being made
SLICES_PER_S = 20  # how evenly a throttled stream flows
TURNS_UNTIL_SERVED = 8
"""How many turns of its loop asyncio takes at most from accept(2) to the function that serves, twice: one each for the
connection's task, its transport, `connection_made`, and the function's own task."""
LINGER_S = 5.0  # how long a half-closed peer has to close its half
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of zero: close() sends RST, see socket(7)


class Direction(enum.Enum):
    """Who sends to whom."""

    TO_SERVER = "to server"
    TO_CLIENT = "to client"


class Proxy:
    """Listens on a loopback port and connects each client to one server; a context manager.

    It runs in a thread of its own, so that it keeps going whatever blocks the test. Its methods may be called from any
    thread or event loop and have taken effect when they return. Faults hold for the connections there are and for new
    ones, add up, and stay until `heal`. What was held back is forwarded then, as after a real outage.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        accepted: How many connections clients have made.
        passed_bytes: What it has forwarded, for each Direction.
    """

    def __init__(self, host: str, port: int) -> None:
        """Describe a proxy to a server; `start` listens."""
        self.port = 0
        self.accepted = 0
        self.passed_bytes: Counter[Direction] = Counter()
        self._server_address = (host, port)
        self._faults = _Faults()
        self._connections: dict[_Connection, asyncio.Task[None]] = {}
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="proxy", daemon=True)
        self._started: Future[int] = Future()

    @classmethod
    def to(cls, kubeconfig_path: Path) -> Self:
        """Describe a proxy to the API server of a kubeconfig."""
        return cls(*kubeconfig.server_address(kubeconfig_path))

    def kubeconfig(self, like: Path, directory: Path) -> Path:
        """Write a copy of a kubeconfig that goes through this proxy."""
        return kubeconfig.redirect(directory / f"{like.stem}-through-{self.port}", like, LOOPBACK, self.port)

    def start(self) -> Self:
        """Listen."""
        self._thread.start()
        self.port = self._started.result(CONTROL_TIMEOUT_S)
        return self

    def stop(self) -> None:
        """Reset every connection and listen no more."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(CONTROL_TIMEOUT_S)
        if self._thread.is_alive():
            raise TimeoutError("the proxy did not end")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def wait_until(self, condition: Callable[[Self], bool], timeout_s: float = 30) -> None:
        """Wait until a condition on `accepted`, `open` or `passed_bytes` holds.

        Raises:
            TimeoutError: It did not within `timeout_s` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self), timeout_s):
                raise TimeoutError(f"still {self.accepted} accepted, {self.open} open, passed {self.passed_bytes}")

    def heal(self) -> None:
        """Take every fault away and forward what was held back."""
        self._in_loop(_Faults.heal)

    def cut(self, *, reset: bool = True) -> None:
        """End the connections there are, towards both sides. New ones are served.

        Args:
            reset: Whether with a TCP RST, as when a host restarts or a NAT forgets. Otherwise with a FIN, as when a
                load balancer closes: a TLS peer sees an end of file without close_notify.
        """
        ended = self._in_loop(lambda _: [connection.end(reset=reset) for connection in self._connections])
        for closed in ended:
            closed.result(CONTROL_TIMEOUT_S)

    def refuse(self) -> None:
        """Reset new connections as soon as they are made. Open ones are left alone: see `cut`."""
        self._set(refusing=True)

    def lead_to(self, port: int) -> None:
        """Connect new clients to another port of the same host, as a balancer does; the connections there are stay."""
        host, _ = self._server_address
        self._in_loop(lambda _: setattr(self, "_server_address", (host, port)))

    def black_hole(self, *directions: Direction) -> None:
        """Forward nothing, in these directions or in both, not even the end of a stream. Connections are accepted."""
        self._in_loop(lambda faults: faults.black_hole(directions or tuple(Direction)))

    def delay(self, seconds: float) -> None:
        """Forward every byte this much later, in both directions; the throughput stays."""
        self._set(delay_s=seconds)

    def throttle(self, bytes_per_s: float) -> None:
        """Forward at most this much, for each connection and direction."""
        self._set(bytes_per_s=bytes_per_s)

    def truncate(self, after_bytes: int, *, reset: bool = False) -> None:
        """Let each connection's server say this much more, then cut the connection in the middle of whatever it said.

        Args:
            after_bytes: How much passes from the server to the client: counted from now, or from the start of a new
                connection, whose TLS handshake is part of it (2 to 3 KB).
            reset: As in `cut`.
        """
        self._set(truncation=_Truncation(after_bytes, reset))

    def _set(self, **faults: object) -> None:
        self._in_loop(lambda current: vars(current).update(faults))

    def _in_loop(self, action: Callable[[_Faults], T]) -> T:
        """Perform an action where the connections live, between two of their steps."""

        async def perform() -> T:
            return action(self._faults)

        return asyncio.run_coroutine_threadsafe(perform(), self._loop).result(CONTROL_TIMEOUT_S)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        try:
            server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        except OSError as exc:
            self._started.set_exception(exc)
            return
        self._started.set_result(server.sockets[0].getsockname()[1])
        await self._stopping.wait()
        for listener in server.sockets:
            self._loop.remove_reader(listener.fileno())
        for _ in range(TURNS_UNTIL_SERVED):  # whom we accepted a moment ago is served first
            await asyncio.sleep(0)
        server.close()  # not before: asyncio drops a connection, unclosed, whose server was closed meanwhile
        for connection in self._connections:
            connection.end(reset=True)
        await asyncio.gather(*self._connections.values())
        await asyncio.sleep(0)  # what was aborted is closed on the next turn

    async def _serve(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        serving = asyncio.current_task()
        assert serving
        connection = _Connection((client_reader, client_writer), self._server_address, self._faults, self._count)
        with self._changed:
            self.accepted += 1
            self._connections[connection] = serving
            self._changed.notify_all()
        try:
            await connection.run()
        finally:
            with self._changed:
                del self._connections[connection]
                self._changed.notify_all()

    def _count(self, direction: Direction, passed_bytes: int) -> None:
        with self._changed:
            self.passed_bytes[direction] += passed_bytes
            self._changed.notify_all()


class _Faults:
    """What is wrong with the network now."""

    def __init__(self) -> None:
        self.gates = {direction: asyncio.Event() for direction in Direction}
        self.heal()

    def heal(self) -> None:
        self.refusing = False
        self.delay_s = 0.0
        self.bytes_per_s = math.inf
        self.truncation = _Truncation()
        for gate in self.gates.values():
            gate.set()

    def black_hole(self, directions: tuple[Direction, ...]) -> None:
        for direction in directions:
            self.gates[direction].clear()


@dataclass(frozen=True)
class _Truncation:
    """A new object for each time it is asked for, so that a connection knows when to count anew."""

    after_bytes: float = math.inf
    reset: bool = False


class _Connection:
    """One client's connection and the one to the server on its behalf."""

    def __init__(
        self,
        client: _Stream,
        server_address: tuple[str, int],
        faults: _Faults,
        count: Callable[[Direction, int], None],
    ) -> None:
        self._sides = [client]
        self._server_address = server_address
        self._faults = faults
        self._count = count
        self._truncation = faults.truncation
        self._left_bytes = self._truncation.after_bytes
        self._directions_open = len(Direction)
        self._ending: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._ended: Future[None] = Future()

    def end(self, *, reset: bool) -> Future[None]:
        """Ask for its end, and return what is done as soon as both sides were sent it."""
        if not self._ending.done():
            self._ending.set_result(reset)
        return self._ended

    async def run(self) -> None:
        """Connect to the server and forward until the end."""
        if self._faults.refusing:
            self.end(reset=True)
        else:
            await self._connect()
        forwarding = asyncio.ensure_future(self._forward())
        try:
            reset = await self._ending
            forwarding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await forwarding
            closing = [asyncio.ensure_future(_close(side, reset=reset)) for side in self._sides]
            await asyncio.sleep(0)  # each sends its FIN or RST before it first waits
        finally:
            self._ended.set_result(None)
        await asyncio.gather(*closing)

    async def _connect(self) -> None:
        """Connect to the server; whoever asks for the end meanwhile gets it on both sides."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                self._sides.append(await asyncio.open_connection(*self._server_address))
        except OSError:
            self.end(reset=True)  # as from a host where nobody listens

    async def _forward(self) -> None:
        if self._ending.done():
            return
        (client_reader, client_writer), (server_reader, server_writer) = self._sides
        async with asyncio.TaskGroup() as pumps:
            for direction, source, sink in (
                (Direction.TO_SERVER, client_reader, server_writer),
                (Direction.TO_CLIENT, server_reader, client_writer),
            ):
                in_flight: asyncio.Queue[_InFlight] = asyncio.Queue(IN_FLIGHT_CHUNKS)
                pumps.create_task(self._receive(source, in_flight))
                pumps.create_task(self._deliver(direction, in_flight, sink))

    async def _receive(self, source: asyncio.StreamReader, in_flight: asyncio.Queue[_InFlight]) -> None:
        loop = asyncio.get_running_loop()
        data: bytes | None = b"first"
        while data:
            try:
                data = await source.read(CHUNK_BYTES)
            except OSError:
                data = None  # the peer's RST, which travels like data
            await in_flight.put((loop.time() + self._faults.delay_s, data))

    async def _deliver(
        self, direction: Direction, in_flight: asyncio.Queue[_InFlight], sink: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s, data = await in_flight.get()
            await asyncio.sleep(due_s - loop.time())
            await self._faults.gates[direction].wait()
            try:
                if data:
                    await self._send(direction, data, sink)
                elif data is None:
                    raise ConnectionResetError
                else:
                    sink.write_eof()
                    break
            except OSError:  # this side is gone; shutdown() says ENOTCONN, which is no ConnectionError
                self.end(reset=True)
                return
        self._directions_open -= 1
        if not self._directions_open:
            self.end(reset=False)

    async def _send(self, direction: Direction, data: bytes, sink: asyncio.StreamWriter) -> None:
        while data:
            await self._faults.gates[direction].wait()
            rate = self._faults.bytes_per_s
            piece = data if rate == math.inf else data[: max(1, int(rate / SLICES_PER_S))]
            if direction is Direction.TO_CLIENT:
                piece = piece[: self._may_still_pass_bytes()]
            sink.write(piece)
            await sink.drain()
            data = data[len(piece) :]
            self._count(direction, len(piece))
            if direction is Direction.TO_CLIENT:
                self._left_bytes -= len(piece)
                if self._left_bytes <= 0:
                    self.end(reset=self._truncation.reset)
                    await asyncio.Event().wait()  # until we are cancelled
            await asyncio.sleep(len(piece) / rate)

    def _may_still_pass_bytes(self) -> int:
        if self._truncation is not self._faults.truncation:
            self._truncation = self._faults.truncation
            self._left_bytes = self._truncation.after_bytes
        return int(min(self._left_bytes, CHUNK_BYTES))


async def _close(stream: _Stream, *, reset: bool) -> None:
    """Send RST, or FIN, before the first suspension; then close."""
    reader, writer = stream
    if reset:
        peer: socket.socket = writer.get_extra_info("socket")
        with contextlib.suppress(OSError):  # it is gone already
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        writer.transport.abort()
    elif not writer.is_closing():
        with contextlib.suppress(OSError):
            writer.write_eof()
        # Closing with something unread would turn the FIN into an RST.
        with contextlib.suppress(OSError):
            async with asyncio.timeout(LINGER_S):
                while await reader.read(CHUNK_BYTES):
                    pass
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
