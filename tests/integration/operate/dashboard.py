"""Reads the Grafana dashboard of the chart, and fills its variables in as Grafana would."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen

BOARD: Final = Path(__file__).parents[3] / "deploy" / "helm" / "kdm" / "dashboards" / "kdm.json"
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@frozen
class Target:
    """One expression of a panel, and how its series are called: ``{{label}}`` stands for a label's value."""

    expression: str
    legend: str

    def with_variables(self, values: Mapping[str, str]) -> str:
        """Return the expression with every variable filled in.

        Raises:
            KeyError: It has one that Grafana would not know.
        """
        return _VARIABLE.sub(lambda found: values[found[1] or found[2]], self.expression)

    def name_of(self, labels: Mapping[str, str]) -> str:
        """Return how a series is called."""
        return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), self.legend)


@frozen
class Panel:
    """One panel: where it stands on the grid of 24 columns, what it shows and how."""

    title: str
    kind: str
    unit: str
    x: int
    y: int
    width: int
    height: int
    targets: tuple[Target, ...]


def read() -> dict[str, Any]:
    """Return the dashboard as it is."""
    board: dict[str, Any] = json.loads(BOARD.read_text(encoding="utf-8"))
    return board


def panels() -> Iterator[Panel]:
    """Return its panels, rows included, in order."""
    for each in read()["panels"]:
        grid = each["gridPos"]
        yield Panel(
            title=each["title"],
            kind=each["type"],
            unit=each.get("fieldConfig", {}).get("defaults", {}).get("unit", ""),
            x=grid["x"],
            y=grid["y"],
            width=grid["w"],
            height=grid["h"],
            targets=tuple(Target(target["expr"], target["legendFormat"]) for target in each.get("targets", ())),
        )
