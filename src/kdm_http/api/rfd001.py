"""RFD 001's API, at the root."""

from __future__ import annotations

from typing import Final, Self

import msgspec
from attrs import evolve

from kdm_core import Caller, Deployment, DeploymentService
from kdm_http.api import health, rfd
from kdm_http.api.health import Healthy, get_health
from kdm_http.api.route import AskedCount, Count, Dialect, Found, Listing, Name, Request, Route

RFD001: Final = Dialect("rfd001")


class ReplicaCount(msgspec.Struct, rename="camel", frozen=True):
    """A Deployment and how many replicas it is asked to run."""

    deployment_name: Name
    replica_count: Count

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """Show a Deployment."""
        return cls(deployment.ref.name, deployment.replicas.desired)


class UpdatedReplicaCount(msgspec.Struct, rename="camel", frozen=True):
    """A Deployment and how many replicas it was just asked to run."""

    deployment_name: Name
    updated_replica_count: AskedCount


def list_deployments(service: DeploymentService, caller: Caller, request: Request) -> Listing:
    """List the Deployments the caller may read, by namespace, then name."""
    return rfd.listing(service, caller, request, ReplicaCount.of)


def get_replicas(service: DeploymentService, caller: Caller, request: Request) -> Found:
    """Return how many replicas a Deployment is asked to run."""
    return rfd.found(service, caller, request, ReplicaCount.of)


async def set_replicas(service: DeploymentService, caller: Caller, request: Request) -> UpdatedReplicaCount:
    """Ask for another number of replicas."""
    scaled = await rfd.written(service, caller, request)
    return UpdatedReplicaCount(scaled.deployment.ref.name, scaled.replicas)


ROUTES: Final = (
    Route("GET", "/deployments", RFD001, "ListDeployments", list_deployments, ReplicaCount, tagged=True),
    Route("GET", "/deployments/{name}/replicas", RFD001, "GetReplicas", get_replicas, ReplicaCount),
    Route("POST", "/deployments/{name}/replicas", RFD001, "SetReplicas", set_replicas, UpdatedReplicaCount),
    Route("GET", "/health", evolve(RFD001, error_body=health.error_body), "Health", get_health, Healthy),
)
