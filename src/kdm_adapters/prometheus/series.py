"""Metrics that cost next to nothing to change: plain numbers in dicts, turned into families when scraped.

prometheus_client's own counters take a lock at each change; these do not. So they are changed on one thread (the event
loop's); they may be scraped from any.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

Labels = tuple[str | int, ...]

MAX_SERIES: Final = 1000
"""How many sets of label values a metric keeps apart; further ones are counted together."""

OTHER: Final = "other"
"""The value of every label of the series that counts what is beyond ``MAX_SERIES``."""


class Counters(Collector):
    """Counters of one name, distinguished by labels.

    Args:
        name: What the exposition calls it, ``_total`` included.
        help_text: What it counts, for a person.
        labels: The names of its labels.
        initial: Sets of label values that are there from the start at zero, so that a first event is seen as a rise.
    """

    def __init__(
        self, name: str, help_text: str, labels: tuple[str, ...] = (), initial: Iterable[Labels] | None = None
    ) -> None:
        self._name, self._help, self._labels = name, help_text, labels
        self._values: dict[Labels, float] = dict.fromkeys(((),) if initial is None and not labels else initial or (), 0)

    def add(self, labels: Labels = (), amount: float = 1) -> None:
        """Count one, or an amount that is not negative."""
        try:
            self._values[labels] += amount
        except KeyError:
            key = labels if len(self._values) < MAX_SERIES else (OTHER,) * len(self._labels)
            self._values[key] = self._values.get(key, 0) + amount

    def collect(self) -> Iterator[Metric]:
        """Return the family as it is now."""
        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for labels, value in list(self._values.items()):
            family.add_metric([str(label) for label in labels], value)
        yield family


class Histograms(Collector):
    """Histograms of one name, distinguished by labels.

    Args:
        name: What the exposition calls it, the unit included.
        help_text: What it observes, for a person.
        bounds: The upper bounds of its buckets, rising, without infinity.
        labels: The names of its labels.
    """

    def __init__(self, name: str, help_text: str, bounds: tuple[float, ...], labels: tuple[str, ...] = ()) -> None:
        self._name, self._help, self._bounds, self._labels = name, help_text, bounds, labels
        self._observed: dict[Labels, list[float]] = {}  # a count for each bucket, one for +Inf, and the sum
        if not labels:
            self._start(())

    def observe(self, value: float, labels: Labels = ()) -> None:
        """Put a value into its bucket."""
        observed = self._observed.get(labels)
        if observed is None:
            key = labels if len(self._observed) < MAX_SERIES else (OTHER,) * len(self._labels)
            observed = self._observed.get(key) or self._start(key)
        observed[bisect_left(self._bounds, value)] += 1
        observed[-1] += value

    def collect(self) -> Iterator[Metric]:
        """Return the family as it is now."""
        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        for labels, observed in list(self._observed.items()):
            *counts, total = observed.copy()
            buckets, below = [], 0.0
            for name, count in zip(names, counts, strict=True):
                below += count
                buckets.append((name, below))
            family.add_metric([str(label) for label in labels], buckets, total)
        yield family

    def _start(self, labels: Labels) -> list[float]:
        self._observed[labels] = observed = [0.0] * (len(self._bounds) + 2)
        return observed
