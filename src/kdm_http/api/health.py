"""One health, told in both dialects: whether kdm can do its job at this moment."""

from __future__ import annotations

import msgspec
from litestar import Response, Router, get

from kdm_http.api.requests import Service, query_is_known


class Healthy(msgspec.Struct, frozen=True):
    """All is well."""

    status: str = "healthy"
    kubernetes: str = "connected"


class Unhealthy(msgspec.Struct, frozen=True):
    """Something is not; ``error`` says what."""

    status: str
    error: str


@get(["/health", "/api/v1/health"], guards=[query_is_known])
async def get_health(service: Service) -> Response[Healthy | Unhealthy]:
    """Tell whether the cache is complete, connected and fresh, and the cluster reachable."""
    health = await service.health()
    if health.error is None:
        return Response(Healthy())
    return Response(Unhealthy("unhealthy", health.error), status_code=503, headers={"Retry-After": "1"})


router = Router("/", route_handlers=[get_health])
