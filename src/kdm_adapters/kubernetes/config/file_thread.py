"""A thread for files whose file system may not answer, so that nobody else waits for it."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from typing import Final, TypeVar

from kdm_adapters.side_thread import Stalled, fulfil, leave_signals

_T = TypeVar("_T")

_LATE: Final = "the file system does not answer"


class FileThread:
    """Does one job after another on a daemon thread that ends when there is nothing to do: nobody has to close this.

    A file system that hangs costs one thread, however often it is asked, and keeps no process from ending.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._jobs: deque[Callable[[], None]] = deque()
        self._busy = False
        self._late: Future[None] | None = None

    def call(self, job: Callable[[], _T], wait_s: float) -> _T:
        """Have a job done and wait for it, in any thread.

        Args:
            job: What to do.
            wait_s: How long to wait, in seconds. As long as what was late once is not done: not at all.

        Returns:
            What the job returns; what it raises is raised.

        Raises:
            Stalled: It was not done in time. It will be, unless it had not begun.
        """
        result = self._begin(job)
        try:
            return result.result(wait_s)
        except NotYet:
            if result.done():
                raise  # the job's own
            raise self._give_up(result) from None

    async def wait(self, job: Callable[[], _T], wait_s: float) -> _T:
        """Do the same without holding up the event loop. Being cancelled does not end a job that has begun."""
        result = self._begin(job)
        done = asyncio.wrap_future(result)
        try:
            if (await asyncio.wait({done}, timeout=wait_s))[0]:
                return done.result()
        finally:
            done.cancel()
        raise self._give_up(result)

    def _begin(self, job: Callable[[], _T]) -> Future[_T]:
        if self._late is not None and not self._late.done():
            raise Stalled(errno.EAGAIN, _LATE)
        return self._submit(job)

    def _give_up(self, result: Future[_T]) -> Stalled:
        result.cancel()
        self._late = self._submit(lambda: None)  # done when all before it is
        return Stalled(errno.EAGAIN, _LATE)

    def _submit(self, job: Callable[[], _T]) -> Future[_T]:
        result: Future[_T] = Future()
        with self._guard:
            self._jobs.append(lambda: fulfil(result, job))
            if self._busy:
                return result
            self._busy = True
        threading.Thread(target=self._run, name="kdm-files", daemon=True).start()
        return result

    def _run(self) -> None:
        leave_signals()
        while True:
            with self._guard:
                if not self._jobs:
                    self._busy = False
                    return
                job = self._jobs.popleft()
            with suppress(RuntimeError):  # the event loop that asked is closed
                job()
