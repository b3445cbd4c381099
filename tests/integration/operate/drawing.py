"""Draws panels on Grafana's grid of 24 columns. Runs in an environment of its own, which has matplotlib.

``drawing.py PANELS.json PICTURE.png``; the panels are what :mod:`picture` writes.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl  # type: ignore[import-not-found] # it is in the other environment

mpl.use("Agg")
import matplotlib.pyplot as plt  # type: ignore[import-not-found] # as above

COLUMN_IN, ROW_IN = 0.72, 0.34
GAP_IN: Final = 0.14
TITLE_IN: Final = 0.5
LEGEND: Final = 6
INK, PALE, GROUND, PAPER = "#24292e", "#6a737d", "#f4f5f5", "#ffffff"
GREEN, BLUE, RED = "#56a64b", "#3274d9", "#e02f44"


def shown(value: float, unit: str) -> str:
    """Return a value as a person reads it."""
    if math.isnan(value):
        return "-"
    if unit == "percentunit":
        return f"{value * 100:.2f} %"
    if unit == "bytes":
        return f"{value / 2**20:.0f} MiB"
    if unit == "s":
        return f"{value * 1000:.3g} ms" if abs(value) < 1 else f"{value:.1f} s"
    if unit == "d":
        return f"{value:,.0f} days"
    number = f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.2g}"
    return number + {"reqps": " req/s", "ops": " /s"}.get(unit, "")


def draw_stat(axes: Any, panel: dict[str, Any]) -> None:
    """Draw the last value, large."""
    value = panel["series"][0]["points"][-1][1] if panel["series"] else math.nan
    question = panel["title"].startswith("All ") or panel["title"].endswith(" in use")
    text = ("yes" if value else "no") if question else shown(value, panel["unit"])
    colour = (GREEN if value else RED) if question else BLUE
    axes.text(0.5, 0.45, text, ha="center", va="center", fontsize=20, color=colour, transform=axes.transAxes)
    axes.set_axis_off()


def draw_bars(axes: Any, panel: dict[str, Any]) -> None:
    """Draw the last values as bars, the largest first."""
    last = sorted(((each["points"][-1][1], each["name"]) for each in panel["series"]), reverse=True)
    last = [(value, name) for value, name in last if not math.isnan(value)]
    positions = range(len(last))
    axes.barh(positions, [value for value, _ in last], color=BLUE, alpha=0.7, height=0.6)
    axes.set_yticks(positions, [name for _, name in last], fontsize=7)
    axes.invert_yaxis()
    axes.margins(x=0.25)
    for position, (value, _) in enumerate(last):
        axes.text(value, position, f" {shown(value, panel['unit'])}", va="center", fontsize=7, color=INK)
    axes.set_xticks([])


def draw_series(axes: Any, panel: dict[str, Any], start: float) -> None:
    """Draw values over time; those that matter most are named."""
    ranked = sorted(panel["series"], key=lambda each: -sum(v for _, v in each["points"] if not math.isnan(v)))
    for number, each in enumerate(ranked):
        times = [at - start for at, _ in each["points"]]
        label = each["name"] if number < LEGEND else None
        axes.plot(times, [value for _, value in each["points"]], linewidth=1, label=label)
    if len(ranked) > LEGEND:
        axes.plot([], [], " ", label=f"and {len(ranked) - LEGEND} more")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: shown(value, panel["unit"]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f} s")
    axes.grid(color="#e4e7e7", linewidth=0.5)
    columns = 2 if len(ranked) > 3 else max(1, len(ranked))
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.14), ncols=columns, fontsize=6, frameon=False, borderaxespad=0)


def main(panels_file: str, picture: str) -> None:
    """Draw them all."""
    panels = json.loads(Path(panels_file).read_text(encoding="utf-8"))
    rows = max(panel["y"] + panel["height"] for panel in panels)
    width, height = 24 * COLUMN_IN, rows * ROW_IN + TITLE_IN
    start = min(each["points"][0][0] for panel in panels for each in panel["series"])
    figure = plt.figure(figsize=(width, height), facecolor=GROUND)
    figure.text(
        GAP_IN / width,
        1 - TITLE_IN / 2 / height,
        "kdm: the dashboard's panels, drawn from what a real Prometheus scraped (this is not Grafana)",
        va="center", fontsize=12, color=INK,
    )  # fmt: skip
    for panel in panels:
        left, top = panel["x"] * COLUMN_IN, TITLE_IN + panel["y"] * ROW_IN
        across, down = panel["width"] * COLUMN_IN, panel["height"] * ROW_IN
        if panel["kind"] == "row":
            figure.text((left + GAP_IN) / width, 1 - (top + down / 2) / height, panel["title"], va="center",
                        fontsize=11, weight="bold", color=INK)  # fmt: skip
            continue
        card = figure.add_axes(
            ((left + GAP_IN / 2) / width, 1 - (top + down - GAP_IN / 2) / height,
             (across - GAP_IN) / width, (down - GAP_IN) / height)
        )  # fmt: skip
        card.set_facecolor(PAPER)
        card.set(xticks=[], yticks=[])
        for spine in card.spines.values():
            spine.set_color("#dcdfe0")
        card.text(0.02, 1 - 0.13 / (down - GAP_IN), panel["title"], fontsize=8, color=INK, va="center",
                  transform=card.transAxes)  # fmt: skip
        margin_left = {"stat": 0.1, "bargauge": across * 0.32}.get(panel["kind"], 0.85)
        margin_below = 0.75 if panel["kind"] == "timeseries" else 0.15
        axes = figure.add_axes(
            ((left + margin_left) / width, 1 - (top + down - margin_below) / height,
             (across - margin_left - 0.25) / width, (down - margin_below - 0.4) / height)
        )  # fmt: skip
        axes.tick_params(labelsize=7, colors=PALE, length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        if panel["kind"] == "stat":
            draw_stat(axes, panel)
        elif panel["kind"] == "bargauge":
            draw_bars(axes, panel)
        else:
            draw_series(axes, panel, start)
    figure.savefig(picture, dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
