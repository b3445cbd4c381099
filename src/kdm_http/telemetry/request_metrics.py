"""Rate, errors and duration of requests, by dialect, route and status: one dict look-up for each, added up on a scrape.

prometheus_client's own counters find a child by its labels and take a lock at each change. These do neither, so they
are changed and scraped on one thread, the event loop's.
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

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
"""Buckets, in seconds: a read from memory takes less than a millisecond, a write as long as the cluster takes."""

COUNTED_USERS: Final = 100
"""Users with a time series of their own: a CA may certify any number, Prometheus cannot hold any number."""

OTHER: Final = "other"
"""The label of what has no label of its own: methods nobody defined, users beyond the counted ones."""

_BOUNDS: Final = [*map(floatToGoString, SECONDS), "+Inf"]
_METHODS: Final = frozenset(HTTPMethod)


class RequestMetrics(Collector):
    """Counts answers. No label holds what a caller made up."""

    def __init__(self) -> None:
        # For each method, route and status: the count of each bucket, then the sum of the seconds.
        self._answers: dict[tuple[str, str, int], list[float]] = {}
        self._users: dict[str, int] = {}

    def count(self, answered: Answered) -> None:
        """Count one answer: an observer. Streams are counted by :mod:`kdm_http.telemetry.stream_metrics`."""
        method, route, status, seconds, user, _, _, _, _, stream = answered
        if stream:
            return
        answers = self._answers.get((method, route, status)) or self._start(method, route, status)
        answers[bisect_left(SECONDS, seconds)] += 1
        answers[-1] += seconds
        users = self._users
        if user in users:
            users[user] += 1
        elif len(users) < COUNTED_USERS:
            users[user] = 1
        else:
            users[OTHER] = users.get(OTHER, 0) + 1

    def collect(self) -> Iterator[Metric]:
        """Return the families as they are now."""
        requests = CounterMetricFamily(
            "kdm_http_requests_total",
            "Requests answered, by dialect, method, route template and status (0: the client left before one).",
            labels=("dialect", "method", "route", "status"),
        )
        by_route: dict[tuple[str, str, str], list[float]] = defaultdict(lambda: [0.0] * (len(_BOUNDS) + 1))
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

    def _start(self, method: str, route: str, status: int) -> list[float]:
        method = method if method in _METHODS else OTHER
        return self._answers.setdefault((method, route, status), [0.0] * (len(_BOUNDS) + 1))
