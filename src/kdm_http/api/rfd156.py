"""RFD 156's API, at /api/v1."""

from __future__ import annotations

from typing import Any, Self

import msgspec
from litestar import Request, Router, get, put
from litestar.params import FromPath

from kdm_core import Deployment, Query, SetTo, Verb
from kdm_http.api.etags import write_condition
from kdm_http.api.requests import Caller, Namespace, Service, replica_count


class ReplicaCount(msgspec.Struct, rename="camel", frozen=True):
    """A Deployment and how many replicas it is asked to run."""

    name: str
    replica_count: int

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """Say it of a Deployment."""
        return cls(deployment.ref.name, deployment.replicas.desired)


class Updated(msgspec.Struct, frozen=True):
    """The answer to a write that was done."""

    message: str = "Replica count updated successfully."


@get("/deployments", sync_to_thread=False)
def list_deployments(service: Service, caller: Caller, namespace: Namespace) -> list[ReplicaCount]:
    """List the Deployments the caller may read, by namespace, then name."""
    query = Query(service.namespace if namespace is None else namespace)
    return [ReplicaCount.of(each) for each in service.list(query, caller).deployments]


@get("/deployments/{name:str}/replicas", sync_to_thread=False)
def get_replicas(service: Service, caller: Caller, name: FromPath[str], namespace: Namespace) -> ReplicaCount:
    """Tell how many replicas a Deployment is asked to run."""
    return ReplicaCount.of(service.find(name, namespace, caller))


@put("/deployments/{name:str}/replicas")
async def set_replicas(
    request: Request[Any, Any, Any],
    service: Service,
    caller: Caller,
    name: FromPath[str],
    namespace: Namespace,
) -> Updated:
    """Ask for another number of replicas."""
    change = SetTo(await replica_count(request))
    ref = service.resolve(name, namespace, Verb.SCALE, caller, change)
    await service.set_replicas(ref, change, caller=caller, condition=write_condition(request.scope["headers"]))
    return Updated()


router = Router("/api/v1", route_handlers=[list_deployments, get_replicas, set_replicas])
