"""What signals do while kdm serves: stop it, make it read its files again, or show what it is doing.

| signal | what it does |
|---|---|
| SIGTERM, SIGINT | begins a graceful stop; a second one ends the grace period |
| SIGHUP | certificates and policy are read now, without waiting for the next poll of their files |
| SIGUSR1 | logs what every thread and task is doing |
| SIGUSR2 | writes every thread's stack to standard error, even while the event loop is stuck |

What they do before the event loop exists, and after it is closed, is decided in :mod:`kdm_cli.__main__`.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

import structlog

SHOWN_FRAMES: Final = 8
"""How many of a stack's innermost frames are logged."""

_log = structlog.get_logger("kdm.server")


@contextlib.contextmanager
def handled(stop: asyncio.Event, hurry: asyncio.Event, read_again: Callable[[], None]) -> Iterator[None]:
    """Handle signals as long as the context lasts. Only the main thread receives signals; elsewhere this does nothing.

    Args:
        stop: Set by the first SIGINT or SIGTERM.
        hurry: Set by the second.
        read_again: Called for SIGHUP, on the event loop.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def on_stop() -> None:
        (hurry if stop.is_set() else stop).set()

    handlers = {
        signal.SIGINT: on_stop,
        signal.SIGTERM: on_stop,
        signal.SIGHUP: read_again,
        signal.SIGUSR1: log_state,
        signal.SIGUSR2: lambda: None,  # where there is no standard error to write to
    }
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    with contextlib.suppress(RuntimeError, OSError, ValueError):  # standard error is closed or no file
        faulthandler.register(signal.SIGUSR2, sys.__stderr__ or sys.stderr, all_threads=True)
    try:
        yield
    finally:
        faulthandler.unregister(signal.SIGUSR2)
        signal.pthread_sigmask(signal.SIG_BLOCK, handlers)  # between the two steps the default action would kill
        for number, handler_before in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler_before or signal.SIG_DFL)  # None: it was not set from Python
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handlers)


def log_state() -> None:
    """Log what every thread and every task of the running loop is doing. Tasks in the same place are one line."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 - documented, and there is no other way
        _log.info("thread", name=names.get(ident, ""), stack=_stack(frame))
    tasks = Counter(_stack_of(task) for task in asyncio.all_tasks())
    for stack, count in tasks.most_common():
        _log.info("tasks", count=count, stack=stack)


def _stack_of(task: asyncio.Task[object]) -> str:
    frames = task.get_stack()
    return " > ".join(_place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name) for frame in frames)


def _stack(frame: FrameType) -> str:
    summary = traceback.extract_stack(frame)[-SHOWN_FRAMES:]
    return " > ".join(_place(each.filename, each.lineno or 0, each.name) for each in summary)


def _place(file: str, line: int, function: str) -> str:
    return f"{'/'.join(file.rsplit('/', 2)[-2:])}:{line} {function}"
