"""Writes lines to descriptors: each whole, none glued to another, and nobody waits for a reader that stands still."""

from __future__ import annotations

import os
import select
import threading
from collections import defaultdict
from contextlib import suppress
from typing import Final

from kdm_adapters.side_thread import SideThread

MAX_WAITING_BYTES: Final = 4 * 1024 * 1024
"""How much may wait for a reader, in bytes: some 20,000 lines of a log."""

_in_turn: defaultdict[tuple[int, int], threading.Lock] = defaultdict(threading.Lock)
"""One for each file or pipe: standard output and standard error may be the same one, and a pipe that is full lets the
parts of two long lines in by turns."""

os.register_at_fork(after_in_child=_in_turn.clear)  # one may be held by a thread that the child does not have


class WholeLines:
    """Writes each line whole; after one of which only a part could be written, the next begins on a line of its own.

    Waits for as long as the descriptor takes, non-blocking or not: ``O_NONBLOCK`` belongs to everybody who has
    the open file, so it may be set or cleared at any time.

    Attributes:
        torn: Whether the last line ended in the middle.
    """

    def __init__(self) -> None:
        self.torn = False

    def write(self, fd: int, line: bytes) -> None:
        """Write a line.

        Args:
            fd: Where to.
            line: With its newline.

        Raises:
            OSError: It could not be written, or only in part.
        """
        status = os.fstat(fd)
        with _in_turn[status.st_dev, status.st_ino]:
            rest = memoryview(b"\n" + line if self.torn else line)
            while rest:
                try:
                    rest = rest[os.write(fd, rest) :]  # all at once, but for what fills up in the middle
                except BlockingIOError:
                    _wait_until_writable(fd)
                self.torn = bool(rest)


class LineWriter:
    """Writes lines on a thread of its own. Callers never wait; lines that find no room are dropped.

    Usable from any thread.

    Args:
        fd: Where to; not closed.
        name: The thread's name.

    Attributes:
        dropped: How many lines were not written, for want of room or because writing failed.
    """

    def __init__(self, fd: int, name: str = "kdm-lines") -> None:
        self.dropped = 0
        self._fd = fd
        self._lines = WholeLines()
        self._thread = SideThread(name)
        self._waiting_bytes = 0
        self._guard = threading.RLock()

    def write(self, line: str) -> bool:
        """Have a line written.

        Args:
            line: Without its newline.

        Returns:
            Whether there was room for it.
        """
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        with self._guard:
            if self._waiting_bytes and self._waiting_bytes + len(data) > MAX_WAITING_BYTES:
                self.dropped += 1
                return False
            self._waiting_bytes += len(data)
        self._thread.do(lambda: self._deliver(data))
        return True

    def drain(self, wait_s: float) -> bool:
        """Wait until everything is written, at most so many seconds. Returns whether it is."""
        return self._thread.drain(wait_s)

    def close(self, wait_s: float) -> None:
        """Write the rest and end the thread, in so many seconds at most."""
        self._thread.close(wait_s)

    def _deliver(self, data: bytes) -> None:
        failed = False
        try:
            self._lines.write(self._fd, data)
        except OSError:  # there is nowhere to say so but the count
            failed = True
        with self._guard:
            self._waiting_bytes -= len(data)
            self.dropped += failed


def _wait_until_writable(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    with suppress(InterruptedError):
        poll.poll()
