"""One health, shown in both RFD dialects: whether kdm can do its job at this moment."""

from __future__ import annotations

import msgspec

from kdm_core import ALL_NAMESPACES, Caller, DeploymentService
from kdm_core.names import check_namespace
from kdm_http.api.errors import Problem
from kdm_http.api.route import Reply, Request


class Healthy(msgspec.Struct, frozen=True):
    """Nothing is wrong."""

    status: str = "healthy"
    kubernetes: str = "connected"


class Unhealthy(msgspec.Struct, frozen=True, kw_only=True):
    """Something is wrong; ``error`` says what."""

    status: str = "unhealthy"
    error: str


def error_body(problem: Problem) -> Unhealthy:
    """Return the body of an error of health: RFD 156 has ``status`` in each of them."""
    return Unhealthy(error=problem.message)


async def get_health(service: DeploymentService, _: Caller, request: Request) -> Healthy | Reply:
    """Return whether the cache is complete, connected and fresh, and the cluster reachable."""
    namespace_is_valid(request)
    health = await service.health()
    if health.error is None:
        return Healthy()
    return Reply(Unhealthy(error=health.error), status=503, retry_after_s=1)


def namespace_is_valid(request: Request) -> None:
    """Check the namespace where there is no use for one: a client may append one to every URL, but nothing else.

    Raises:
        InvalidName: No namespace can be called that.
    """
    namespace = request.query.get("namespace", ALL_NAMESPACES)
    if namespace != ALL_NAMESPACES:
        check_namespace(namespace)
