"""Calling functions with what happens to Deployments, also where a repository has no better way than its changes."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeVarTuple

from kdm_core.model import ChangeKind, Deployment, DeploymentChange, DeploymentRef

OnSeen = Callable[[DeploymentRef, Deployment | None], None]
"""Takes in what the cluster says of a Deployment; None where it was deleted."""

_Ts = TypeVarTuple("_Ts")

_log = logging.getLogger(__name__)


def tell(follower: Callable[[*_Ts], None], *news: *_Ts) -> None:
    """Call a follower's function. What it raises is logged: it must not reach a write, the watch or other followers."""
    try:
        follower(*news)
    except Exception:  # noqa: BLE001 - whatever a program's function may raise
        _log.exception("what follows a Deployment has failed")


async def call_on_changes(
    changes: AsyncGenerator[DeploymentChange, None], ref: DeploymentRef, on_change: Callable[[], None]
) -> None:
    """Call a function whenever one Deployment may have changed, and at the end."""
    async with aclosing(changes):
        async for change in changes:
            if change.deployment is None or change.deployment.ref == ref:
                tell(on_change)
    tell(on_change)


async def call_with_all(changes: AsyncGenerator[DeploymentChange, None], on_seen: OnSeen) -> None:
    """Call a function with each state of each Deployment, and with None where one is gone."""
    known: set[DeploymentRef] = set()
    missing: set[DeploymentRef] = set()
    async with aclosing(changes):
        async for change in changes:
            found = change.deployment
            if found is None:
                if change.kind is ChangeKind.LAGGED:
                    missing = set(known)
                for ref in missing if change.kind is ChangeKind.SYNCED else ():
                    known.discard(ref)
                    tell(on_seen, ref, None)
            elif change.kind is ChangeKind.DELETED:
                known.discard(found.ref)
                tell(on_seen, found.ref, None)
            else:
                known.add(found.ref)
                missing.discard(found.ref)
                tell(on_seen, found.ref, found)
