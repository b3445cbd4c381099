"""A thread for what may stand still, such as a disk or the reader of a pipe, so that nobody else does."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final, TypeVar
from weakref import WeakSet

_FAULTS: Final = {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV}
"""What a thread brings upon itself."""

_T = TypeVar("_T")
_Jobs = SimpleQueue[Callable[[], Any] | None]


STARVED_S: Final = 1.0
"""How long an idle thread may take to begin, in seconds: a node that is short of CPU takes its time, which says nothing
of the disk or the reader.
"""

TURNS: Final = 10
"""In how many pieces a call waits. A process that stands still as a whole, with its machine or at its CPU limit (for up
to 0.1 s, the period of the kernel's quota), has then waited for one piece more, not for all of its time.
"""


class Stalled(BlockingIOError):
    """What was asked for was not done in time. It may be done later."""


class SideThread:
    """Does one job after another on a daemon thread, which is started with the first. Usable from any thread.

    A process that is forked has no thread of its parent's: it begins with one of its own, and with nothing to do.

    Args:
        name: The thread's name.
        stalled: What to say of a job that was not done in time.
    """

    def __init__(self, name: str, stalled: str = "it does not keep up") -> None:
        self._name = name
        self._stalled = stalled
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        self._guard = threading.RLock()  # a log line may be written by a signal handler or a finalizer
        self._one_call = threading.Lock()
        self._jobs: _Jobs = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._overdue: Future[Any] | None = None

    def do(self, job: Callable[[], object]) -> None:
        """Have a job done, which must not raise. Returns at once."""
        with self._guard:
            if self._thread is None:
                self._jobs = SimpleQueue()
                self._thread = threading.Thread(target=_work, args=(self._jobs,), name=self._name, daemon=True)
                self._thread.start()
            self._jobs.put(job)

    def call(self, job: Callable[[], _T], wait_s: float) -> _T:
        """Have a job done and wait for it. Calls that overlap wait for each other.

        Args:
            job: What to do.
            wait_s: How long to wait from when the thread begins, in seconds in which this process runs. As long as an
                earlier call is overdue: not at all.

        Raises:
            Stalled: It was not done in time. It will be, unless it had not begun.
            OSError: What the job raised.
        """
        turn_s = wait_s / TURNS
        if not any(self._one_call.acquire(timeout=turn_s) for _ in range(TURNS)):
            raise Stalled(errno.EAGAIN, self._stalled)
        try:
            if self._overdue is not None and not self._overdue.done():
                raise Stalled(errno.EAGAIN, self._stalled)
            self._overdue = None
            result: Future[_T] = Future()
            begun = threading.Event()

            def work() -> None:
                begun.set()
                fulfil(result, job)

            self.do(work)
            for turn in range(TURNS):
                with suppress(NotYet):  # nearly always it is done by then, and this thread was woken up only once
                    return result.result(turn_s)
                if turn == 0 and not begun.wait(STARVED_S):
                    break
            if not result.cancel():
                self._overdue = result
            raise Stalled(errno.EAGAIN, self._stalled)
        finally:
            self._one_call.release()

    def drain(self, wait_s: float) -> bool:
        """Wait until everything asked for so far is done, at most so many seconds. Returns whether it is."""
        if self._thread is None:
            return True
        done = threading.Event()
        self.do(done.set)
        return done.wait(wait_s)

    def close(self, wait_s: float) -> None:
        """Have the rest done, end the thread, and wait for that. The next job starts another.

        Args:
            wait_s: How long to wait at most, in seconds. Then the thread is left to itself; it keeps no process alive.
        """
        with self._guard:
            thread, self._thread = self._thread, None
            self._jobs.put(None)
        if thread is not None:
            thread.join(wait_s)


_all: Final[WeakSet[SideThread]] = WeakSet()


def _begin_again() -> None:
    for each in _all:
        each._begin()  # noqa: SLF001 - its locks may be held by a thread that is not here


os.register_at_fork(after_in_child=_begin_again)


def leave_signals() -> None:
    """Have this thread, which starts no process, get no signals: they are for the main thread.

    Of many at once the system gives some to others, and faulthandler, which writes all stacks on a signal, can crash
    where the main thread runs meanwhile.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _FAULTS)


def _work(jobs: _Jobs) -> None:
    leave_signals()
    while (job := jobs.get()) is not None:
        job()


def fulfil(result: Future[_T], job: Callable[[], _T]) -> None:
    """Do a job for whoever waits for its result, unless that was given up before it began. Raises nothing."""
    if not result.set_running_or_notify_cancel():
        return
    try:
        value = job()
    except BaseException as error:  # noqa: BLE001 - raised where it is awaited
        with suppress(Exception):
            result.set_exception(error)
    else:
        result.set_result(value)
