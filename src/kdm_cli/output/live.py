"""A view of Deployments that stays up to date on a terminal: a row each, with a bar of available over desired."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kdm_cli.output.text import printable

BAR: Final = 20
"""The width of a bar, in columns."""

MAX_NAME: Final = 50
"""The width that a name may have, in columns; a longer one is cut."""

MIN_NAME: Final = 8
"""The width that a name keeps in however narrow a terminal, in columns."""

_GAP: Final = 2

REFRESH_S: Final = 0.1
"""The shortest time between two pictures, in seconds: quicker than one can read."""

_STYLES: Final = {
    "settled": "green",
    "done": "green",
    "settling": "yellow",
    "observing": "yellow",
    "paused": "cyan",
    "blocked": "red",
    "stalled": "red",
    "deleted": "red",
    "superseded": "red",
    "timeout": "red",
    "unknown": "red",
}
_CALM: Final = frozenset({"settled", "done", "paused"})


class Line(NamedTuple):
    """A row of the view.

    Attributes:
        name: The Deployment's name, with what tells it apart from others.
        available: How many Pods are available.
        desired: How many are desired.
        state: Its state or outcome, in words.
        note: What else there is to say: an owner, a message.
    """

    name: str
    available: int
    desired: int
    state: str
    note: str = ""


class View:
    """The view. Within its block it draws over itself; what it showed last stays, and the terminal is as before.

    Args:
        console: Where to draw; None for standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(file=sys.stdout, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    def __enter__(self) -> Self:
        self._live.start()
        self._console.show_cursor(True)  # whatever stops it, Ctrl-Z for example, leaves a terminal that has one
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def draw(self, lines: Sequence[Line], foot: str = "") -> None:
        """Show rows, as many as the terminal has room for: what is in motion or in trouble before what is calm."""
        room = max(1, self._console.size.height - 3)
        shown = chosen(lines, room)
        left = len(lines) - len(shown)
        said = [foot] if foot else []
        if left:
            said.insert(0, f"and {left} more, all calm" if _calm(lines, shown) else f"and {left} more")
        self._live.update(
            Group(_table(shown, self._console.size.width), *(Text(each, style="dim") for each in said)), refresh=True
        )


def wanted() -> bool:
    """Return whether standard output is a terminal that a view can draw on."""
    return sys.stdout.isatty() and not Console(file=sys.stdout).is_dumb_terminal


def chosen(lines: Sequence[Line], room: int) -> list[Line]:
    """Return the rows that are shown where there is room for so many, in their order."""
    if len(lines) <= room:
        return list(lines)
    by_need = sorted(range(len(lines)), key=lambda at: (_word(lines[at]) in _CALM, at))
    return [lines[at] for at in sorted(by_need[:room])]


def _calm(lines: Sequence[Line], shown: Iterable[Line]) -> bool:
    visible = set(shown)
    return all(_word(line) in _CALM for line in lines if line not in visible)


def _word(line: Line) -> str:
    return line.state.partition(" ")[0].rstrip(":")


def _table(lines: Sequence[Line], columns: int) -> Table:
    """Lay the rows out. Counts and states are whole; a note has what is left of the terminal's width.

    Where there is too little for the others, there is no bar, which counts say too; then names are cut.
    """
    counts = [f"{line.available}/{line.desired}" for line in lines]
    widths = [
        min(MAX_NAME, max(len(each) for each in ("NAME", *(line.name for line in lines)))),
        max(map(len, ("AVAILABLE", *counts))),
        BAR,
        max(len(each) for each in ("STATE", *(line.state for line in lines))),
    ]
    left = columns - sum(widths) - _GAP * len(widths)
    if left + _GAP < 0:
        widths[0] = max(MIN_NAME, min(widths[0], columns - widths[1] - widths[3] - 2 * _GAP))
        del widths[2]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    has_bar = len(widths) == 4
    titles = ("NAME", "AVAILABLE", "", "STATE") if has_bar else ("NAME", "AVAILABLE", "STATE")
    for title, width in zip(titles, widths, strict=True):
        justify: Literal["left", "right"] = "right" if title == "AVAILABLE" else "left"
        table.add_column(title, width=width, justify=justify, no_wrap=True, overflow="ellipsis")
    if left >= len("NOTE"):
        table.add_column("NOTE", width=left, no_wrap=True, overflow="ellipsis", style="dim")
    for line, count in zip(lines, counts, strict=True):
        total = max(line.desired, line.available)
        bar = ProgressBar(total=max(total, 1), completed=line.available if total else 1, width=BAR)
        state = Text(printable(line.state), style=_STYLES.get(_word(line), ""))
        bars: list[RenderableType] = [bar] if has_bar else []
        cells: list[RenderableType] = [Text(printable(line.name)), count, *bars, state, Text(printable(line.note))]
        table.add_row(*cells[: len(table.columns)])
    return table
