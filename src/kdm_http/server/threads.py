"""Threads for calls that may hang for ever: the process does not wait for them when it ends."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar

MAX_THREADS: Final = 64
"""How many calls may run at a time; more wait for their turn. Python's own default executor has at most 32."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class AbandonableThreads(ThreadPoolExecutor):
    """An executor whose threads do not keep the process from ending. Meant as an event loop's default executor.

    Name resolution and file systems can hang for any time. The threads of :class:`ThreadPoolExecutor` are waited for
    when their event loop is closed, and again when the interpreter ends; these are not.
    """

    def __init__(self) -> None:
        super().__init__(1)  # its own thread is never started
        self._calls: deque[Callable[[], None]] = deque()
        self._busy = 0
        self._guard = threading.Lock()

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Call a function on a thread. See :meth:`concurrent.futures.Executor.submit`."""
        future: Future[_T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - the caller gets it
                _deliver(future.set_exception, error)
            else:
                _deliver(future.set_result, result)

        with self._guard:
            if self._busy == MAX_THREADS:
                self._calls.append(call)
                return future
            self._busy += 1
        threading.Thread(target=self._run, args=(call,), name="kdm-thread", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 - see the class
        """Do not wait for calls that are under way."""
        super().shutdown(wait=False, cancel_futures=cancel_futures)

    def _run(self, call: Callable[[], None]) -> None:
        while True:
            call()
            with self._guard:
                if not self._calls:
                    self._busy -= 1
                    return
                call = self._calls.popleft()


def aside(job: Callable[[], _T]) -> _T:
    """Do a job that may hang on a daemon thread, and wait for it.

    A thread that hangs in a file system runs no signal handlers, and without a handler no signal ends process 1 of a
    container. A thread that waits for another one does run them.

    Returns:
        What the job returns; what it raises is raised.
    """
    future: Future[_T] = Future()

    def work() -> None:
        try:
            result = job()
        except BaseException as error:  # noqa: BLE001 - the caller gets it
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=work, name="kdm-aside", daemon=True).start()
    return future.result()


def _deliver(deliver: Callable[[Any], None], outcome: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the event loop that waits is closed
        deliver(outcome)
