"""Text that is safe to show on a terminal, with colours where these are wanted."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import Final, TextIO

STATE_COLOURS: Final = {
    "settled": "32",
    "settling": "33",
    "observing": "33",
    "paused": "36",
    "blocked": "31",
    "stalled": "31",
}
"""ANSI's codes for the states of a rollout. A colour never says what the words beside it do not."""


PRIVATE_KEY: Final = r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
"""A private key, or the beginning of one. With ``re.DOTALL``."""


def without_keys(text: str) -> str:
    """Return a text without private keys: one that was given in the place of its file is not repeated."""
    return re.sub(PRIVATE_KEY, "[a private key]", text, flags=re.DOTALL)


def printable(text: str) -> str:
    """Return a text on one line, with escapes in the place of what could control a terminal or reorder its line."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def coloured(stream: TextIO) -> bool:
    """Return whether to use colours on a stream: on a terminal that has them, unless NO_COLOR is set (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str) -> str:
    """Put a text into a colour."""
    return f"\x1b[{colour}m{text}\x1b[0m" if colour else text


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, colours: bool = False) -> list[str]:
    """Lay out rows in columns, three spaces apart, as kubectl does. Numbers are aligned to the right.

    Args:
        titles: The columns' titles. A column is of numbers where each of its cells is one, or ``-``.
        rows: The cells.
        colours: Whether to colour the states of rollouts.
    """
    layout = Layout(titles, rows, colours=colours)
    return [layout.title, *map(layout.line, rows)]


class Layout:
    """Columns that are as wide as their widest cell.

    Args:
        titles: The columns' titles.
        rows: The cells that the columns are made for.
        colours: Whether to colour the states of rollouts.
    """

    def __init__(self, titles: Sequence[str], rows: Sequence[Sequence[str]], *, colours: bool) -> None:
        self._titles, self._colours = titles, colours
        columns = [[printable(row[at]) for row in rows] for at in range(len(titles))]
        self._widths = [max(map(len, (title, *column))) for title, column in zip(titles, columns, strict=True)]
        self._numbers = [bool(column) and all(map(_is_number, column)) for column in columns]

    @property
    def title(self) -> str:
        """The line of the titles."""
        return self._line(self._titles, ["1"] * len(self._titles))

    def line(self, row: Sequence[str]) -> str:
        """Return a row's line. A cell wider than its column pushes the others to the right."""
        cells = [printable(cell) for cell in row]
        return self._line(cells, [_colour(title, cell) for title, cell in zip(self._titles, cells, strict=True)])

    def _line(self, cells: Sequence[str], colours: Sequence[str]) -> str:
        parts = []
        for cell, colour, width, number in zip(cells, colours, self._widths, self._numbers, strict=True):
            space = " " * (width - len(cell))
            shown = paint(cell, colour) if self._colours else cell
            parts.append(space + shown if number else shown + space)
        return "   ".join(parts).rstrip()


class Rows:
    """A table that grows: its first rows are held back, so that the columns fit them; later ones come at once.

    Args:
        titles: The columns' titles.
        colours: Whether to colour the states of rollouts.
    """

    def __init__(self, titles: Sequence[str], *, colours: bool) -> None:
        self._titles, self._colours = titles, colours
        self._held: list[Sequence[str]] = []
        self._layout: Layout | None = None

    def add(self, row: Sequence[str]) -> None:
        """Print a row, now or with the first ones."""
        if self._layout is None:
            self._held.append(row)
        else:
            print(self._layout.line(row), flush=True)

    def release(self) -> None:
        """Print what was held back, below the titles."""
        self._layout = Layout(self._titles, self._held, colours=self._colours)
        print("\n".join([self._layout.title, *map(self._layout.line, self._held)]), flush=True)


def _colour(title: str, cell: str) -> str:
    return STATE_COLOURS.get(cell.partition(" ")[0], "") if title == "STATE" else ""


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.isdecimal()


def say(text: str) -> None:
    """Print what came of a command. Where nobody reads it, the command goes on and ends as it would have."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        forget(sys.stdout)


def warn(text: str, who: str = "kdm") -> None:
    """Say something on standard error, on one line. Where it cannot be written, the command ends as it would have.

    Args:
        text: What to say.
        who: Who says it.
    """
    try:
        print(f"{who}: {printable(without_keys(text))}", file=sys.stderr, flush=True)
    except OSError:
        forget(sys.stderr)


def blamed(error: OSError) -> str:
    """Return what to say of a file that cannot be used; of the output, which is then forgotten, if none is named."""
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    forget(sys.stdout)
    return f"cannot write the output: {error.strerror}"


def forget(stream: TextIO) -> None:
    """Let a stream lead nowhere: the interpreter would try again to write the rest when it exits, and fail."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
