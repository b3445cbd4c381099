"""What is asked for at each scrape, and is not counted as it happens."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector


class Log(Collector):
    """How many lines of the log were not written."""

    def __init__(self, dropped: Callable[[], int]) -> None:
        self._dropped = dropped

    def collect(self) -> Iterator[Metric]:
        """Return it as it is now."""
        help_text = "Lines of the log that were not written: the reader of standard error stood still, or it is gone."
        yield CounterMetricFamily("kdm_log_lines_dropped", help_text, self._dropped())


class AuditTrail(Collector):
    """Whether the audit trail can be written."""

    def __init__(self, writable: Callable[[], bool]) -> None:
        self._writable = writable

    def collect(self) -> Iterator[Metric]:
        """Return it as it is now."""
        help_text = "1 while the audit trail can be written; 0 while its disk is full or its reader stands still."
        yield GaugeMetricFamily("kdm_audit_writable", help_text, self._writable())


class History(Collector):
    """How much history is kept."""

    def __init__(self, entries: Callable[[], int]) -> None:
        self._entries = entries

    def collect(self) -> Iterator[Metric]:
        """Return it as it is now."""
        yield GaugeMetricFamily("kdm_history_entries", "Changes of counts that are kept as history.", self._entries())


class Build(Collector):
    """What runs."""

    def collect(self) -> Iterator[Metric]:
        """Return it as it is now."""
        try:
            release = version("kdm-service")
        except PackageNotFoundError:  # run from a source tree that was never installed
            release = "unknown"
        labels = {"version": release, "python": platform.python_version()}
        yield InfoMetricFamily("kdm_build", "The version of kdm, and of the Python it runs on.", labels)
