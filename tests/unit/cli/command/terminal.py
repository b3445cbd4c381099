"""A terminal of some size that a process runs on, and what stands on it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

import pyte

DEADLINE_S: Final = 30.0

_ON_TERMINAL: Final = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-m", "kdm_cli", *sys.argv[1:]])
"""
"""Makes the terminal the one that Ctrl-C comes from, heeds it where pytest ignores it, and becomes kdm."""


def heed_ctrl_c() -> None:
    """Heed SIGINT, in a child before it becomes a program: it is ignored where pytest runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """A process on a terminal.

    Args:
        arguments: The arguments of ``kdm``.
        environment: Variables beyond the ones of this process.
        columns: The width.
        rows: The height.
    """

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], *, columns: int = 80, rows: int = 24
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.modes = termios.tcgetattr(slave)
        self._slave = slave
        self.raw = b""
        variables = {"TERM": "xterm-256color", **environment}
        clean = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "LINES"}}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ON_TERMINAL, *arguments],
            stdin=slave, stdout=slave, stderr=slave, env=clean | variables, start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)
        os.close(self._slave)

    @property
    def lines(self) -> list[str]:
        """What stands on the screen, without empty lines at the end."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip().split("\n")

    def until(self, shown: Callable[[str], bool]) -> str:
        """Read until something stands on the screen.

        Raises:
            AssertionError: It does not, in time.
        """
        deadline = time.monotonic() + DEADLINE_S
        while not shown(text := "\n".join(self.lines)):
            assert time.monotonic() < deadline, text
            self._read(0.1)
        return text

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        self._process.send_signal(number)

    def ended(self) -> int:
        """Read until the process has ended, and return its exit code."""
        deadline = time.monotonic() + DEADLINE_S
        while self._process.poll() is None:
            assert time.monotonic() < deadline, self.lines
            self._read(0.05)
        self._read(0.0)
        return self._process.returncode

    def is_as_before(self) -> bool:
        """Return whether the terminal is left as it was: its modes, a visible cursor, no colour, the normal screen."""
        return (
            termios.tcgetattr(self._slave) == self.modes
            and not self.screen.cursor.hidden
            and (self.screen.cursor.attrs.fg, self.screen.cursor.attrs.bold) == ("default", False)
            and b"\x1b[?1049h" not in self.raw
        )

    def _read(self, timeout_s: float) -> None:
        while select.select([self._master], [], [], timeout_s)[0]:
            try:
                chunk = os.read(self._master, 65536)
            except OSError:  # Linux' way to say that the other end is closed
                return
            if not chunk:
                return
            self.raw += chunk
            self._stream.feed(chunk)
            timeout_s = 0.0
