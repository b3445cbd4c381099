"""Rate, errors, duration and features of requests, by dialect, route and status, added up on a scrape.

prometheus_client's own counters find a child by its labels and take a lock at each change. These do neither, so they
are changed and scraped on one thread, the event loop's. Answers that are given again are counted in slots: one for
each user and kind of answer, with a count for each bucket of the histogram, which a scrape empties into the rest.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from http import HTTPMethod
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from kdm_http.api.answered import Answered
from kdm_http.api.routes import dialect_of
from kdm_http.telemetry.feature_metrics import Feature, FeatureMetrics, features_of

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
"""Buckets, in seconds: a read from memory takes less than a millisecond, a write as long as the cluster takes."""

COUNTED_USERS: Final = 100
"""Users with a time series of their own: a CA may certify any number, Prometheus cannot hold any number."""

OTHER: Final = "other"
"""The label of what has no label of its own: methods nobody defined, users beyond the counted ones."""

_BOUNDS: Final = [*map(floatToGoString, SECONDS), "+Inf"]
_METHODS: Final = frozenset(HTTPMethod)


class Slot:
    """Answers of one kind to one user since the last scrape; see :class:`kdm_http.api.answered.Slot`.

    Attributes:
        counts: How many fell into each bucket, then the sum of their seconds.
    """

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts = _no_answers()

    def add(self, seconds: float) -> None:
        """Count one, which took so many seconds."""
        counts = self.counts
        counts[bisect_left(SECONDS, seconds)] += 1
        counts[-1] += seconds


class RequestMetrics(Collector):
    """Counts answers: a :class:`kdm_http.api.answered.Counter`. No label holds what a caller made up."""

    def __init__(self) -> None:
        # For each method, route and status: the count of each bucket, then the sum of the seconds.
        self._answers: dict[tuple[str, str, int], list[float]] = {}
        self._users: dict[str, int] = {}
        self._features = FeatureMetrics()
        self._slots: dict[tuple[str, str, int, str, tuple[Feature, ...]], Slot] = {}

    def count(self, answered: Answered) -> None:
        """Count one answer: an observer. Streams are counted by :mod:`kdm_http.telemetry.stream_metrics`."""
        method, route, status, seconds, user, _, _, _, _, stream = answered
        if stream:
            return
        answers = self._answers.get((method, route, status)) or self._start(method, route, status)
        answers[bisect_left(SECONDS, seconds)] += 1
        answers[-1] += seconds
        self._users[self._label(user)] += 1
        self._features.count(route, features_of(answered))

    def slot(self, answered: Answered) -> Slot:
        """Return where further answers like this one are counted. It was counted itself: its user has a label."""
        method, route, status, _, user, _, _, _, _, _ = answered
        return self._slots.setdefault((method, route, status, self._label(user), features_of(answered)), Slot())

    def collect(self) -> Iterator[Metric]:
        """Return the families as they are now."""
        self._empty_slots()
        requests = CounterMetricFamily(
            "kdm_http_requests_total",
            "Requests answered, by dialect, method, route template and status (0: the client left before one).",
            labels=("dialect", "method", "route", "status"),
        )
        by_route: dict[tuple[str, str, str], list[float]] = defaultdict(_no_answers)
        for (method, route, status), answers in self._answers.items():
            labels = (dialect_of(route), method, route or "none")
            requests.add_metric([*labels, str(status)], sum(answers[:-1]))
            by_route[labels] = [known + new for known, new in zip(by_route[labels], answers, strict=True)]
        yield requests

        durations = HistogramMetricFamily(
            "kdm_http_request_duration_seconds",
            "From a request's header to the end of its answer.",
            labels=("dialect", "method", "route"),
        )
        for labels, (*counts, total_s) in by_route.items():
            below, buckets = 0.0, []
            for bound, count in zip(_BOUNDS, counts, strict=True):
                below += count
                buckets.append((bound, below))
            durations.add_metric(labels, buckets, total_s)
        yield durations

        users = CounterMetricFamily(
            "kdm_http_requests_by_user_total",
            f"Requests answered, for each of the first {COUNTED_USERS} users since the start; the others as one.",
            labels=("user",),
        )
        for user, count in self._users.items():
            users.add_metric([user], count)
        yield users
        yield self._features.family()

    def _empty_slots(self) -> None:
        for (method, route, status, user, features), slot in self._slots.items():
            counts, slot.counts = slot.counts, _no_answers()
            if times := int(sum(counts[:-1])):
                answers = self._answers.get((method, route, status)) or self._start(method, route, status)
                answers[:] = [known + new for known, new in zip(answers, counts, strict=True)]
                self._users[user] += times
                self._features.count(route, features, times)

    def _label(self, user: str) -> str:
        users = self._users
        if user in users:
            return user
        label = user if len(users) < COUNTED_USERS else OTHER
        users.setdefault(label, 0)
        return label

    def _start(self, method: str, route: str, status: int) -> list[float]:
        method = method if method in _METHODS else OTHER
        return self._answers.setdefault((method, route, status), _no_answers())


def _no_answers() -> list[float]:
    return [0.0] * (len(_BOUNDS) + 1)
