"""The plain listener's application: probes and metrics for those who cannot show a certificate. Never an API route."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from litestar import Litestar, Request, Response, get

from kdm_core import DeploymentService
from kdm_http.problems import HANDLERS, problem

Metrics = Callable[[str], tuple[bytes, str]]
"""Renders the metrics for an ``Accept`` header: their bytes and content type."""


def create_ops_app(service: DeploymentService, metrics: Metrics) -> Litestar:
    """Make the probes and metrics.

    Args:
        service: Asked for its cache's state, never for the cluster's.
        metrics: What ``/metrics`` answers.
    """

    @get("/livez", sync_to_thread=False)
    def livez() -> Response[dict[str, str]]:
        """Tell that the event loop turns. The cluster's troubles are no reason to restart kdm."""
        return Response({"status": "alive"})

    @get("/readyz", sync_to_thread=False)
    def readyz(request: Request[Any, Any, Any]) -> Response[dict[str, str]]:
        """Tell whether reads can be served: there is a complete snapshot, however old, and no stop has begun."""
        stopping = request.scope.get("state", {}).get("stopping")
        if stopping is not None and stopping.is_set():
            return problem(503, "stopping")
        sync = service.sync_status()
        return Response({"status": "ready"}) if sync.synced else problem(503, sync.reason or "not synced yet")

    @get("/metrics", sync_to_thread=False)
    def get_metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Tell Prometheus."""
        body, media_type = metrics(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": media_type})  # as it is: Litestar would add a second charset

    return Litestar(
        [livez, readyz, get_metrics],
        exception_handlers={**HANDLERS, 404: _no_such_route},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=0,
    )


def _no_such_route(_: Request[Any, Any, Any], __: Exception) -> Response[dict[str, str]]:
    return problem(404, "no such route here; there are /livez, /readyz and /metrics")
