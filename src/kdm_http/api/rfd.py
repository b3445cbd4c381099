"""What both RFD dialects ask of the service: the Deployment is a name, and ``?namespace=`` may say where it is."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from kdm_core import Deployment, DeploymentService
from kdm_http.api.etags import write_condition
from kdm_http.api.requests import replica_count
from kdm_http.api.route import Caller, Listing, Request


def listing(
    service: DeploymentService, caller: Caller, request: Request, show: Callable[[Deployment], msgspec.Struct]
) -> Listing:
    """Return the Deployments the caller may read."""
    namespace = request.query.get("namespace")
    deployments = service.list(namespace, actor=caller.identity, request_id=caller.request_id)
    return Listing(deployments, show, namespace, service.sees_all(namespace, actor=caller.identity))


def found(service: DeploymentService, caller: Caller, request: Request) -> Deployment:
    """Return the Deployment that is named."""
    return service.get(
        request.path["name"], request.query.get("namespace"), actor=caller.identity, request_id=caller.request_id
    )


async def written(service: DeploymentService, caller: Caller, request: Request) -> Deployment:
    """Give the Deployment that is named the number of replicas in the body, and return it."""
    return await service.set_replicas(
        request.path["name"],
        await replica_count(request),
        request.query.get("namespace"),
        actor=caller.identity,
        request_id=caller.request_id,
        condition=write_condition(request.fields),
    )
