"""Changing many Deployments at once in API v2: first the plan, then the same plan done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from kdm_core import (
    BulkProgress,
    BulkResult,
    BulkWait,
    Caller,
    DeploymentRef,
    DeploymentService,
    Halt,
    ItemResult,
    Plan,
    RolloutResult,
)
from kdm_core.bulk import BATCH_S
from kdm_http.api.errors import problem_of
from kdm_http.api.patience import Patience
from kdm_http.api.progress import Progress
from kdm_http.api.route import Reply, Request
from kdm_http.api.stream import frames
from kdm_http.api.v2.asked import dry_run
from kdm_http.api.v2.bodies import RolloutBody
from kdm_http.api.v2.bulk_asked import bulk_of
from kdm_http.api.v2.bulk_bodies import BulkBody, BulkItemBody, ItemRolloutBody, StartedBody
from kdm_http.api.v2.dialect import V2, error_body
from kdm_http.api.v2.rollouts import Wait, resume_at
from kdm_http.api.v2.tags import plans_wanted

FINISHING_S: Final = 60.0
"""How long what is under way may take when a batch begins nothing more, in seconds. A write gives up long before."""

_NOTHING_SELECTED: Final = "nothing is selected: the caller can read no Deployment there that has these labels"

_encode = msgspec.json.Encoder().encode


async def scale_many(service: DeploymentService, caller: Caller, request: Request) -> Reply:
    """Change many Deployments, or plan it."""
    trial = dry_run(request.query)
    wait = Wait.of(request)
    if_plan = plans_wanted(request.fields)
    bulk = await bulk_of(request)
    patience = request.patience
    assert patience is not None  # noqa: S101 - a write is not called on the fast path
    patience.extend(BATCH_S + FINISHING_S + (wait.wait_s or 0.0))
    shown = _Shown(caller.request_id, wait.wait_s or 0.0)
    keyed = any(name == b"idempotency-key" for name, _ in request.fields)
    with _halted_with(patience, leaving=not keyed) as halt:
        result = await service.scale_many(
            bulk,
            caller=caller,
            dry_run=trial,
            if_plan=if_plan,
            wait=None if wait.wait_s is None else BulkWait(wait.wait_s, wait.until, patience.valid_s),
            progress=BulkProgress() if request.progress is None else _Told(request.progress, shown),
            halt=halt,
        )
    warnings = [*wait.warnings, *_about(result)]
    body = BulkBody.of(result, warnings, shown.error, shown.rollout)
    return Reply(
        body,
        status=200 if trial or result.complete else 207,
        fields=b'etag: "%b"\r\n' % result.plan.tag.encode() if trial else b"",
    )


def _about(result: BulkResult) -> list[str]:
    return [] if result.items else [_NOTHING_SELECTED]


@contextmanager
def _halted_with(patience: Patience, *, leaving: bool) -> Iterator[Halt]:
    """End a batch when the server stops, and when its client leaves, unless that can come back for the answer."""
    halt = Halt()

    async def watch() -> None:
        halt.stop(await patience.interruption(leaving=leaving))

    watching = asyncio.ensure_future(watch())
    try:
        yield halt
    finally:
        watching.cancel()


class _Shown:
    """How parts of a batch are shown.

    Args:
        request_id: Of the request.
        wait_s: How long the wait could have taken, in seconds.
    """

    def __init__(self, request_id: str, wait_s: float) -> None:
        self._request_id = request_id
        self._wait_s = wait_s

    def error(self, error: Exception) -> dict[str, Any]:
        return error_body(problem_of(error, V2.statuses, self._request_id, write=True))

    def rollout(self, ref: DeploymentRef, result: RolloutResult) -> RolloutBody:
        return RolloutBody.of(result, resume_at(ref, result, self._wait_s))


class _Told(BulkProgress):
    """Shows how a batch gets on to a client that wants to see it."""

    def __init__(self, progress: Progress, shown: _Shown) -> None:
        self._progress = progress
        self._shown = shown

    def planned(self, batch: str, plan: Plan) -> None:
        self._progress.say(frames.STARTED, _encode(StartedBody.of(batch, plan)))

    def ended(self, result: ItemResult) -> None:
        body = BulkItemBody.of(result, self._shown.error, self._shown.rollout)
        self._progress.say(frames.ITEM, _encode(body))

    def followed(self, ref: DeploymentRef, rollout: RolloutResult) -> None:
        body = ItemRolloutBody(namespace=ref.namespace, name=ref.name, rollout=self._shown.rollout(ref, rollout))
        self._progress.say(frames.ROLLOUT, _encode(body))
