"""Rate, errors and duration of requests, as a Prometheus sees them."""

from __future__ import annotations

import math

import pytest
from prometheus_client import CollectorRegistry

from kdm_http.api.answered import Answered
from kdm_http.api.routes import dialect_of
from kdm_http.telemetry.request_metrics import COUNTED_USERS, RequestMetrics

REQUESTS = "kdm_http_requests_total"
SECONDS = "kdm_http_request_duration_seconds"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> RequestMetrics:
    metrics = RequestMetrics()
    registry.register(metrics)
    return metrics


@pytest.mark.parametrize(
    ("route", "dialect"),
    [
        ("/deployments", "rfd001"),
        ("/deployments/{name}/replicas", "rfd001"),
        ("/health", "rfd001"),
        ("/api/v1/deployments/{name}/replicas", "rfd156"),
        ("/api/v1/openapi.json", "rfd156"),
        ("", "none"),
    ],
)
def test_a_route_belongs_to_a_dialect(route: str, dialect: str) -> None:
    assert dialect_of(route) == dialect


def test_answers_are_told_apart_by_dialect_method_route_and_status(
    registry: CollectorRegistry, metrics: RequestMetrics
) -> None:
    for method, route, status in (
        ("GET", "/deployments", 200),
        ("GET", "/deployments", 200),
        ("GET", "/deployments", 503),
        ("GET", "/api/v1/deployments", 200),
        ("PUT", "/api/v1/deployments/{name}/replicas", 409),
        ("GET", "", 404),
    ):
        metrics.count(Answered(method, route, status, 0.001, "alice"))

    def told(dialect: str, method: str, route: str, status: int) -> float | None:
        labels = {"dialect": dialect, "method": method, "route": route, "status": str(status)}
        return registry.get_sample_value(REQUESTS, labels)

    assert told("rfd001", "GET", "/deployments", 200) == 2
    assert told("rfd001", "GET", "/deployments", 503) == 1
    assert told("rfd156", "GET", "/api/v1/deployments", 200) == 1
    assert told("rfd156", "PUT", "/api/v1/deployments/{name}/replicas", 409) == 1
    assert told("none", "GET", "none", 404) == 1


def test_durations_fall_into_the_buckets_that_bound_them(registry: CollectorRegistry, metrics: RequestMetrics) -> None:
    """Buckets are cumulative and include their bound, whatever the statuses were."""
    for seconds, status in ((0.0004, 200), (0.0005, 200), (0.0007, 503), (99.0, 504)):
        metrics.count(Answered("GET", "/deployments", status, seconds, "alice"))
    labels = {"dialect": "rfd001", "method": "GET", "route": "/deployments"}

    def below(bound: str) -> float | None:
        return registry.get_sample_value(f"{SECONDS}_bucket", {**labels, "le": bound})

    assert (below("0.0005"), below("0.001"), below("10.0"), below("+Inf")) == (2, 3, 3, 4)
    assert registry.get_sample_value(f"{SECONDS}_count", labels) == 4
    total = registry.get_sample_value(f"{SECONDS}_sum", labels)
    assert total is not None
    assert math.isclose(total, 99.0016)


def test_methods_that_callers_make_up_cost_one_time_series(
    registry: CollectorRegistry, metrics: RequestMetrics
) -> None:
    for number in range(1000):
        metrics.count(Answered(f"BREW{number}", "/deployments", 405, 0.001, "alice"))
    labels = {"dialect": "rfd001", "method": "other", "route": "/deployments", "status": "405"}
    assert registry.get_sample_value(REQUESTS, labels) == 1000
    assert sum(len(family.samples) for family in registry.collect() if family.name == "kdm_http_requests") == 1


def test_users_without_number_cost_a_bounded_number_of_time_series(
    registry: CollectorRegistry, metrics: RequestMetrics
) -> None:
    for number in range(COUNTED_USERS + 50):
        metrics.count(Answered("GET", "/deployments", 200, 0.001, f"user-{number}"))
    metrics.count(Answered("GET", "/deployments", 200, 0.001, "user-0"))
    name = "kdm_http_requests_by_user_total"
    assert registry.get_sample_value(name, {"user": "user-0"}) == 2
    assert registry.get_sample_value(name, {"user": "other"}) == 50
    assert registry.get_sample_value(name, {"user": f"user-{COUNTED_USERS}"}) is None
