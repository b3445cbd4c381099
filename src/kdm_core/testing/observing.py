"""The contract of observing: what the cluster itself has said, and how far that is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from kdm_core.errors import NotSeenYet
from kdm_core.model import ALL_NAMESPACES, DeploymentRef, Observation, Trouble
from kdm_core.ports import DeploymentRepository
from kdm_core.testing.following import DEADLINE_S
from kdm_core.testing.harness import RepositoryHarness
from kdm_core.versions import older

_FUTURE = str(2**62)
"""A version that no cluster reaches while a test runs."""


async def _until(repository: DeploymentRepository, ref: DeploymentRef, enough: Callable[[Observation], bool]) -> None:
    """Wait until what is observed is as it should be, looking when a follower is called and at no other time."""
    called = asyncio.Event()
    end = repository.follow(ref, called.set)
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not enough(repository.observed(ref)):
                await called.wait()
                called.clear()
                await asyncio.sleep(0)  # the source takes note first
    finally:
        end()


async def _until_connected(repository: DeploymentRepository) -> None:
    """Wait until a repository is at rest: synced, and its watch open."""
    async with asyncio.timeout(DEADLINE_S):
        while not repository.sync_status().connected:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.001)  # let it work


def _raise() -> None:
    raise ZeroDivisionError("a defect of the program")


class ObserveContract:
    """Observations come from the cluster alone, and whoever follows one Deployment is called in time."""

    async def test_what_is_observed_is_what_is_read_once_all_is_delivered(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 3)
        await harness.settle()

        seen = harness.repository.observed(ref)

        assert seen.deployment == harness.repository.get(ref)
        assert (seen.source.synced, seen.source.connected, seen.source.stale) == (True, True, False)
        assert not older(seen.source.resource_version, harness.repository.get(ref).resource_version)

    async def test_what_does_not_exist_is_observed_as_nothing(self, harness: RepositoryHarness) -> None:
        seen = harness.repository.observed(DeploymentRef(harness.namespaces[0], "web"))

        assert seen.deployment is None
        assert int(seen.source.resource_version) >= 0

    async def test_an_own_write_is_read_at_once_and_observed_when_it_is_delivered(
        self, harness: RepositoryHarness
    ) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        before = harness.repository.observed(ref).deployment
        await harness.break_watch()

        await harness.repository.set_replicas(ref, 5)
        await harness.repository.set_replicas(ref, 6)

        assert harness.repository.get(ref).replicas.desired == 6
        seen = harness.repository.observed(ref)
        assert seen.deployment == before
        assert not seen.source.connected

        await harness.heal_watch()
        await harness.settle()

        seen = harness.repository.observed(ref)
        assert seen.deployment == harness.repository.get(ref)
        assert seen.deployment is not None
        assert (seen.deployment.replicas.desired, seen.source.connected) == (6, True)

    async def test_a_follower_is_called_when_an_own_write_is_delivered(self, harness: RepositoryHarness) -> None:
        """It is no change of what reads show: they have shown it since it was made."""
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        for replicas in (5, 5, 0):
            written = await harness.repository.set_replicas(ref, replicas)

            def delivered(seen: Observation, version: str = written.resource_version) -> bool:
                return seen.deployment is not None and not older(seen.deployment.resource_version, version)

            await _until(harness.repository, ref, delivered)

    async def test_a_follower_is_called_when_others_change_or_delete_it(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        repository = harness.repository

        async def after(doing: asyncio.Task[None], enough: Callable[[Observation], bool]) -> None:
            await _until(repository, ref, enough)
            await doing

        await after(
            asyncio.ensure_future(harness.seed(ref, 1)),
            lambda seen: seen.deployment is not None,
        )
        await after(
            asyncio.ensure_future(harness.edit(ref, replicas=4)),
            lambda seen: seen.deployment is not None and seen.deployment.replicas.desired == 4,
        )
        await after(asyncio.ensure_future(harness.delete(ref)), lambda seen: seen.deployment is None)

    async def test_a_follower_is_not_called_for_others_nor_after_its_end(self, harness: RepositoryHarness) -> None:
        ref, other = (DeploymentRef(harness.namespaces[0], name) for name in ("web", "api"))
        for each in (ref, other):
            await harness.seed(each, 1)
        await harness.settle()
        calls: list[str] = []
        end = harness.repository.follow(ref, lambda: calls.append("web"))

        await harness.edit(other, replicas=2)
        await harness.settle()
        assert calls == []
        await harness.edit(ref, replicas=2)
        await harness.settle()
        assert calls
        end()
        end()
        calls.clear()
        await harness.edit(ref, replicas=3)
        await harness.settle()

        assert calls == []

    async def test_a_follower_that_raises_disturbs_nobody(
        self, harness: RepositoryHarness, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Neither the write that it hears of, nor the watch, nor who follows after it, nor the end."""
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        called = asyncio.Event()
        async with harness.another() as another:
            await _until_connected(another)
            another.follow(ref, _raise)
            another.follow_all(lambda _ref, _seen: _raise())
            another.follow(ref, called.set)
            assert (await another.set_replicas(ref, 4)).replicas.desired == 4
            await harness.edit(ref, replicas=3)
            await _until(
                another, ref, lambda seen: seen.deployment is not None and seen.deployment.replicas.desired == 3
            )
            assert another.sync_status().connected
            called.clear()
        async with asyncio.timeout(DEADLINE_S):
            await called.wait()
        assert another.observed(ref).source.trouble is Trouble.STOPPED
        assert "a defect of the program" in caplog.text

    async def test_a_follower_is_called_when_the_repository_stops(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        called = asyncio.Event()
        async with harness.another() as another:
            await _until_connected(another)
            another.follow(ref, called.set)
        async with asyncio.timeout(DEADLINE_S):
            await called.wait()
        source = another.observed(ref).source
        assert (source.connected, source.trouble) == (False, Trouble.STOPPED)

    async def test_a_version_that_has_been_seen_is_not_waited_for(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()

        for each in (harness.repository.get(ref).resource_version, "1", "0"):
            await harness.repository.wait_seen(ref.namespace, each, 0)
        await harness.repository.wait_seen(ALL_NAMESPACES, "0", 0)

    async def test_a_version_is_waited_for_until_the_watch_brings_it(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        await harness.break_watch()
        written = await harness.repository.set_replicas(ref, 5)
        with pytest.raises(NotSeenYet, match=written.resource_version):
            await harness.repository.wait_seen(ref.namespace, written.resource_version, 0)
        waiting = [
            asyncio.ensure_future(harness.repository.wait_seen(ref.namespace, written.resource_version, DEADLINE_S))
            for _ in range(3)
        ]
        await asyncio.sleep(0)
        waiting[1].cancel()

        await harness.heal_watch()

        await waiting[0]
        await waiting[2]
        seen = harness.repository.observed(ref).source.resource_version
        assert not older(seen, written.resource_version)

    async def test_a_version_that_does_not_come_is_not_seen_yet(self, harness: RepositoryHarness) -> None:
        with pytest.raises(NotSeenYet, match=f"{harness.namespaces[0]}.*{_FUTURE}"):
            await harness.repository.wait_seen(harness.namespaces[0], _FUTURE, 0.01)

    async def test_nobody_waits_for_a_version_past_the_end(self, harness: RepositoryHarness) -> None:
        async with harness.another() as another:
            await _until_connected(another)
            waiting = asyncio.ensure_future(another.wait_seen(harness.namespaces[0], _FUTURE, DEADLINE_S))
            await asyncio.sleep(0)
        async with asyncio.timeout(DEADLINE_S / 2):
            with pytest.raises(NotSeenYet):
                await waiting
