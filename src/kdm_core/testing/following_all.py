"""The contract of ``follow_all``: each Deployment's states as the cluster has said them, in order, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kdm_core.model import Deployment, DeploymentRef
from kdm_core.ports import DeploymentRepository
from kdm_core.testing.following import DEADLINE_S
from kdm_core.testing.harness import RepositoryHarness
from kdm_core.versions import older

_MANY = 8
"""How many Deployments there are in each namespace where there are many."""


class _Seen:
    """What was seen of each Deployment, in the order in which it came."""

    def __init__(self) -> None:
        self.of: dict[DeploymentRef, list[Deployment | None]] = {}
        self.backward = False
        self._woken = asyncio.Event()

    def __call__(self, ref: DeploymentRef, deployment: Deployment | None) -> None:
        states = self.of.setdefault(ref, [])
        before = states[-1] if states else None
        if before is not None and deployment is not None and before.uid == deployment.uid:
            self.backward |= older(deployment.resource_version, before.resource_version)
        states.append(deployment)
        self._woken.set()

    def count(self, ref: DeploymentRef) -> int | None:
        """Return the newest count; None where there is none, or it is gone."""
        newest = self.of.get(ref, [None])[-1]
        return None if newest is None else newest.replicas.desired

    def is_gone(self, ref: DeploymentRef) -> bool:
        """Return whether the newest that came is its end."""
        return self.of.get(ref, [])[-1:] == [None]

    async def until(self, enough: Callable[[], bool]) -> None:
        """Wait until what was seen is enough."""
        async with asyncio.timeout(DEADLINE_S):
            while not enough():
                self._woken.clear()
                await self._woken.wait()


@contextmanager
def _following(repository: DeploymentRepository) -> Iterator[_Seen]:
    seen = _Seen()
    end = repository.follow_all(seen)
    try:
        yield seen
    finally:
        end()
    assert not seen.backward, "a Deployment went backward"


class FollowAllContract:
    """Whoever follows all Deployments learns each one's states, and its end."""

    async def test_following_all_begins_with_what_is_there_and_goes_on_with_each_state(
        self, harness: RepositoryHarness
    ) -> None:
        here, there = (DeploymentRef(namespace, "web") for namespace in harness.namespaces)
        await harness.seed(here, 1)
        await harness.settle()
        with _following(harness.repository) as seen:
            await seen.until(lambda: seen.count(here) == 1)
            await harness.seed(there, 2)
            for replicas in (3, 4, 0):
                await harness.edit(here, replicas=replicas)
            await seen.until(lambda: seen.count(here) == 0 and seen.count(there) == 2)

        counts = [each.replicas.desired for each in seen.of[here] if each is not None]
        assert list(dict.fromkeys(counts)) == [1, 3, 4, 0]

    async def test_of_many_that_are_followed_each_ones_end_is_seen(self, harness: RepositoryHarness) -> None:
        refs = [DeploymentRef(namespace, f"web-{n}") for namespace in harness.namespaces for n in range(_MANY)]
        for ref in refs:
            await harness.seed(ref, 1)
        await harness.settle()
        staying, ended = refs[::2], refs[1::2]
        with _following(harness.repository) as seen:
            await seen.until(lambda: all(seen.count(ref) == 1 for ref in refs))
            for ref in ended:
                await harness.edit(ref, replicas=2)
                await harness.delete(ref)
            for ref in staying:
                await harness.edit(ref, replicas=3)
            await seen.until(lambda: all(map(seen.is_gone, ended)) and all(seen.count(ref) == 3 for ref in staying))

        for ref in staying:
            assert None not in seen.of[ref]

    async def test_an_end_that_came_while_the_watch_was_broken_is_seen_when_it_is_mended(
        self, harness: RepositoryHarness
    ) -> None:
        """So is one that was created again meanwhile: as another object."""
        gone, again, staying = (DeploymentRef(harness.namespaces[0], name) for name in ("api", "job", "web"))
        for ref in (gone, again, staying):
            await harness.seed(ref, 1)
        await harness.settle()
        before = harness.repository.get(again)
        with _following(harness.repository) as seen:
            await seen.until(lambda: all(seen.count(ref) == 1 for ref in (gone, again, staying)))
            await harness.break_watch()
            for ref in (gone, again):
                await harness.delete(ref)
            await harness.seed(again, 2)
            assert (seen.count(gone), seen.count(again)) == (1, 1)
            await harness.heal_watch()
            await seen.until(lambda: seen.is_gone(gone) and seen.count(again) == 2)

            newest = seen.of[again][-1]
            assert newest is not None
            assert newest.uid != before.uid
            assert None not in seen.of[staying]

    async def test_an_own_write_is_seen_by_who_follows_all_once_it_is_delivered(
        self, harness: RepositoryHarness
    ) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        with _following(harness.repository) as seen:
            await seen.until(lambda: seen.count(ref) == 1)
            await harness.break_watch()
            await harness.repository.set_replicas(ref, 5)
            assert harness.repository.get(ref).replicas.desired == 5
            assert seen.count(ref) == 1

            await harness.heal_watch()
            await seen.until(lambda: seen.count(ref) == 5)

    async def test_following_all_can_be_ended_and_each_follower_for_itself(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        first = _Seen()
        end = harness.repository.follow_all(first)
        with _following(harness.repository) as second:
            await first.until(lambda: first.count(ref) == 1)
            await second.until(lambda: second.count(ref) == 1)
            end()
            end()
            await harness.edit(ref, replicas=2)
            await second.until(lambda: second.count(ref) == 2)
            await harness.settle()

        assert first.count(ref) == 1
