"""RFD 001's API, at the root."""

from __future__ import annotations

from typing import Any, Self

import msgspec
from litestar import Request, Router, get, post
from litestar.params import FromPath

from kdm_core import Deployment, Query, SetTo, Verb
from kdm_http.api.etags import write_condition
from kdm_http.api.requests import Caller, Namespace, Service, replica_count


class ReplicaCount(msgspec.Struct, rename="camel", frozen=True):
    """A Deployment and how many replicas it is asked to run."""

    deployment_name: str
    replica_count: int

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """Say it of a Deployment."""
        return cls(deployment.ref.name, deployment.replicas.desired)


class UpdatedReplicaCount(msgspec.Struct, rename="camel", frozen=True):
    """A Deployment and how many replicas it was just asked to run."""

    deployment_name: str
    updated_replica_count: int


@get("/deployments", sync_to_thread=False)
def list_deployments(service: Service, caller: Caller, namespace: Namespace) -> list[ReplicaCount]:
    """List the Deployments the caller may read, by namespace, then name."""
    query = Query(service.namespace if namespace is None else namespace)
    return [ReplicaCount.of(each) for each in service.list(query, caller).deployments]


@get("/deployments/{name:str}/replicas", sync_to_thread=False)
def get_replicas(service: Service, caller: Caller, name: FromPath[str], namespace: Namespace) -> ReplicaCount:
    """Tell how many replicas a Deployment is asked to run."""
    return ReplicaCount.of(service.find(name, namespace, caller))


@post("/deployments/{name:str}/replicas", status_code=200)
async def set_replicas(
    request: Request[Any, Any, Any],
    service: Service,
    caller: Caller,
    name: FromPath[str],
    namespace: Namespace,
) -> UpdatedReplicaCount:
    """Ask for another number of replicas."""
    change = SetTo(await replica_count(request))
    ref = service.resolve(name, namespace, Verb.SCALE, caller, change)
    scaled = await service.set_replicas(ref, change, caller=caller, condition=write_condition(request.scope["headers"]))
    return UpdatedReplicaCount(scaled.deployment.ref.name, scaled.replicas)


router = Router("/", route_handlers=[list_deployments, get_replicas, set_replicas])
