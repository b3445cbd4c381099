"""Reads ``changes`` as a subscriber does, for tests: with a deadline, and adding up what it gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping

from kdm_core.model import ChangeKind, Deployment, DeploymentChange, DeploymentRef

DEADLINE_S = 30.0
"""How long a test waits for what must come, in seconds. Far more than it takes: who waits in vain has failed."""


class Follower:
    """What a subscriber got, and what it must therefore believe.

    Args:
        changes: From the repository under test; closed by ``aclose``.

    Attributes:
        seen: Every change so far.
        state: The Deployments there are, going by the changes alone.
        synced: Whether that is complete.
    """

    def __init__(self, changes: AsyncGenerator[DeploymentChange, None]) -> None:
        self.seen: list[DeploymentChange] = []
        self.synced = False
        self._changes = changes
        self._state: dict[DeploymentRef, Deployment] = {}
        self._anew: dict[DeploymentRef, Deployment] = {}

    @property
    def state(self) -> Mapping[DeploymentRef, Deployment]:
        return self._state

    async def next(self) -> DeploymentChange:
        """Read one change, and check that it makes sense after the ones before.

        Raises:
            StopAsyncIteration: There are no more.
        """
        async with asyncio.timeout(DEADLINE_S):
            change = await anext(self._changes)
        self.seen.append(change)
        self._add_up(change)
        return change

    async def until(self, enough: Callable[[DeploymentChange], bool]) -> list[DeploymentChange]:
        """Read until a change is the one waited for. Returns those read, it included."""
        read = [await self.next()]
        while not enough(read[-1]):
            read.append(await self.next())
        return read

    async def until_synced(self) -> list[DeploymentChange]:
        """Read the present state."""
        return await self.until(lambda change: change.kind is ChangeKind.SYNCED)

    async def until_replicas(self, ref: DeploymentRef, replicas: int) -> list[DeploymentChange]:
        """Read until a Deployment has that many replicas."""
        return await self.until(lambda change: desired(change) == (ref, replicas))

    async def aclose(self) -> None:
        """Close the subscription."""
        await self._changes.aclose()

    def _add_up(self, change: DeploymentChange) -> None:
        kind, deployment = change.kind, change.deployment
        if kind is ChangeKind.LAGGED:
            assert deployment is None
            assert self.synced, "LAGGED before SYNCED"
            self.synced, self._anew = False, {}
        elif kind is ChangeKind.SYNCED:
            assert deployment is None
            assert not self.synced, "SYNCED twice"
            self.synced, self._state = True, self._anew
        else:
            assert deployment is not None, f"{kind} of nothing"
            self._add(kind, deployment)

    def _add(self, kind: ChangeKind, deployment: Deployment) -> None:
        ref = deployment.ref
        if kind is ChangeKind.PRESENT:
            assert not self.synced, "PRESENT after SYNCED"
            assert ref not in self._anew, f"{ref} is present twice"
            self._anew[ref] = deployment
            return
        assert self.synced, f"{kind} before SYNCED"
        assert (ref in self._state) == (kind is not ChangeKind.ADDED), f"{kind} of {ref} does not follow"
        if kind is ChangeKind.DELETED:
            del self._state[ref]
            return
        before = self._state.get(ref)
        if before is not None:
            assert before != deployment, f"the same change of {ref} twice"
            assert before.uid == deployment.uid, f"MODIFIED tells of another {ref}: its predecessor was deleted"
            assert int(before.resource_version) <= int(deployment.resource_version), f"{ref} went backward"
        self._state[ref] = deployment


def desired(change: DeploymentChange) -> tuple[DeploymentRef, int] | None:
    """Return whose count a change tells, and which; None where it tells none or of a deletion."""
    deployment = change.deployment
    if deployment is None or change.kind is ChangeKind.DELETED:
        return None
    return deployment.ref, deployment.replicas.desired
