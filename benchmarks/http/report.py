"""Turns the figures into Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from benchmarks.http.alone import BARE, CHANGING, IDLE, RELISTING
from benchmarks.http.contestants import KDM, RAW
from benchmarks.http.load import Outcome
from benchmarks.http.serving import LIST, SCENARIOS, Sample

__all__ = ["CPU", "PER_S", "Results", "by_contestant", "comparison", "median", "ratios", "spread", "table", "tables"]

Results: TypeAlias = dict[str, Any]
Figure: TypeAlias = Callable[[Outcome], float]

PER_S: Figure = lambda outcome: outcome.per_s  # noqa: E731 - a figure like those below
CPU: Figure = lambda outcome: outcome.cpu_us  # noqa: E731
# Heading, how many decimals, what it is.
FIGURES: tuple[tuple[str, int, Figure], ...] = (
    ("requests/s", 0, PER_S),
    ("p50, ms", 2, lambda outcome: outcome.p50_us / 1e3),
    ("p99, ms", 2, lambda outcome: outcome.p99_us / 1e3),
    ("CPU/request, us", 0, CPU),
)
HOT = SCENARIOS[1].name
"""What the target for a single GET is measured with: enough clients to keep the server busy."""


def tables(results: Results) -> str:
    """Render everything that was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    parts = [f"Measured on {results['machine']}; {versions}. On its cores: {results['cores']}."]
    render = {"serving": _serving, "starts": _starts, "writes": _writes, "changes": _changes}
    measured = results["parts"]
    parts += [f"{render[name](measured[name])}\n\n{_when(measured[name])}" for name in render if name in measured]
    parts.append(_targets(measured))
    return "\n\n".join(parts) + "\n"


def by_contestant(kept: Iterable[Mapping[str, Any]], scenario: str) -> dict[str, list[Sample]]:
    """Gather the samples of a scenario."""
    found: dict[str, list[Sample]] = {}
    for sample in map(Sample.read, kept):
        if sample.scenario == scenario:
            found.setdefault(sample.contestant, []).append(sample)
    return found


def ratios(of: Sequence[Sample], to: Sequence[Sample], figure: Figure) -> list[float]:
    """Divide one contestant's figure by another's, round by round: what disturbs a round disturbs both."""
    other = {sample.turn: sample for sample in to}
    return [figure(each.outcome) / figure(other[each.turn].outcome) for each in of if each.turn in other]


def median(samples: Iterable[Sample], figure: Figure) -> float:
    """Return the median of a figure."""
    return statistics.median(figure(each.outcome) for each in samples)


def comparison(old: Results, new: Results) -> str:
    """Tell what has changed between two commits: kdm's figures as parts of the limit's, measured in the same run."""
    rows = []
    for scenario in (each.name for each in SCENARIOS):
        runs = [
            by_contestant(each["parts"].get("serving", {"samples": []})["samples"], scenario) for each in (old, new)
        ]
        if not all({KDM, RAW} <= run.keys() for run in runs):
            continue
        for what, of, to, figure in (("requests/s", KDM, RAW, PER_S), ("requests/CPU", RAW, KDM, CPU)):
            before, after = (ratios(run[of], run[to], figure) for run in runs)
            change = statistics.median(after) / statistics.median(before) - 1
            apart = min(after) > max(before) or max(after) < min(before)
            rows.append(
                [
                    scenario,
                    what,
                    spread(before, 2),
                    spread(after, 2),
                    f"{change:+.1%}",
                    "changed" if apart else "within the noise",
                ]
            )
    for what, figure_of in ALONE.items():
        alone = [figure_of(each["parts"]) for each in (old, new)]
        if all(alone):
            before, after = alone
            change = statistics.median(after) / statistics.median(before) - 1
            apart = min(after) > max(before) or max(after) < min(before)
            rows.append(
                [
                    "kdm alone",
                    what,
                    spread(before, 2),
                    spread(after, 2),
                    f"{change:+.1%}",
                    "changed" if apart else "within the noise",
                ]
            )
    commits = [" and ".join(sorted({part["commit"] for part in each["parts"].values()})) for each in (old, new)]
    return "As parts of the raw ASGI application's, round by round.\n\n" + table(
        ["scenario", "figure", *commits, "change", "ranges"], rows
    )


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Render a table."""
    rule = ["---", *["--:"] * (len(headings) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [headings, rule, *rows])


def _when(part: Mapping[str, Any]) -> str:
    return f"Measured {part['at']} at commit {part['commit'] or 'unknown'}."


def _serving(part: Mapping[str, Any]) -> str:
    told = [f"## Serving {part['objects']:,} Deployments"]
    names = [name for name in (each.name for each in SCENARIOS) if by_contestant(part["samples"], name)]
    for scenario in names:
        of = by_contestant(part["samples"], scenario)
        rows = []
        for contestant, samples in of.items():
            outcomes = [each.outcome for each in samples]
            cells = [spread([figure(each) for each in outcomes], decimals) for _, decimals, figure in FIGURES]
            busy = [
                statistics.median(each.server_busy for each in outcomes),
                statistics.median(each.generator_busy for each in outcomes),
            ]
            errors = sum(sum(each.errors.values()) for each in outcomes)
            rows.append([contestant, *cells, *(f"{each:.2f}" for each in busy), str(errors)])
        headings = [scenario, *(heading for heading, _, _ in FIGURES), "server busy", "generator busy", "errors"]
        told.append(table(headings, rows))
    everybody = list(dict.fromkeys(each["contestant"] for each in part["samples"]))
    peers = [each for each in everybody if each != KDM]
    if KDM in everybody:
        for what, figure in (
            ("kdm's requests a second, times those of", PER_S),
            ("kdm's processor time for a request, times that of", CPU),
        ):
            rows = []
            for scenario in names:
                of = by_contestant(part["samples"], scenario)
                rows.append(
                    [scenario, *(spread(ratios(of[KDM], of[peer], figure), 2) if peer in of else "" for peer in peers)]
                )
            told.append(table([what, *peers], rows))
    negotiated = sorted({each["outcome"]["negotiated"] for each in part["samples"]})
    others = [each["others"] for each in part["samples"]]
    rounds = 1 + max(each["turn"] for each in part["samples"])
    told.append(
        f"Medians of {rounds} rounds, the smallest and the largest in parentheses. Everything else kept "
        f"{statistics.median(others):.2f} cores busy (at most {max(others):.2f}). {' and '.join(negotiated)}."
    )
    return "\n\n".join(told)


def _starts(part: Mapping[str, Any]) -> str:
    starts = part["starts"]
    figures = (
        ("until ready, s", "ready_s", 1.0, 2),
        ("CPU until ready, s", "ready_cpu_s", 1.0, 2),
        ("RSS at rest, MB", "rss_bytes", 1e6, 0),
        ("cores busy at rest", "idle_cpu", 1.0, 3),
    )
    cells = [spread([each[key] / unit for each in starts], decimals) for _, key, unit, decimals in figures]
    return "## Starting, on an empty cluster\n\n" + table(
        ["", *(heading for heading, _, _, _ in figures)], [["kdm", *cells]]
    )


def _writes(part: Mapping[str, Any]) -> str:
    (scenario,) = {each["scenario"] for each in part["samples"]}
    rows = [
        [
            contestant,
            *(spread([figure(each.outcome) for each in samples], decimals) for _, decimals, figure in FIGURES[:3]),
        ]
        for contestant, samples in by_contestant(part["samples"], scenario).items()
    ]
    return f"## Writing to one of {part['objects']:,} Deployments\n\n" + table(
        [scenario, *(heading for heading, _, _ in FIGURES[:3])], rows
    )


def _changes(part: Mapping[str, Any]) -> str:
    (scenario,) = {each["scenario"] for each in part["samples"]}
    rows = []
    for contestant, samples in _under_changes(part).items():
        outcomes = [each.outcome for each in samples]
        cells = [spread([figure(each) for each in outcomes], decimals) for _, decimals, figure in FIGURES[1:3]]
        worst, busy = (
            spread(values, 2)
            for values in ([each.max_us / 1e3 for each in outcomes], [each.server_busy for each in outcomes])
        )
        changes = statistics.median(
            each["changes_per_s"] for each in part["samples"] if each["contestant"] == contestant
        )
        rows.append([contestant, *cells, worst, busy, f"{changes:.0f}"])
    return f"## Reading one of {part['objects']:,} Deployments while they change\n\n" + table(
        [scenario, "p50, ms", "p99, ms", "longest, ms", "server busy", "changes/s"], rows
    )


def _under_changes(part: Mapping[str, Any]) -> dict[str, list[Sample]]:
    kept = [{key: value for key, value in each.items() if key != "changes_per_s"} for each in part["samples"]]
    return by_contestant(kept, kept[0]["scenario"])


def _share(scenario: str, contestant: str = RAW) -> Callable[[Mapping[str, Any]], list[float]]:
    def of(parts: Mapping[str, Any]) -> list[float]:
        samples = by_contestant(parts.get("serving", {"samples": []})["samples"], scenario)
        return ratios(samples.get(KDM, []), samples.get(contestant, []), PER_S)

    return of


def _slower(contestant: str) -> Callable[[Mapping[str, Any]], list[float]]:
    def of(parts: Mapping[str, Any]) -> list[float]:
        samples = _under_changes(parts["changes"]) if "changes" in parts else {}
        return ratios(samples.get(contestant, []), samples.get(IDLE, []), lambda outcome: outcome.p99_us)

    return of


def _of_starts(key: str, unit: float) -> Callable[[Mapping[str, Any]], list[float]]:
    return lambda parts: [each[key] / unit for each in parts.get("starts", {"starts": []})["starts"]]


def _beyond_bare(parts: Mapping[str, Any]) -> list[float]:
    """Return by how much a write through kdm takes longer than 1.1 times the bare one, in milliseconds."""
    kept = parts.get("writes", {"samples": []})["samples"]
    samples = by_contestant(kept, kept[0]["scenario"]) if kept else {}
    bare = {each.turn: each.outcome.p50_us for each in samples.get(BARE, [])}
    return [(each.outcome.p50_us - 1.1 * bare[each.turn]) / 1e3 for each in samples.get(KDM, []) if each.turn in bare]


ALONE: Mapping[str, Callable[[Mapping[str, Any]], list[float]]] = {
    "CPU until ready, s": _of_starts("ready_cpu_s", 1.0),
    "RSS at rest, MB": _of_starts("rss_bytes", 1e6),
    "p99 of a GET under changes, times idle": _slower(CHANGING),
    "p99 of a GET during a relist, times idle": _slower(RELISTING),
}

# What, how it is found, its bound, and whether that is the least or the most it may be.
TARGETS: tuple[tuple[str, Callable[[Mapping[str, Any]], list[float]], float, bool], ...] = (
    (f"{HOT}: times the raw ASGI application's", _share(HOT), 0.85, True),
    (f"{LIST.name}: times constant bytes", _share(LIST.name), 0.9, True),
    ("p99 of a GET under changes, times idle", _slower(CHANGING), 2.0, False),
    ("p99 of a GET during a relist, times idle", _slower(RELISTING), 2.0, False),
    ("a write beyond 1.1 times the API server's PATCH, ms", _beyond_bare, 2.0, False),
    ("CPU until ready on an empty cluster, s", _of_starts("ready_cpu_s", 1.0), 1.5, False),
    ("RSS at rest on an empty cluster, MB", _of_starts("rss_bytes", 1e6), 90.0, False),
)


def _targets(parts: Mapping[str, Any]) -> str:
    rows = []
    for what, find, bound, at_least in TARGETS:
        if found := find(parts):
            middle = statistics.median(found)
            met = middle >= bound if at_least else middle <= bound
            rows.append(
                [
                    what,
                    spread(found, 2),
                    f"at {'least' if at_least else 'most'} {bound:g}",
                    "met" if met else "**missed**",
                ]
            )
    return "## kdm's targets\n\n" + table(["", "measured", "target", ""], rows)


def spread(values: Sequence[float], decimals: int) -> str:
    """Render the median, and of more than one value the smallest and the largest."""
    if decimals == 0 and statistics.median(values) < 10:  # a list that takes seconds
        decimals = 2
    middle = f"{statistics.median(values):,.{decimals}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):,.{decimals}f}-{max(values):,.{decimals}f})"
