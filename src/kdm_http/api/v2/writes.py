"""Writing in API v2: set a count, or change it by a number."""

from __future__ import annotations

from typing import Final

from kdm_core import Caller, DeploymentService
from kdm_http.api.errors import BadRequest
from kdm_http.api.route import Reply, Request
from kdm_http.api.v2.asked import Adjust, SetReplicas, body_of, dry_run, ref_of
from kdm_http.api.v2.bodies import WrittenBody, WrittenReplicas
from kdm_http.api.v2.rollouts import Wait, followed
from kdm_http.api.v2.tags import tag_of_replicas, write_condition

CONDITIONS: Final = frozenset({b"if-match", b"if-none-match"})


async def set_replicas(service: DeploymentService, caller: Caller, request: Request) -> Reply:
    """Set how many replicas are desired."""
    return await _written(service, caller, request, await body_of(request, SetReplicas))


async def adjust(service: DeploymentService, caller: Caller, request: Request) -> Reply:
    """Change how many replicas are desired by a number."""
    if any(name in CONDITIONS for name, _ in request.fields):
        raise BadRequest(
            "If-Match and If-None-Match have no meaning here: /adjust has no entity tag; "
            "use currentReplicas, resourceVersion or uid in the body"
        )
    return await _written(service, caller, request, await body_of(request, Adjust))


async def _written(service: DeploymentService, caller: Caller, request: Request, body: SetReplicas | Adjust) -> Reply:
    trial = dry_run(request.query)
    wait = Wait.of(request)
    condition = write_condition(request.fields)
    scaled = await service.set_replicas(
        ref_of(request),
        body.change,
        caller=caller,
        expect=body.expect,
        dry_run=trial,
        condition=condition,
        exactly=condition is not None,
        reason=body.reason,
        override=body.override,
    )
    rollout = await followed(service, caller, request, scaled, wait)
    found = scaled.deployment
    shown = WrittenBody(
        namespace=found.ref.namespace,
        name=found.ref.name,
        uid=found.uid,
        resource_version=found.resource_version,
        replicas=WrittenReplicas(previous=scaled.previous, desired=scaled.replicas),
        changed=scaled.changed,
        dry_run=trial,
        warnings=[*wait.warnings, *scaled.warnings],
        rollout=rollout,
    )
    return Reply(shown, fields=b"" if trial else b"etag: %b\r\n" % tag_of_replicas(found))
