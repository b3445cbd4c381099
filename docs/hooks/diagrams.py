"""Diagrams as inline SVG, in the site's own colours: files, and what pages say in a part of Mermaid's language.

GitHub and editors draw Mermaid's sequence diagrams themselves. The site cannot: Mermaid is JavaScript that would have
to be fetched from somebody else's server. What is not understood ends the build.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any, Final

from mkdocs.exceptions import PluginError
from mkdocs.structure.pages import Page

_BLOCK: Final = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_IMAGE: Final = re.compile(r"^!\[.*?\]\(((?:\.\./)*diagrams/[\w-]+\.svg)\)$", re.MULTILINE)
_PARTICIPANT: Final = re.compile(r"participant (\w+) as (.+)").fullmatch
_MESSAGE: Final = re.compile(r"(\w+)(--?)>>(\w+): (.+)").fullmatch
_NOTE: Final = re.compile(r"Note (?:over|right of) (\w+)(?:,(\w+))?: (.+)").fullmatch

_COLUMN: Final = 190
_MARGIN: Final = 95
_BOX_WIDTH: Final = 168
_ROW: Final = 40
_LINE: Final = 15
_LOOP: Final = 28


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Draw a page's diagrams."""

    def replace(block: re.Match[str]) -> str:
        try:
            return draw(block[1])
        except ValueError as error:
            raise PluginError(f"{page.file.src_uri}: {error}") from error

    def inline(image: re.Match[str]) -> str:
        drawing = Path(page.file.abs_src_path or "").parent / image[1]
        return f'<div class="diagram">{" ".join(drawing.read_text(encoding="utf-8").split())}</div>'

    return _IMAGE.sub(inline, _BLOCK.sub(replace, markdown))


def draw(source: str) -> str:
    """Return a diagram as an HTML element without empty lines.

    Args:
        source: What stands in the Mermaid block; the first line is ``sequenceDiagram``.

    Raises:
        ValueError: A line is not understood, or names an unknown participant.
    """
    first, *lines = (line.strip() for line in source.splitlines() if line.strip())
    if first != "sequenceDiagram":
        raise ValueError(f"only sequence diagrams can be drawn, not {first!r}")
    names: dict[str, str] = {}
    rows: list[str] = []
    y = 60
    for line in lines:
        if told := _PARTICIPANT(line):
            names[told[1]] = told[2]
            continue
        try:
            if sent := _MESSAGE(line):
                drawn, height = _message(_x(names, sent[1]), _x(names, sent[3]), sent[4], y, dashed=sent[2] == "--")
            elif noted := _NOTE(line):
                drawn, height = _note(_x(names, noted[1]), _x(names, noted[2] or noted[1]), noted[3], y)
            else:
                raise ValueError(f"a line of a diagram is not understood: {line!r}")
        except KeyError as error:
            raise ValueError(f"{line!r} names {error}, which is no participant") from error
        rows.append(drawn)
        y += height
    width = _MARGIN * 2 + _COLUMN * (len(names) - 1)
    columns = "".join(_participant(_x(names, name), title, y) for name, title in names.items())
    return (
        f'<div class="sequence"><svg role="img" width="{width}" height="{y + 14}" viewBox="0 0 {width} {y + 14}">'
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">'
        f'<path class="head" d="M0 0 10 5 0 10z"/></marker></defs>{columns}{"".join(rows)}</svg></div>'
    )


def _x(names: dict[str, str], name: str) -> int:
    if name not in names:
        raise KeyError(name)
    return _MARGIN + _COLUMN * list(names).index(name)


def _participant(x: int, title: str, bottom: int) -> str:
    return (
        f'<line class="lifeline" x1="{x}" y1="40" x2="{x}" y2="{bottom}"/>'
        f'<rect class="box" x="{x - _BOX_WIDTH // 2}" y="8" width="{_BOX_WIDTH}" height="32" rx="5"/>'
        + _text(x, 28, [title])
    )


def _message(start: int, end: int, text: str, y: int, *, dashed: bool) -> tuple[str, int]:
    lines = text.split("<br/>")
    bottom = y + _LINE * len(lines)
    style = "line dashed" if dashed else "line"
    if start == end:
        path = f"M{start} {bottom - 8}h{_LOOP}v16h-{_LOOP}"
        drawn = _text(start + _LOOP + 6, y + 10, lines, anchor="start")
    else:
        path = f"M{start} {bottom}H{end}"
        drawn = _text((start + end) // 2, y + 10, lines)
    return drawn + f'<path class="{style}" d="{path}" marker-end="url(#head)"/>', _ROW + _LINE * (len(lines) - 1)


def _note(start: int, end: int, text: str, y: int) -> tuple[str, int]:
    lines = text.split("<br/>")
    left, right = min(start, end) - _BOX_WIDTH // 2, max(start, end) + _BOX_WIDTH // 2
    height = 10 + _LINE * len(lines)
    box = f'<rect class="note" x="{left}" y="{y - 4}" width="{right - left}" height="{height}" rx="3"/>'
    return box + _text((left + right) // 2, y + 12, lines), height + 14


def _text(x: int, y: int, lines: list[str], anchor: str = "middle") -> str:
    spans = "".join(f'<tspan x="{x}" dy="{_LINE if i else 0}">{escape(line)}</tspan>' for i, line in enumerate(lines))
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{spans}</text>'
