"""Standard output on which a user waits until something stands there, and then does something."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Never, Protocol

import pyte

from unit.cli.command.asking import Ran

Step = tuple[Callable[[str], bool], Callable[[], object]]


class Stage(io.StringIO):
    """Standard output of a command that runs in this process. Each step is taken once, in the thread that writes.

    Args:
        steps: What must stand there, and what is done then.
        columns: The width of the terminal that it is; 0 where it is none.
        rows: The terminal's height.

    Attributes:
        screen: What the terminal shows; None where it is none.
        seen: The lines that stood there when each step was taken.
    """

    def __init__(self, *steps: Step, columns: int = 0, rows: int = 24) -> None:
        super().__init__()
        self.screen = pyte.Screen(columns, rows) if columns else None
        self._stream = pyte.Stream(self.screen) if self.screen else None
        self._steps = list(steps)
        self.seen: list[list[str]] = []

    @property
    def shown(self) -> str:
        """What stands there, without the blanks at the ends of lines."""
        if self.screen is None:
            return self.getvalue()
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    @property
    def lines(self) -> list[str]:
        """The lines of what stands there."""
        return self.shown.splitlines()

    @property
    def is_over(self) -> bool:
        """Whether every step was taken."""
        return not self._steps

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self.screen is not None

    def write(self, text: str, /) -> int:
        """Show a text, and take the steps that it leads to."""
        count = super().write(text)
        if self._stream is not None:
            self._stream.feed(text.replace("\n", "\r\n"))
        while self._steps and self._steps[0][0](self.shown):
            self.seen.append(self.lines)
            self._steps.pop(0)[1]()
        return count


class Staged(Protocol):
    """Runs a command whose standard output is a stage; its standard error too, where that is wanted."""

    def __call__(self, *arguments: str, stage: Stage, errors_too: bool = False) -> Ran: ...


def shows(*texts: str) -> Callable[[str], bool]:
    """Return what is true where all of some texts stand."""
    return lambda shown: all(text in shown for text in texts)


def ctrl_c() -> Never:
    """Do what Python does on Ctrl-C."""
    raise KeyboardInterrupt


def close() -> Never:
    """Do what writing does where nobody reads any more."""
    raise BrokenPipeError
