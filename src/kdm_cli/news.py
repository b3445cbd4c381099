"""What a command that stays has to react to, in one queue: events of streams, ends of waits, a pipe that closed.

Threads wait on the network and put news into the queue; the main thread takes it out. So Ctrl-C always finds the main
thread at the queue, and nothing is shown by two threads.
"""

from __future__ import annotations

import os
import queue
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

from kdm_cli.client.api import Kdm
from kdm_cli.client.mirror import Mirror
from kdm_cli.contexts import Context
from kdm_cli.exits import CommandError

T = TypeVar("T")

JOIN_S: Final = 1.0
"""How long all threads may take to end, in seconds. One that takes longer, as it still connects, is left behind."""


class PipeClosed(Exception):
    """Nobody reads what the command prints any more."""


class News(NamedTuple):
    """One thing that happened.

    Attributes:
        kind: ``change`` (a Deployment's, ``what`` says which kind), ``synced``, ``lost``, ``back``, ``gone`` (a stream
            that does not come back), ``failed``, ``ended`` (a wait), ``answer``, ``pipe``.
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
        self._asking: list[Kdm] = []
        self._wake, self._woken = os.pipe()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stopping.set()
        os.close(self._woken)
        for kdm in self._asking:
            kdm.abort()
        until = time.monotonic() + JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        for kdm in self._asking:
            kdm.close()
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
            Exception: A thread failed with it.
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
        """Run something in a thread of its own. What it fails with is news: nobody waits for a thread that is gone."""

        def guarded() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - the main thread raises it
                if not self.stopping.is_set():
                    self.put(News("failed", data=error))

        thread = threading.Thread(target=guarded, daemon=True)
        self._threads.append(thread)
        thread.start()

    def kdm(self, context: Context) -> Kdm:
        """Return what a thread asks a kdm with: broken off at the end."""
        kdm = Kdm(context, self.stopping.wait)
        self._asking.append(kdm)
        return kdm

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

    def follow(
        self, context: Context, namespace: str | None, selector: str = "", states: str = "", *, alone: bool = True
    ) -> None:
        """Follow a stream until the end, over any number of connections. Its news are of the context's name.

        Args:
            context: Which kdm to ask.
            namespace: Of which namespace; None for all.
            selector: A label selector.
            states: States of a rollout.
            alone: Whether there is no other stream to show. One that cannot go on ends everything then; else it is
                news, ``gone``, and a server that does not answer yet is tried again.
        """
        kdm = self.kdm(context)
        self.start(lambda: _follow(self, kdm, kdm.events(namespace, selector, states, patient=not alone), alone=alone))


def ask_each(contexts: Sequence[Context], ask: Callable[[Kdm], T]) -> list[T]:
    """Ask several kdm at the same time, and return their answers in the contexts' order. Ctrl-C ends it.

    Args:
        contexts: Which kdm to ask.
        ask: Asks one. Runs in a thread of its own.

    Raises:
        Exception: One failed with it.
    """
    answers: dict[str, T] = {}
    with Desk() as desk:

        def work(kdm: Kdm) -> None:
            desk.put(News("answer", kdm.context.name, data=ask(kdm)))

        for context in contexts:
            desk.start(partial(work, desk.kdm(context)))
        while len(answers) < len(contexts):
            news = desk.take()
            if news is not None:
                answers[news.origin] = news.data
    return [answers[each.name] for each in contexts]


def _follow(desk: Desk, kdm: Kdm, events: Iterator[tuple[str, dict[str, Any]]], *, alone: bool) -> None:
    origin, mirror, lost = kdm.context.name, Mirror(), False
    try:
        for name, data in events:
            if desk.stopping.is_set():
                return
            if name == "interrupted":
                mirror.interrupted()
                if not lost:
                    desk.put(News("lost", origin, data["why"]))
                lost = True
                continue
            if lost:
                desk.put(News("back", origin))
                lost = False
            for kind, body in mirror.apply(name, data):
                desk.put(News("change", origin, kind, body))
            if name in {"synced", "stale", "fresh"}:
                desk.put(News(name, origin))
    except CommandError as error:
        if not desk.stopping.is_set():
            desk.put(News("failed" if alone else "gone", origin, str(error), error))
