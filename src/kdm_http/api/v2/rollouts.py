"""Waiting in API v2: for the Pods to follow a count. A wait that broke off can be taken up again by its URL."""

from __future__ import annotations

import time
from typing import Final, NamedTuple, Self
from urllib.parse import quote, urlencode

from kdm_core import (
    Caller,
    DeploymentRef,
    DeploymentService,
    KdmError,
    RolloutOutcome,
    RolloutResult,
    Scaled,
    Target,
    WaitFor,
)
from kdm_core.versions import is_version
from kdm_http.api.errors import BadRequest
from kdm_http.api.route import Reply, Request
from kdm_http.api.v2.asked import count, dry_run, one_of, ref_of
from kdm_http.api.v2.bodies import RolloutBody
from kdm_http.api.v2.durations import duration

FOR: Final = {each.value: each for each in WaitFor}
"""What can be waited for, by the words of the parameter ``for``."""

_NOTHING_TO_WAIT_FOR: Final = "a dry run changes nothing that could be waited for"
_OPEN: Final = frozenset({RolloutOutcome.INTERRUPTED, RolloutOutcome.TIMEOUT, RolloutOutcome.UNKNOWN})
_TARGET: Final = ("uid", "resourceVersion", "replicas")


class Wait(NamedTuple):
    """What a write waits for after it has happened.

    Attributes:
        until: How far the Pods must have come.
        wait_s: How long to wait at most, in seconds; None for not at all.
        warnings: What the answer says about waiting.
    """

    until: WaitFor
    wait_s: float | None
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, request: Request) -> Self:
        """Return what a write's query asks for. A dry run waits for nothing."""
        query = request.query
        until: WaitFor = one_of(query, "for", FOR, default=WaitFor.AVAILABLE)
        if "wait" not in query:
            return cls(until, None)
        wait_s = duration("wait", query["wait"])
        return cls(until, None, (_NOTHING_TO_WAIT_FOR,)) if dry_run(query) else cls(until, wait_s)


async def get_rollout(service: DeploymentService, caller: Caller, request: Request) -> Reply:
    """Wait until the Pods have followed, or cannot; without ``wait``, say how far they are."""
    query = request.query
    wait_s = duration("wait", query.get("wait", "0"))
    wait_for: WaitFor = one_of(query, "for", FOR, default=WaitFor.AVAILABLE)
    ref = ref_of(request)
    result = await wait_for_rollout(service, caller, request, ref, _target(request), wait_for, wait_s)
    return Reply(RolloutBody.of(result, resume_at(ref, result, wait_s)))


async def wait_for_rollout(
    service: DeploymentService,
    caller: Caller,
    request: Request,
    ref: DeploymentRef,
    target: Scaled | Target | None,
    wait_for: WaitFor,
    wait_s: float,
) -> RolloutResult:
    """Wait for a rollout as long as the client is there, its certificate is valid, and kdm does not stop.

    Args:
        service: The use cases.
        caller: Who waits.
        request: Whose client waits.
        ref: Of which Deployment.
        target: What is waited for; None for what is desired now.
        wait_for: How far it must have come.
        wait_s: How long to wait at most, in seconds.
    """
    patience = request.patience
    assert patience is not None  # noqa: S101 - what waits is not called on the fast path
    patience.extend(wait_s)
    began = time.monotonic()
    waiting = service.rollout(ref, caller, target=target, wait_for=wait_for, timeout_s=wait_s, valid_s=patience.valid_s)
    result = await patience.wait_for(waiting)
    if isinstance(result, RolloutResult):
        return result
    aim = target.target if isinstance(target, Scaled) else target or Target.of(service.get(ref, caller))
    return RolloutResult(RolloutOutcome.INTERRUPTED, aim, wait_for, time.monotonic() - began, result)


async def followed(
    service: DeploymentService, caller: Caller, request: Request, scaled: Scaled, wait: Wait
) -> RolloutBody | None:
    """Wait for the Pods after a write. Whatever comes of it, the write has happened, and its answer says so.

    Args:
        service: The use cases.
        caller: Who wrote.
        request: Whose client waits.
        scaled: What was written.
        wait: How long, and for what.

    Returns:
        What came of the wait; None if nobody asked for one.
    """
    if wait.wait_s is None:
        return None
    ref = scaled.deployment.ref
    try:
        result = await wait_for_rollout(service, caller, request, ref, scaled, wait.until, wait.wait_s)
    except KdmError as error:
        result = RolloutResult(RolloutOutcome.UNKNOWN, scaled.target, wait.until, message=str(error))
    return RolloutBody.of(result, resume_at(ref, result, wait.wait_s))


def resume_at(ref: DeploymentRef, result: RolloutResult, wait_s: float) -> str | None:
    """Return where to go on waiting for the same; None where that makes no sense.

    Args:
        ref: Of which Deployment.
        result: What came of waiting so far.
        wait_s: How long the wait could have taken, in seconds.
    """
    if result.outcome not in _OPEN:
        return None
    left_s = wait_s - result.elapsed_s if result.outcome is RolloutOutcome.INTERRUPTED else wait_s
    query = {
        "uid": result.target.uid,
        "resourceVersion": result.target.resource_version,
        "replicas": result.target.desired,
        "for": result.wait_for.value,
        "wait": f"{max(1, round(left_s))}s",
    }
    path = f"/api/v2/namespaces/{quote(ref.namespace, safe='')}/deployments/{quote(ref.name, safe='')}/rollout"
    return f"{path}?{urlencode(query)}"


def _target(request: Request) -> Target | None:
    """Return what a query says that is waited for; None for what is desired now."""
    query = request.query
    given = [name for name in _TARGET if name in query]
    if not given:
        return None
    if len(given) < len(_TARGET):
        missing = next(name for name in _TARGET if name not in query)
        raise BadRequest(f"{missing}: is missing; {', '.join(_TARGET)} go together, as a write's answer has them")
    replicas = count(query, "replicas", 0)
    version = query["resourceVersion"]
    if not query["uid"]:
        raise BadRequest(f"uid: must not be empty; {', '.join(_TARGET)} go together, as a write's answer has them")
    if not is_version(version):
        raise BadRequest(f"resourceVersion: must be a number, not {version[:40]!r}")
    assert replicas is not None  # noqa: S101 - it is there
    return Target(query["uid"], version, replicas)
