"""Writing in API v2: set a count, or change it by a number."""

from __future__ import annotations

from typing import Final

from kdm_core import Caller, DeploymentService, KdmError, RolloutOutcome, RolloutResult, Scaled, WaitFor
from kdm_http.api.errors import BadRequest
from kdm_http.api.route import Reply, Request
from kdm_http.api.v2.asked import Adjust, SetReplicas, body_of, dry_run, one_of, ref_of
from kdm_http.api.v2.bodies import RolloutBody, WrittenBody, WrittenReplicas
from kdm_http.api.v2.durations import duration
from kdm_http.api.v2.rollouts import FOR, resume_at, wait_for_rollout
from kdm_http.api.v2.tags import tag_of_replicas, write_condition

CONDITIONS: Final = frozenset({b"if-match", b"if-none-match"})
NOTHING_TO_WAIT_FOR: Final = "a dry run changes nothing that could be waited for"


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
    query = request.query
    trial = dry_run(query)
    wait_for: WaitFor = one_of(query, "for", FOR, default=WaitFor.AVAILABLE)
    wait_s = duration("wait", query["wait"]) if "wait" in query else None
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
    rollout = None if wait_s is None or trial else await followed(service, caller, request, scaled, wait_for, wait_s)
    found = scaled.deployment
    shown = WrittenBody(
        namespace=found.ref.namespace,
        name=found.ref.name,
        uid=found.uid,
        resource_version=found.resource_version,
        replicas=WrittenReplicas(previous=scaled.previous, desired=scaled.replicas),
        changed=scaled.changed,
        dry_run=trial,
        warnings=[
            *([NOTHING_TO_WAIT_FOR] if trial and wait_s is not None else []),
            *(each.message for each in scaled.owners),
        ],
        rollout=rollout,
    )
    return Reply(shown, fields=b"" if trial else b"etag: %b\r\n" % tag_of_replicas(found))


async def followed(
    service: DeploymentService,
    caller: Caller,
    request: Request,
    scaled: Scaled,
    wait_for: WaitFor,
    wait_s: float,
) -> RolloutBody:
    """Wait for the Pods. Whatever comes of it, the write has happened, and its answer says so."""
    ref = scaled.deployment.ref
    try:
        result = await wait_for_rollout(service, caller, request, ref, scaled, wait_for, wait_s)
    except KdmError as error:
        result = RolloutResult(RolloutOutcome.UNKNOWN, scaled.target, wait_for, message=str(error))
    return RolloutBody.of(result, resume_at(ref, result, wait_s))
