"""Turns the figures into Markdown. `python -m benchmarks.cache.report FILE.json` does it again for figures kept."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.cache.contestants import KDM, PLAIN, TRANSFORMED
from benchmarks.cache.measurement import Sample

__all__ = ["Results", "line", "tables"]

Results: TypeAlias = dict[str, Any]
Figure: TypeAlias = Callable[[Sample], float]

# Heading, how many decimals, what it is.
FIGURES: tuple[tuple[str, int, Figure], ...] = (
    ("synced, s", 2, lambda s: s.sync_s),
    ("CPU to synced, s", 2, lambda s: s.sync_cpu_s),
    ("peak, KB/D.", 2, lambda s: s.peak_bytes / s.objects / 1000),
    ("steady, KB/D.", 2, lambda s: s.steady_bytes / s.objects / 1000),
    ("live, KB/D.", 2, lambda s: s.live_bytes / s.objects / 1000),
    ("visible p50, ms", 1, lambda s: s.event_p50_ms),
    ("visible p99, ms", 1, lambda s: s.event_p99_ms),
    ("CPU/event, us", 0, lambda s: s.event_cpu_us),
    ("in a burst, us", 0, lambda s: s.burst_cpu_us),
)
SYNCED, CPU, PEAK, STEADY, LIVE, P50, P99, EVENT_CPU, BURST_CPU = range(len(FIGURES))
COMPARED = (SYNCED, CPU, PEAK, STEADY, P50, P99, EVENT_CPU, BURST_CPU)


def line(sample: Sample) -> str:
    """Describe one sample in a line."""
    figures = ", ".join(f"{heading} {figure(sample):.{decimals}f}" for heading, decimals, figure in FIGURES)
    more = f"baseline {sample.baseline_bytes / 1e6:.0f} MB, acknowledged {sample.ack_p50_ms:.1f} ms"
    noise = f"API server {sample.server_cpu_s:.2f} s CPU, others {sample.others_cpu:.2f} cores, {sample.missed} missed"
    return f"{sample.objects} {sample.reader}: {figures}, {more}, {noise}"


def tables(results: Results) -> str:
    """Render everything that was measured."""
    samples = [Sample(**each) for each in results["samples"]]
    parts = [
        f"Measured {results['at']} on {results['machine']}; "
        + ", ".join(f"{name} {version}" for name, version in results["versions"].items())
        + f". A Deployment is {results['object_bytes']} bytes of JSON; {results['plan']['rate_per_s']:g} of them "
        f"change a second for {results['plan']['changing_s']:g} s."
    ]
    for objects in sorted({sample.objects for sample in samples}):
        of_size = [sample for sample in samples if sample.objects == objects]
        readers = list(dict.fromkeys(sample.reader for sample in of_size))
        by_reader = {reader: [sample for sample in of_size if sample.reader == reader] for reader in readers}
        traced = results["kdm_traced_bytes"].get(str(objects))
        parts += [f"### {objects:,} Deployments", _figures(by_reader, traced), _noise(of_size)]
        for peer in (PLAIN, TRANSFORMED):
            if peer in readers:
                parts.append(f"How many times {peer}'s:\n\n{_ratios(by_reader, peer)}")
        if {KDM, PLAIN} <= set(readers):
            parts.append(_targets(by_reader))
    return "\n\n".join(parts) + "\n"


def _figures(by_reader: dict[str, list[Sample]], traced: int | None) -> str:
    rows = []
    for reader, samples in by_reader.items():
        heap = next((sample.heap_bytes for sample in samples if sample.heap_bytes), traced if reader == KDM else None)
        cells = [_spread([figure(sample) for sample in samples], decimals) for _, decimals, figure in FIGURES]
        cells.append("" if heap is None else f"{heap / samples[0].objects / 1000:.2f}")
        cells.append(f"{statistics.median(sample.baseline_bytes for sample in samples) / 1e6:.0f}")
        rows.append([reader, *cells])
    return _table(["reader", *(heading for heading, _, _ in FIGURES), "heap, KB/D.", "baseline, MB"], rows)


def _noise(samples: list[Sample]) -> str:
    busy = [sample.others_cpu for sample in samples]
    rounds = len(samples) // len({sample.reader for sample in samples})
    acknowledged_ms = statistics.median(sample.ack_p50_ms for sample in samples)
    return (
        f"Rounds: {rounds}. Everything else on the machine kept {statistics.median(busy):.2f} cores busy (at most "
        f"{max(busy):.2f}) while readers synchronised and rested. The API server acknowledged half the changes within "
        f"{acknowledged_ms:.1f} ms. Changes not shown one by one: {sum(sample.missed for sample in samples)}."
    )


def _ratios(by_reader: dict[str, list[Sample]], peer: str) -> str:
    rows = [
        [reader, *(f"{_median(samples, each) / _median(by_reader[peer], each):.2f}" for each in COMPARED)]
        for reader, samples in by_reader.items()
        if reader != peer
    ]
    return _table(["reader", *(FIGURES[each][0].partition(",")[0] for each in COMPARED)], rows)


def _targets(by_reader: dict[str, list[Sample]]) -> str:
    kdm, plain = by_reader[KDM], by_reader[PLAIN]
    found = (
        ("synced, times client-go's", _median(kdm, SYNCED) / _median(plain, SYNCED), 1.5),
        ("steady memory, KB a Deployment", _median(kdm, STEADY), 1.0),
        ("peak growth, times the steady", _median(kdm, PEAK) / _median(kdm, STEADY), 1.3),
        ("CPU an event one by one, us", _median(kdm, EVENT_CPU), 40.0),
        ("CPU an event in a burst, us", _median(kdm, BURST_CPU), 40.0),
    )
    rows = [[what, f"{is_:.2f}", f"{most:g}", "met" if is_ <= most else "**missed**"] for what, is_, most in found]
    return _table(["kdm's targets", "measured", "at most", ""], rows)


def _median(samples: list[Sample], figure: int) -> float:
    return statistics.median(FIGURES[figure][2](sample) for sample in samples)


def _spread(values: list[float], decimals: int) -> str:
    middle = f"{statistics.median(values):.{decimals}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{decimals}f}-{max(values):.{decimals}f})"


def _table(headings: list[str], rows: list[list[str]]) -> str:
    rule = ["---", *["--:"] * (len(headings) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [headings, rule, *rows])


if __name__ == "__main__":
    print(tables(json.loads(Path(sys.argv[1]).read_text())))
