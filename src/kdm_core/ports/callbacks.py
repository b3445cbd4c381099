"""Calling functions with what happens to Deployments: for repositories that have no better way than their changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from kdm_core.model import ChangeKind, Deployment, DeploymentChange, DeploymentRef

OnSeen = Callable[[DeploymentRef, Deployment | None], None]
"""Takes in what the cluster says of a Deployment; None where it was deleted."""


async def call_on_changes(
    changes: AsyncGenerator[DeploymentChange, None], ref: DeploymentRef, on_change: Callable[[], None]
) -> None:
    """Call a function whenever one Deployment may have changed, and at the end."""
    async with aclosing(changes):
        async for change in changes:
            if change.deployment is None or change.deployment.ref == ref:
                on_change()
    on_change()


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
                    on_seen(ref, None)
            elif change.kind is ChangeKind.DELETED:
                known.discard(found.ref)
                on_seen(found.ref, None)
            else:
                known.add(found.ref)
                missing.discard(found.ref)
                on_seen(found.ref, found)
