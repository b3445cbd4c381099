"""What both RFD dialects ask of the service: the Deployment is a name, and ``?namespace=`` may say where it is."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from kdm_core import Caller, Deployment, DeploymentService, Query, Scaled, SetTo, Verb
from kdm_http.api.etags import write_condition
from kdm_http.api.requests import replica_count
from kdm_http.api.route import Found, Listing, Request


def listing(
    service: DeploymentService, caller: Caller, request: Request, show: Callable[[Deployment], msgspec.Struct]
) -> Listing:
    """Return the Deployments the caller may read."""
    namespace = request.query.get("namespace", service.namespace)
    page = service.list(Query(namespace), caller)
    return Listing(page.deployments, show, namespace, page.whole)


def found(
    service: DeploymentService, caller: Caller, request: Request, show: Callable[[Deployment], msgspec.Struct]
) -> Found:
    """Return the Deployment that is named."""
    namespace = request.query.get("namespace", service.namespace)
    return Found(service.find(request.path["name"], namespace, caller), show, namespace)


async def written(service: DeploymentService, caller: Caller, request: Request) -> Scaled:
    """Give the Deployment that is named the number of replicas in the body."""
    change = SetTo(await replica_count(request))
    ref = service.resolve(request.path["name"], request.query.get("namespace"), Verb.SCALE, caller, change)
    return await service.set_replicas(
        ref, change, caller=caller, condition=write_condition(request.fields), heed_owners=False
    )
