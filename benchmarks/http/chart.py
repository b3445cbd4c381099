"""Draws charts as SVG: text and rectangles that are legible on a light and on a dark page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from benchmarks.http.contestants import KDM
from benchmarks.http.report import PER_S, by_contestant, median
from benchmarks.http.serving import LIST, SCENARIOS

__all__ = ["bars", "lines"]

WIDTH = 760
ROW, TITLE, GAP, TEXT = 24, 30, 18, 14
LABEL, VALUE = 210, 90  # widths
PALETTE = ("#326ce5", "#e4572e", "#2a9d4a", "#a05195", "#8c8c8c")
SHOWN = (SCENARIOS[1].name, SCENARIOS[4].name, LIST.name)
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.t{font-weight:600}.v{font-size:12px}"
    ".k{fill:#326ce5}.o{fill:#9aa4b2}.g{stroke:#8c959f;stroke-opacity:.35}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.o{fill:#6e7681}.k{fill:#6b9bff}}"
)


def bars(results: Mapping[str, Any]) -> str:
    """Draw how many requests a second each contestant serves: one group of bars for each way to ask."""
    part = results["parts"]["serving"]
    marks: list[str] = []
    y = 4
    for scenario in SHOWN:
        of = by_contestant(part["samples"], scenario)
        if not of:
            continue
        figures = sorted(((median(samples, PER_S), name) for name, samples in of.items()), reverse=True)
        scale = (WIDTH - LABEL - VALUE) / figures[0][0]
        marks.append(f'<text class="t" x="4" y="{y + 18}">{escape(scenario)}: requests a second on one core</text>')
        y += TITLE
        for value, name in figures:
            width = max(1.0, value * scale)
            kind = "k" if name == KDM else "o"
            marks.append(f'<text x="{LABEL - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
            marks.append(
                f'<rect class="{kind}" x="{LABEL}" y="{y + 3}" width="{width:.1f}" height="{ROW - 8}" rx="2"/>'
            )
            marks.append(f'<text class="v" x="{LABEL + width + 6:.1f}" y="{y + 15}">{_round(value)}</text>')
            y += ROW
        y += GAP
    return _svg(y, f"Requests a second, {part['objects']:,} Deployments, mutual TLS 1.3", marks)


def lines(title: str, unit: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Draw figures over the number of Deployments, both logarithmic.

    Args:
        title: What it shows.
        unit: Of the figures.
        series: By name, points: how many Deployments, and the figure.
    """
    points = [point for each in series.values() for point in each]
    left, right, top, bottom = 70, WIDTH - 170, 44, 320
    (low_x, high_x), (low_y, high_y) = (
        (10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values))))
        for values in ([x for x, _ in points], [y for _, y in points])
    )

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            left + (right - left) * math.log10(x / low_x) / max(1e-9, math.log10(high_x / low_x)),
            bottom - (bottom - top) * math.log10(y / low_y) / max(1e-9, math.log10(high_y / low_y)),
        )

    marks = [
        f'<text class="t" x="4" y="20">{escape(title)}</text>',
        f'<text class="v" x="4" y="38">{escape(unit)}</text>',
    ]
    tick = low_y
    while tick <= high_y * 1.001:
        _, y = at(low_x, tick)
        marks.append(f'<line class="g" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        marks.append(f'<text class="v" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
        tick *= 10
    for tick in sorted({x for x, _ in points}):
        x, _ = at(tick, low_y)
        marks.append(f'<text class="v" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{_round(tick)}</text>')
    marks.append(f'<text class="v" x="{(left + right) / 2}" y="{bottom + 38}" text-anchor="middle">Deployments</text>')
    ends: list[tuple[float, str]] = []
    for (name, of), colour in zip(series.items(), PALETTE, strict=False):
        placed = [at(*point) for point in of]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        marks.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        marks += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed]
        ends.append((placed[-1][1], name))
    free = -math.inf
    for wanted, name in sorted(ends):  # names that would overlap move down
        free = max(wanted, free + TEXT)
        marks.append(f'<text class="v" x="{right + 8}" y="{free + 4:.1f}">{escape(name)}</text>')
    return _svg(bottom + 48, title, marks)


def _svg(height: float, title: str, marks: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    return "\n".join([head, f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>", *marks, "</svg>\n"])


def _round(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
