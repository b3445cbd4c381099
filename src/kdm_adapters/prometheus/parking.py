"""What is parked, as metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kdm_core.parking import ParkingStatus


class ParkingCollector(Collector):
    """Reports what is parked, with each scrape.

    Args:
        status: Asked at each scrape.
        now: Seconds since 1970.
    """

    def __init__(self, status: Callable[[], ParkingStatus], now: Callable[[], float] = time.time) -> None:
        self._status = status
        self._now = now

    def collect(self) -> Iterator[Metric]:
        """Return the families as they are now."""
        status = self._status()
        yield GaugeMetricFamily(
            "kdm_parked_deployments", "Deployments that are parked: at zero, their count remembered.", status.parked
        )
        age_s = 0.0 if status.oldest_at is None else max(0.0, self._now() - status.oldest_at)
        yield GaugeMetricFamily(
            "kdm_parked_oldest_age_seconds", "Seconds since the first of them was parked; 0 where none is.", age_s
        )
        yield GaugeMetricFamily(
            "kdm_parked_unreadable",
            "Records of parked Deployments that cannot be read, so that these can be neither parked nor restored.",
            len(status.unreadable),
        )
