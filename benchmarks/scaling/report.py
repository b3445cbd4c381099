"""Turns the figures into tables, charts, and the generated part of docs/scaling.md."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.http.chart import lines
from benchmarks.http.load import Outcome
from benchmarks.http.report import spread, table
from benchmarks.scaling.measurement import Crowd, Grown

__all__ = ["Results", "renew", "tables"]

Results: TypeAlias = Mapping[str, Any]

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "scaling.md"
IMAGES = DOCS / "img"
GENERATED = re.compile(r"(<!-- measured: begin[^>]*-->\n).*(<!-- measured: end -->)", re.DOTALL)
HEADROOM = 1.25
NOISE = 0.02  # as a part of what a change costs

COLUMNS: tuple[tuple[str, int, Callable[[Grown], float]], ...] = (
    ("ready, s", 2, lambda g: g.ready_s),
    ("CPU, s", 2, lambda g: g.ready_cpu_s),
    ("API server's CPU, s", 2, lambda g: g.server_cpu_s),
    ("peak RSS, MB", 0, lambda g: g.peak_bytes / 1e6),
    ("RSS serving, MB", 0, lambda g: g.served_bytes / 1e6),
    ("GET p50, ms", 2, lambda g: g.one.p50_us / 1e3),
    ("GET p99, ms", 2, lambda g: g.one.p99_us / 1e3),
    ("GETs/s", 0, lambda g: g.many.per_s),
    ("list p50, ms", 2, lambda g: g.list.p50_us / 1e3),
    ("list, KB", 0, lambda g: g.list.bytes / g.list.requests / 1e3),
)


def tables(results: Results) -> str:
    """Render everything that was measured."""
    commit = results["commit"] or "unknown"
    parts = [
        f"Measured {results['at']} at commit {commit} on {results['machine']}: {results['cores']}.",
        "Medians, the smallest and the largest in parentheses.",
        "### One replica of kdm, more Deployments",
        _sizes(results),
    ]
    if results["crowds"]:
        parts += [
            f"### More replicas of kdm, {results['crowd_objects']:,} Deployments",
            _crowds(results),
        ]
    parts += ["### What one pod and ten pods carry", _pods(results)]
    return "\n\n".join(parts) + "\n"


def renew(results: Results) -> None:
    """Put the tables into the page, and draw the charts beside it."""
    page, found = GENERATED.subn(lambda match: f"{match[1]}\n{tables(results)}\n{match[2]}", PAGE.read_text())
    if found != 1:
        raise ValueError(f"{PAGE} has no place for what was measured")
    PAGE.write_text(page)
    grown = _by_size(results)
    if len(grown) > 1:
        IMAGES.mkdir(exist_ok=True)
        (IMAGES / "scaling-memory.svg").write_text(
            lines("Memory of one replica", "RSS, MB", _series(grown, {"peak until ready": 3, "serving": 4}))
        )
        (IMAGES / "scaling-time.svg").write_text(
            lines(
                "Time until ready, and of requests by one client",
                "ms",
                {
                    **_series(grown, {"until ready": 0}, 1e3),
                    **_series(grown, {"list, p50": 8, "GET, p99": 6, "GET, p50": 5}),
                },
            )
        )


def _series(
    grown: Mapping[int, list[Grown]], columns: Mapping[str, int], factor: float = 1.0
) -> dict[str, list[tuple[float, float]]]:
    return {
        name: [(objects, factor * statistics.median(map(COLUMNS[column][2], of))) for objects, of in grown.items()]
        for name, column in columns.items()
    }


def _by_size(results: Results) -> dict[int, list[Grown]]:
    found: dict[int, list[Grown]] = {}
    for kept in results["sizes"]:
        outcomes = {name: Outcome(**kept[name]) for name in ("one", "many", "list")}
        found.setdefault(kept["objects"], []).append(Grown(**{**kept, **outcomes}))
    return found


def _sizes(results: Results) -> str:
    rows = [
        [f"{objects:,}", *(spread([figure(each) for each in of], decimals) for _, decimals, figure in COLUMNS)]
        for objects, of in _by_size(results).items()
    ]
    return table(["Deployments", *(heading for heading, _, _ in COLUMNS)], rows)


def _crowds(results: Results) -> str:
    crowds = [Crowd(**each) for each in results["crowds"]]
    rows = [
        [
            str(each.replicas),
            f"{each.changes_per_s:.0f}",
            f"{each.server_cpu:.2f}",
            f"{each.server_idle_cpu:.3f}",
            f"{each.server_bytes / 1e6:.0f}",
            f"{each.kdm_cpu:.3f}" if each.replicas else "",
            f"{each.kdm_bytes / 1e6:.0f}" if each.replicas else "",
        ]
        for each in crowds
    ]
    headings = [
        "replicas",
        "changes/s",
        "API server, cores",
        "at rest, cores",
        "its MB",
        "each kdm, cores",
        "MB",
    ]
    told = table(headings, rows)
    if len({each.replicas for each in crowds}) > 1:
        change_us = [each.server_cpu / each.changes_per_s * 1e6 for each in crowds]
        fitted = statistics.linear_regression([each.replicas for each in crowds], change_us)
        more = f"about {fitted.slope:,.0f} us more" if fitted.slope > NOISE * fitted.intercept else "nothing measurable"
        told += (
            f"\n\nA change costs the API server {fitted.intercept:,.0f} us and {more} for each replica of kdm: "
            "it encodes an event once and sends it to everybody who watches."
        )
    return told


def _pods(results: Results) -> str:
    rows = []
    for objects, of in _by_size(results).items():
        peak_mb, per_s, server_s = (
            statistics.median(map(figure, of)) for figure in (COLUMNS[3][2], COLUMNS[7][2], COLUMNS[2][2])
        )
        memory_mib = -(-peak_mb * HEADROOM * 1e6 / 2**20 // 16) * 16
        rows.append(
            [
                f"{objects:,}",
                f"{memory_mib:.0f} Mi",
                f"{per_s:,.0f}",
                f"{server_s:.2f} s",
                f"{10 * memory_mib:,.0f} Mi",
                f"{10 * per_s:,.0f}",
                f"{10 * server_s:.1f} s",
            ]
        )
    headings = [
        "Deployments", "one pod: memory limit", "GETs/s", "API server, at its start", "ten pods: memory", "GETs/s",
        "API server, at their start",
    ]  # fmt: skip
    return (
        f"{table(headings, rows)}\n\nThe memory limit is the peak and a quarter more. A pod has a core to itself. "
        "What ten carry is computed from one: they share nothing but the API server."
    )
