"""Which features of the API are used, by dialect: for those who scrape kdm, and for nobody else.

Dialect, route and method are counted by :mod:`kdm_http.telemetry.request_metrics`; this counts what they leave out.
"""

from __future__ import annotations

from typing import Final, Literal

from prometheus_client.metrics_core import CounterMetricFamily, Metric

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


def features_of(answered: Answered) -> tuple[Feature, ...]:
    """Return the features that a request used, one as often as its header has the field."""
    method, _, _, _, _, _, query, fields, _, _ = answered
    used: list[Feature] = [_FIELDS[name] for name, _ in fields if name in _FIELDS]
    if query and query.startswith(b"namespace="):
        used.append("all-namespaces" if query in _ALL_NAMESPACES else "namespace")
    if method == "HEAD":
        used.append("head")
    return tuple(used)


class FeatureMetrics:
    """Counts which features the requests of the dialects use."""

    def __init__(self) -> None:
        self._uses: dict[tuple[str, Feature], int] = {
            (dialect, feature): 0 for dialect in DIALECT_OF.values() for feature in _FEATURES
        }

    def count(self, route: str, features: tuple[Feature, ...], times: int = 1) -> None:
        """Count requests that used the same features. Those that no route matched are of no dialect."""
        dialect = DIALECT_OF.get(route)
        if dialect is not None:
            for feature in features:
                self._uses[dialect, feature] += times

    def family(self) -> Metric:
        """Return the family as it is now."""
        family = CounterMetricFamily(
            "kdm_http_feature_uses_total",
            "Requests that used a feature of the API, by dialect.",
            labels=("dialect", "feature"),
        )
        for labels, count in self._uses.items():
            family.add_metric(labels, count)
        return family
