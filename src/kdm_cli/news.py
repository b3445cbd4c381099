"""What a command that stays has to react to, in one queue: events of streams, ends of waits, a pipe that closed.

Threads wait on the network and put news into the queue; the main thread takes it out. So Ctrl-C always finds the main
thread at the queue, and nothing is shown by two threads.
"""

from __future__ import annotations

import os
import queue
import random
import select
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from kdm_cli.client import stream
from kdm_cli.client.connection import Connection, may_come_back
from kdm_cli.contexts import Context
from kdm_cli.exits import CommandError

RETRY_S: Final = (0.5, 10.0)
"""The shortest and the longest pause before a stream is opened again, in seconds."""

JOIN_S: Final = 2.0


class PipeClosed(Exception):
    """Nobody reads what the command prints any more."""


class News(NamedTuple):
    """One thing that happened.

    Attributes:
        kind: ``change`` (a Deployment's, ``what`` says which kind), ``synced``, ``lost``, ``back``, ``failed``,
            ``ended`` (a wait), ``pipe``.
        origin: Whose news it is: a context's name, or a wait's target.
        what: More on the kind.
        data: What comes with it.
    """

    kind: str
    origin: Any = ""
    what: str = ""
    data: Any = None


class Desk:
    """The queue, and the threads that fill it. They end with the block that it is used in.

    Args:
        clock: The time in seconds, for deadlines.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.stopping = threading.Event()
        self._queue: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._connections: list[Connection] = []
        self._wake, self._woken = os.pipe()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stopping.set()
        os.close(self._woken)
        for connection in self._connections:
            connection.abort()
        for thread in self._threads:
            thread.join(JOIN_S)
        os.close(self._wake)

    def put(self, news: News) -> None:
        """Say that something happened. Safe from any thread."""
        self._queue.put(news)

    def take(self, timeout_s: float | None = None) -> News | None:
        """Return the next news; None where none came in time.

        Args:
            timeout_s: How long to wait, in seconds; None for as long as it takes.

        Raises:
            PipeClosed: Nobody reads what the command prints.
            CommandError: A stream cannot go on.
        """
        try:
            news = self._queue.get(timeout=None if timeout_s is None else max(0.0, timeout_s))
        except queue.Empty:
            return None
        if news.kind == "pipe":
            raise PipeClosed
        if news.kind == "failed":
            raise news.data
        return news

    def start(self, work: Callable[[], None]) -> None:
        """Run something in a thread of its own."""
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def connection(self, context: Context) -> Connection:
        """Return a connection for a thread, which is broken off at the end."""
        connection = Connection(context)
        self._connections.append(connection)
        return connection

    def watch_pipe(self) -> None:
        """Put a news where standard output is a pipe that is closed by its reader."""
        try:
            descriptor = sys.stdout.fileno()
        except (OSError, ValueError):
            return
        poll = select.poll()
        poll.register(descriptor, 0)  # POLLERR is always reported: poll(2)
        poll.register(self._wake, 0)  # POLLHUP, at the end

        def wait() -> None:
            ready = [number for number, _ in poll.poll()]
            if descriptor in ready and not self.stopping.is_set():
                self.put(News("pipe"))

        self.start(wait)

    def follow(self, context: Context, path: str, query: Mapping[str, str | None]) -> None:
        """Follow a stream until the end, over any number of connections. Its news are of the context's name."""
        connection = self.connection(context)
        self.start(lambda: _follow(self, connection, path, query))


def _follow(desk: Desk, connection: Connection, path: str, query: Mapping[str, str | None]) -> None:
    origin = connection.context.name
    mirror = stream.Mirror()
    pause_s, lost = RETRY_S[0], False
    while not desk.stopping.is_set():
        try:
            for event in stream.read(connection, path, query, mirror.last_id):
                if lost:
                    desk.put(News("back", origin))
                    lost = False
                pause_s = RETRY_S[0]
                for kind, body in mirror.apply(event):
                    desk.put(News("change", origin, kind, body))
                if event.kind in {"synced", "stale", "fresh"}:
                    desk.put(News(event.kind, origin))
        except CommandError as error:
            if not may_come_back(error) or not mirror.complete:
                if not desk.stopping.is_set():
                    desk.put(News("failed", origin, data=error))
                return
            if not lost:
                desk.put(News("lost", origin, str(error)))
            lost = True
        mirror.connect_again()
        desk.stopping.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - so that not all come back at once
        pause_s = min(2 * pause_s, RETRY_S[1])
