"""How far the cache can be trusted, asked at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kdm_adapters.prometheus.series import MAX_SERIES
from kdm_core import SourceStatus, SyncStatus


class CacheCollector(Collector):
    """Reports a cache with each scrape.

    Args:
        sync_status: Asked at each scrape.
    """

    def __init__(self, sync_status: Callable[[], SyncStatus]) -> None:
        self._sync_status = sync_status

    def collect(self) -> Iterator[Metric]:
        status = self._sync_status()
        yield GaugeMetricFamily("kdm_cache_objects", "Deployments held in memory.", status.objects)
        yield GaugeMetricFamily(
            "kdm_cache_age_seconds",
            "Seconds since the newest proof that the cache is current: an event, a bookmark or a list; +Inf before.",
            status.age_s,
        )
        yield GaugeMetricFamily(
            "kdm_cache_synced", "1 once a complete state of every source has been read.", status.synced
        )
        yield GaugeMetricFamily(
            "kdm_cache_connected", "1 while the cluster delivers changes of every source.", status.connected
        )
        yield GaugeMetricFamily("kdm_cache_stale", "1 while the cache is older than it may be.", status.stale)
        yield from _per_source(status.sources)
        yield _owners(status.owners)
        if status.resource_version.isascii() and status.resource_version.isdigit():
            yield GaugeMetricFamily(
                "kdm_cache_resource_version",
                "The newest resourceVersion applied (the oldest of several watches), as a number (KEP-5504).",
                int(status.resource_version),
            )


def _owners(sources: Sequence[SourceStatus]) -> Metric:
    """Report each source of owners: a kind in a watched namespace, or in all of them."""
    family = GaugeMetricFamily(
        "kdm_owners_source_connected",
        "1 while the owners of this source are known: read once, and their changes are delivered.",
        labels=("source",),
    )
    for each in sources[:MAX_SERIES]:
        family.add_metric((each.source,), each.synced and each.connected)
    return family


def _per_source(sources: Sequence[SourceStatus]) -> Iterator[Metric]:
    """Report each source: a watched namespace, or "*" for all of them."""
    gauges: tuple[tuple[str, str, Callable[[SourceStatus], float]], ...] = (
        ("synced", "1 once a complete state of this source has been read: its reads are served.", lambda s: s.synced),
        ("connected", "1 while the cluster delivers changes of this source.", lambda s: s.connected),
        ("age_seconds", "Seconds since the newest proof that this source is current; +Inf before.", lambda s: s.age_s),
    )
    for what, help_text, value in gauges:
        family = GaugeMetricFamily(f"kdm_cache_source_{what}", help_text, labels=("source",))
        for each in sources[:MAX_SERIES]:
            family.add_metric((each.source,), value(each))
        yield family
