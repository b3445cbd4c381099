"""Metrics of streams, apart from those of requests. No label holds what a caller made up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from kdm_http.api.stream.events import Reset, StreamEvents
from kdm_http.api.stream.frames import NAMES

CLOSED: Final = ("shutdown", "connection-age", "hang-up", "certificate", "forbidden", "error")
"""Why a stream ended; ``certificate`` stands for every reason that begins so."""


class StreamMetrics(StreamEvents):
    """Counts streams and what is sent on them.

    Args:
        registry: Where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._sent = dict.fromkeys(NAMES, 0)
        self._streams = Gauge("kdm_streams", "Open streams.", registry=registry)
        self._opened = Counter("kdm_streams_opened", "Streams that were begun.", registry=registry)
        self._closed = Counter("kdm_streams_closed", "Streams that ended, by reason.", ["reason"], registry=registry)
        self._refused = Counter(
            "kdm_streams_refused",
            "Streams that found no place: too many of one user, or in total.",
            ["limit"],
            registry=registry,
        )
        self._resets = Counter(
            "kdm_stream_resets",
            "Clients that got the present state again, by reason; lagged are those that read too slowly.",
            ["reason"],
            registry=registry,
        )
        self._skipped = Counter(
            "kdm_stream_changes_skipped",
            "Changes that lagging clients did not get: the present state took their place.",
            registry=registry,
        )
        self._backlog = Gauge(
            "kdm_stream_backlog_changes", "How many changes the slowest open stream is behind.", registry=registry
        )
        registry.register(_Sent(self._sent))
        for reason in CLOSED:
            self._closed.labels(reason)
        for reset in get_args(Reset):
            self._resets.labels(reset)
        for limit in ("user", "total"):
            self._refused.labels(limit)

    def opened(self) -> None:
        """Count it as open."""
        self._opened.inc()
        self._streams.inc()

    def closed(self, reason: str) -> None:
        """Count it as closed."""
        self._streams.dec()
        self._closed.labels("certificate" if reason.startswith("certificate-") else reason).inc()

    def refused(self, limit: Literal["user", "total"]) -> None:
        """Count it."""
        self._refused.labels(limit).inc()

    def sent(self, names: Iterable[bytes]) -> None:
        """Count them."""
        sent = self._sent
        for name in names:
            sent[name] += 1

    def reset(self, reason: Reset, skipped: int) -> None:
        """Count it, and what was skipped."""
        self._resets.labels(reason).inc()
        self._skipped.inc(skipped)

    def observe_backlog(self, backlog: Callable[[], int]) -> None:
        """Ask for it at each scrape."""
        self._backlog.set_function(backlog)


class _Sent(Collector):
    """Adds up events on a scrape: one dict look-up for each that is sent."""

    def __init__(self, sent: dict[bytes, int]) -> None:
        self._sent = sent

    def collect(self) -> Iterator[Metric]:
        """Return the family as it is now."""
        family = CounterMetricFamily("kdm_stream_events_total", "Events sent on streams.", labels=("event",))
        for name, count in self._sent.items():
            family.add_metric([name.decode()], count)
        yield family
