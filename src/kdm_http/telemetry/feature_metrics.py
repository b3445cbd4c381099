"""Which features of the API are used, by dialect: for those who scrape kdm, and for nobody else.

Dialect, route and method are counted by :mod:`kdm_http.telemetry.request_metrics`; this counts what they leave out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from kdm_http.api.answered import Answered
from kdm_http.api.routes import DIALECT_OF

Feature = Literal["namespace", "all-namespaces", "head", "request-id", "traceparent", "if-none-match", "if-match"]

_FIELDS: Final[dict[bytes, Feature]] = {
    b"x-request-id": "request-id",
    b"traceparent": "traceparent",
    b"if-none-match": "if-none-match",
    b"if-match": "if-match",  # who sends a tag expects a conditional write, and gets a 412: a count has no tag
}
_FEATURES: Final[tuple[Feature, ...]] = ("namespace", "all-namespaces", "head", *_FIELDS.values())
_ALL_NAMESPACES: Final = (b"namespace=*", b"namespace=%2A", b"namespace=%2a")


class FeatureMetrics(Collector):
    """Counts which features the requests of the dialects use.

    Args:
        registry: Where the metric is registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._uses: dict[tuple[str, Feature], int] = {
            (dialect, feature): 0 for dialect in DIALECT_OF.values() for feature in _FEATURES
        }
        registry.register(self)

    def count(self, answered: Answered) -> None:
        """Count the features of a request: an observer. One that no route matched is of no dialect."""
        method, route, _, _, _, _, query, fields, _, _ = answered
        dialect = DIALECT_OF.get(route)
        if dialect is None:
            return
        uses = self._uses
        if query and query.startswith(b"namespace="):
            uses[dialect, "all-namespaces" if query in _ALL_NAMESPACES else "namespace"] += 1
        if method == "HEAD":
            uses[dialect, "head"] += 1
        for name, _ in fields:
            if name in _FIELDS:
                uses[dialect, _FIELDS[name]] += 1

    def collect(self) -> Iterator[Metric]:
        """Return the family as it is now."""
        family = CounterMetricFamily(
            "kdm_http_feature_uses_total",
            "Requests that used a feature of the API, by dialect.",
            labels=("dialect", "feature"),
        )
        for labels, count in self._uses.items():
            family.add_metric(labels, count)
        yield family
