"""Metrics for Prometheus: what kdm does, how fresh its cache is, and what it runs on."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Literal, TypeVar

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from kdm_adapters.prometheus.cache import CacheCollector
from kdm_adapters.prometheus.parking import ParkingCollector
from kdm_adapters.prometheus.series import Counters, Histograms
from kdm_core import (
    EventInstrument,
    ItemOutcome,
    Outcome,
    ParkingStatus,
    ServiceInstrument,
    SyncStatus,
    WatchInstrument,
)

REQUEST_BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Buckets for requests to the cluster, in seconds: a healthy API server answers within the first few."""

LIST_BOUNDS_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Buckets for reading a complete state, in seconds: up to the API server's own limit of a minute for a request."""

WATCH_ENDS: Final = (
    "timeout",
    "broken",
    "expired",
    "error",
    "silent",
    "throttled",
    "unreached",
    "very-short",
    "went-back",
)
"""Why watches end: shown at zero from the first list on; further reasons appear as they come."""

KNOWN_VERSIONS: Final = ("", "0.0.4", "1.0.0")
"""The versions of Prometheus' and OpenMetrics' formats that are written, "" for the newest."""

_C = TypeVar("_C", bound=Collector)


class PrometheusInstrument(ServiceInstrument, EventInstrument, WatchInstrument):
    """Keeps kdm's metrics in a registry of its own; ``render`` writes them out.

    The metrics are documented by their own help texts. Labels never hold what a caller sent, and a metric keeps at
    most ``MAX_SERIES`` series.

    Attributes:
        registry: Where everything is registered; collectors of others may be added.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._register(_Build())
        self._reads = self._counters(
            "kdm_cache_reads_total",
            "Reads answered from memory, each a request to the cluster that was not made.",
            ("kind",),
            initial=("get", "find", "list"),
        )
        self._watch_events = self._counters(
            "kdm_watch_events_total", "Watch events that arrived, by watched namespace and type.", ("source", "type")
        )
        self._undecodable = self._counters(
            "kdm_undecodable_events_total",
            "Watch events and listed objects that could not be understood and were left out.",
            ("source",),
        )
        self._watch_ends = self._counters(
            "kdm_watch_ends_total", "Watch streams that ended, by reason.", ("source", "reason")
        )
        self._lists = self._counters(
            "kdm_lists_total", "Complete states read, by how and why.", ("source", "mode", "reason")
        )
        self._list_seconds = self._histograms(
            "kdm_list_duration_seconds", "How long reading a complete state took.", LIST_BOUNDS_S, ("mode",)
        )
        self._backoff_seconds = self._counters(
            "kdm_backoff_seconds_total", "Seconds waited before trying a failed list or watch again.", ("source",)
        )
        self._api_requests = self._counters(
            "kdm_api_requests_total",
            "Requests to the cluster, by RBAC verb and status code (0: no answer).",
            ("verb", "code"),
        )
        self._api_seconds = self._histograms(
            "kdm_api_request_duration_seconds",
            "How long the cluster took to begin its answer, by RBAC verb.",
            REQUEST_BOUNDS_S,
            ("verb",),
        )
        self._writes = self._counters(
            "kdm_writes_total",
            "Attempts to set a replica count, by outcome.",
            ("outcome",),
            initial=tuple(outcome.value for outcome in Outcome),
        )
        self._write_seconds = self._histograms(
            "kdm_write_duration_seconds", "How long an attempt to set a replica count took.", REQUEST_BOUNDS_S
        )
        self._bulk_items = self._counters(
            "kdm_bulk_items_total",
            "Items of batches, by outcome.",
            ("outcome",),
            initial=tuple(outcome.value for outcome in ItemOutcome),
        )
        self._owner_conflicts = self._counters(
            "kdm_owner_conflicts_total",
            "Counts asked for that an owner changes back, by the owner's kind: refused, or overridden.",
            ("kind", "answer"),
        )
        self._lags = self._counters(
            "kdm_subscriber_lags_total", "Times a follower of changes fell behind and had to start over."
        )
        self._audit_lost = self._counters(
            "kdm_audit_events_lost_total", "Audit events that could not be recorded where they belong."
        )
        self._announced = self._counters(
            "kdm_events_announced_total", "Changes announced as Kubernetes Events on their Deployment."
        )
        self._not_announced = self._counters(
            "kdm_events_dropped_total",
            "Changes not announced as Kubernetes Events, by reason.",
            ("reason",),
            initial=("rate", "queue", "refused", "failed", "stopped"),
        )

    def observe(self, sync_status: Callable[[], SyncStatus]) -> None:
        """Report a cache with each scrape. Call it once.

        Args:
            sync_status: Asked at each scrape; ``repository.sync_status``.
        """
        self._register(CacheCollector(sync_status))

    def observe_log(self, dropped: Callable[[], int]) -> None:
        """Report a log's lines with each scrape. Call it once.

        Args:
            dropped: Asked at each scrape: how many were not written so far.
        """
        self._register(_Log(dropped))

    def observe_history(self, entries: Callable[[], int]) -> None:
        """Report how much history is kept with each scrape. Call it once.

        Args:
            entries: Asked at each scrape: how many changes are kept.
        """
        self._register(_History(entries))

    def observe_audit(self, writable: Callable[[], bool]) -> None:
        """Report an audit trail with each scrape. Call it once.

        Args:
            writable: Asked at each scrape: whether it could be written when that was last tried.
        """
        self._register(_Audit(writable))

    def observe_parking(self, status: Callable[[], ParkingStatus]) -> None:
        """Report what is parked with each scrape. Call it once.

        Args:
            status: Asked at each scrape; ``service.parking_status``.
        """
        self._register(ParkingCollector(status))

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Write the metrics out.

        Args:
            accept: The scraper's ``Accept`` header; it may ask for OpenMetrics. Without one, or with one that makes no
                sense, it gets the text format.

        Returns:
            The exposition, and its content type.
        """
        encode, content_type = choose_encoder(",".join(filter(_is_known, accept.split(","))))
        return encode(self.registry), content_type

    def read_served(self, kind: Literal["get", "find", "list"]) -> None:
        self._reads.add((kind,))

    def watch_event(self, source: str, kind: str) -> None:
        self._watch_events.add((source, kind))

    def event_undecodable(self, source: str) -> None:
        self._undecodable.add((source,))

    def listed(self, source: str, mode: Literal["list", "watch-list"], reason: str, seconds: float) -> None:
        self._lists.add((source, mode, reason))
        # From now on a first one is seen as a rise.
        for counters in (self._undecodable, self._backoff_seconds):
            counters.add((source,), 0)
        for end in WATCH_ENDS:
            self._watch_ends.add((source, end), 0)
        self._list_seconds.observe(seconds, (mode,))

    def watch_ended(self, source: str, reason: str) -> None:
        self._watch_ends.add((source, reason))

    def backed_off(self, source: str, seconds: float) -> None:
        self._backoff_seconds.add((source,), seconds)

    def api_request(self, verb: str, code: int, seconds: float) -> None:
        self._api_requests.add((verb, code))
        self._api_seconds.observe(seconds, (verb,))

    def write(self, outcome: str, seconds: float) -> None:
        self._writes.add((outcome,))
        self._write_seconds.observe(seconds)

    def bulk_item(self, outcome: str) -> None:
        self._bulk_items.add((outcome,))

    def owner_conflict(self, kind: str, *, overridden: bool) -> None:
        self._owner_conflicts.add((kind, "overridden" if overridden else "refused"))

    def subscriber_lagged(self) -> None:
        self._lags.add()

    def audit_lost(self) -> None:
        self._audit_lost.add()

    def event_announced(self) -> None:
        self._announced.add()

    def event_dropped(self, reason: Literal["rate", "queue", "refused", "failed", "stopped"]) -> None:
        self._not_announced.add((reason,))

    def _counters(
        self, name: str, help_text: str, labels: tuple[str, ...] = (), initial: tuple[str, ...] = ()
    ) -> Counters:
        return self._register(Counters(name, help_text, labels, [(value,) for value in initial] or None))

    def _histograms(
        self, name: str, help_text: str, bounds: tuple[float, ...], labels: tuple[str, ...] = ()
    ) -> Histograms:
        return self._register(Histograms(name, help_text, bounds, labels))

    def _register(self, collector: _C) -> _C:
        self.registry.register(collector)
        return collector


def _is_known(media_type: str) -> bool:
    """Whether an item of an ``Accept`` header has a version that is written: prometheus_client takes any for one."""
    versions = [
        value for name, _, value in (each.partition("=") for each in media_type.split(";")) if name.strip() == "version"
    ]
    return all(version.strip() in KNOWN_VERSIONS for version in versions)


class _Log(Collector):
    def __init__(self, dropped: Callable[[], int]) -> None:
        self._dropped = dropped

    def collect(self) -> Iterator[Metric]:
        help_text = "Lines of the log that were not written: the reader of standard error stood still, or it is gone."
        yield CounterMetricFamily("kdm_log_lines_dropped", help_text, self._dropped())


class _Audit(Collector):
    def __init__(self, writable: Callable[[], bool]) -> None:
        self._writable = writable

    def collect(self) -> Iterator[Metric]:
        help_text = "1 while the audit trail can be written; 0 while its disk is full or its reader stands still."
        yield GaugeMetricFamily("kdm_audit_writable", help_text, self._writable())


class _History(Collector):
    def __init__(self, entries: Callable[[], int]) -> None:
        self._entries = entries

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("kdm_history_entries", "Changes of counts that are kept as history.", self._entries())


class _Build(Collector):
    def collect(self) -> Iterator[Metric]:
        try:
            release = version("kdm-service")
        except PackageNotFoundError:  # run from a source tree that was never installed
            release = "unknown"
        labels = {"version": release, "python": platform.python_version()}
        yield InfoMetricFamily("kdm_build", "The version of kdm, and of the Python it runs on.", labels)
