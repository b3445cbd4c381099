"""Parking in API v2: remember a count and go to zero, come back, and see what is parked."""

from __future__ import annotations

from typing import TypeVar

from kdm_core import (
    ALL_NAMESPACES,
    Caller,
    DeploymentService,
    LabelSelector,
    Parking,
    Query,
)
from kdm_core.names import check_namespace
from kdm_core.parking import check_park_id
from kdm_http.api.errors import BadRequest
from kdm_http.api.route import Reply, Request
from kdm_http.api.v2.asked import Park, Restore, body_of, dry_run, ref_of
from kdm_http.api.v2.freshness import freshness
from kdm_http.api.v2.parking_bodies import ParkedItem, ParkedList, ParkedMetadata, ParkingBody, batches_of
from kdm_http.api.v2.rollouts import Wait, followed
from kdm_http.api.v2.tags import tag_of_replicas
from kdm_http.api.v2.writes import CONDITIONS

_P = TypeVar("_P", bound=Park)


async def park(service: DeploymentService, caller: Caller, request: Request) -> Reply:
    """Remember a Deployment's count and set it to zero."""
    asked = await _asked(request, Park)
    trial = dry_run(request.query)
    wait = Wait.of(request)
    parking = await service.park(
        ref_of(request),
        caller=caller,
        park_id=asked.park_id,
        reason=asked.reason,
        dry_run=trial,
        override=asked.override,
    )
    return await _shown(service, caller, request, parking, wait)


async def restore(service: DeploymentService, caller: Caller, request: Request) -> Reply:
    """Bring a parked Deployment back."""
    asked = await _asked(request, Restore)
    trial = dry_run(request.query)
    wait = Wait.of(request)
    parking = await service.restore(
        ref_of(request),
        caller=caller,
        park_id=asked.park_id,
        replicas=asked.replicas,
        reason=asked.reason,
        dry_run=trial,
        override=asked.override,
    )
    return await _shown(service, caller, request, parking, wait)


def list_parked(service: DeploymentService, caller: Caller, request: Request) -> ParkedList:
    """Return what is parked, as far as the caller may read it."""
    namespace = request.path.get("namespace", ALL_NAMESPACES)
    if namespace == ALL_NAMESPACES and "namespace" in request.path:
        check_namespace(namespace)
    selector = LabelSelector.parse(request.query.get("labelSelector", ""))
    park_id = request.query.get("parkId")
    if park_id is not None:
        check_park_id(park_id)
    found = service.parked(Query(namespace, selector), caller, park_id)
    fresh = freshness(service, namespace)
    return ParkedList(
        metadata=ParkedMetadata(resource_version=fresh.resource_version, age_seconds=fresh.age_s, stale=fresh.stale),
        batches=batches_of(found),
        items=[ParkedItem.of(each) for each in found],
    )


async def _asked(request: Request, shape: type[_P]) -> _P:
    if any(name in CONDITIONS for name, _ in request.fields):
        raise BadRequest(
            "If-Match and If-None-Match have no meaning here: parking and restoring have conditions of their own"
        )
    return await body_of(request, shape)


async def _shown(service: DeploymentService, caller: Caller, request: Request, parking: Parking, wait: Wait) -> Reply:
    rollout = await followed(service, caller, request, parking.scaled, wait)
    fields = b"" if parking.dry_run else b"etag: %b\r\n" % tag_of_replicas(parking.deployment)
    return Reply(ParkingBody.of(parking, wait.warnings, rollout), fields=fields)
