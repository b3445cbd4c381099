"""Which features of the API are used, counted for Prometheus: for those who scrape kdm, and for nobody else.

Dialect, route and method are counted by :mod:`kdm_http.telemetry.request_metrics`; this counts what they do not say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal

from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from kdm_http.server.application import Application, Fields, Ready
from kdm_http.telemetry.request_metrics import Dialect
from kdm_http.tls.peer import Peer

Feature = Literal["namespace", "all-namespaces", "head", "request-id", "traceparent", "if-none-match", "if-match"]

_FIELDS: Final[dict[bytes, Feature]] = {
    b"x-request-id": "request-id",
    b"traceparent": "traceparent",
    b"if-none-match": "if-none-match",
    b"if-match": "if-match",  # who sends a tag expects a conditional write, and gets a 412: a count has no tag
}
_FEATURES: Final[tuple[Feature, ...]] = ("namespace", "all-namespaces", "head", *_FIELDS.values())
_DIALECTS: Final[tuple[Dialect, ...]] = ("rfd001", "rfd156")
_ALL_NAMESPACES: Final = (b"namespace=*", b"namespace=%2A", b"namespace=%2a")


class Adoption(Collector):
    """An application that counts which features its requests use, and passes them on.

    Args:
        app: The API.
        registry: Where the metric is registered.
    """

    def __init__(self, app: Application, registry: CollectorRegistry) -> None:
        self._app = app
        self._answer = app.shortcut
        self._uses: dict[tuple[Dialect, Feature], int] = {
            (dialect, feature): 0 for dialect in _DIALECTS for feature in _FEATURES
        }
        registry.register(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI wants it."""
        if scope["type"] == ScopeType.HTTP:
            self._count(scope["method"].encode(), scope["path"].encode(), scope["query_string"], scope["headers"])
        await self._app(scope, receive, send)

    def shortcut(self, method: bytes, target: bytes, fields: Fields, peer: Peer) -> Ready | None:
        """Answer at once, or not; see :data:`kdm_http.api.fast_path.AnswerAtOnce`."""
        ready = self._answer(method, target, fields, peer)
        if ready is not None:  # else the same request comes again, the long way
            self._count(method, target, target.partition(b"?")[2], fields)
        return ready

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

    def _count(self, method: bytes, path: bytes, query: bytes, fields: Iterable[tuple[bytes, bytes]]) -> None:
        dialect: Dialect = "rfd156" if path.startswith(b"/api/v1/") else "rfd001"
        uses = self._uses
        if query.startswith(b"namespace="):
            uses[dialect, "all-namespaces" if query in _ALL_NAMESPACES else "namespace"] += 1
        if method == b"HEAD":
            uses[dialect, "head"] += 1
        for name, _ in fields:
            if name in _FIELDS:
                uses[dialect, _FIELDS[name]] += 1
