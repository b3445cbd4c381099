"""RFD 156's API, at /api/v1."""

from __future__ import annotations

from typing import Final, Self

import msgspec
from attrs import evolve

from kdm_core import Caller, Deployment, DeploymentService
from kdm_http.api import health, rfd
from kdm_http.api.health import Healthy, get_health
from kdm_http.api.route import Count, Dialect, Found, Listing, Name, Request, Route

RFD156: Final = Dialect("rfd156")


class ReplicaCount(msgspec.Struct, rename="camel", frozen=True):
    """A Deployment and how many replicas it is asked to run."""

    name: Name
    replica_count: Count

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """Show a Deployment."""
        return cls(deployment.ref.name, deployment.replicas.desired)


class Updated(msgspec.Struct, frozen=True):
    """The answer to a write that was done."""

    message: str = "Replica count updated successfully."


def list_deployments(service: DeploymentService, caller: Caller, request: Request) -> Listing:
    """List the Deployments the caller may read, by namespace, then name."""
    return rfd.listing(service, caller, request, ReplicaCount.of)


def get_replicas(service: DeploymentService, caller: Caller, request: Request) -> Found:
    """Return how many replicas a Deployment is asked to run."""
    return rfd.found(service, caller, request, ReplicaCount.of)


async def set_replicas(service: DeploymentService, caller: Caller, request: Request) -> Updated:
    """Ask for another number of replicas."""
    await rfd.written(service, caller, request)
    return Updated()


ROUTES: Final = (
    Route("GET", "/api/v1/deployments", RFD156, "ListDeployments", list_deployments, ReplicaCount, tagged=True),
    Route("GET", "/api/v1/deployments/{name}/replicas", RFD156, "GetReplicas", get_replicas, ReplicaCount),
    Route("PUT", "/api/v1/deployments/{name}/replicas", RFD156, "SetReplicas", set_replicas, Updated),
    Route("GET", "/api/v1/health", evolve(RFD156, error_body=health.error_body), "Health", get_health, Healthy),
)
