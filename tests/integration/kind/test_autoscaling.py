"""The chart's autoscaler scales kdm itself, up and down, and its clients do not notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from integration.metrics_api import MetricsApi

from .cluster import KindCluster
from .installation import Installation

AUTOSCALING = {"enabled": True, "minReplicas": 2, "maxReplicas": 4, "targetCPUUtilizationPercentage": 70}
AT_TARGET = 70
"""Millicores: of the 100 that a Pod requests, what it should use."""


@pytest.fixture
def metrics(kdm: Installation, kind_cluster: KindCluster) -> Iterator[MetricsApi]:
    """A metrics API; afterwards the release has two Pods again, without an autoscaler."""
    node = next(iter(kind_cluster.nodes().values()))
    with MetricsApi(kdm.cluster, node, *kdm.server_files(), lambda: list(kdm.serving()), "kdm") as metrics:
        metrics.millicores = AT_TARGET
        yield metrics
        kdm.release.upgrade()


def test_an_autoscaler_is_set_up_scales_up_and_down_and_no_request_is_lost(
    kdm: Installation, metrics: MetricsApi, tell: Callable[[str], None]
) -> None:
    """Setting it up by an upgrade keeps the Pods that there are."""
    before = kdm.serving()
    with kdm.load() as load:
        load.wait_for_requests(200)
        kdm.release.upgrade(autoscaling=AUTOSCALING)
        kdm.kubectl("wait", "horizontalpodautoscaler/kdm", "--for=condition=ScalingActive", "--timeout=60s")
        assert kdm.serving() == before

        metrics.millicores = 4 * AT_TARGET
        kdm.wait_settled(count=4)
        load.wait_for_every_client()

        metrics.millicores = AT_TARGET
        kdm.release.upgrade(autoscaling=AUTOSCALING, podDisruptionBudget={"maxUnavailable": 2})
        assert len(kdm.serving()) == 4  # an upgrade leaves it to the autoscaler how many they are

        metrics.millicores = AT_TARGET // 10
        kdm.wait_settled(count=2)
        load.wait_for_every_client()
        load.wait_for_requests(200)
    tell(load.summary())
    assert load.failures() == []
