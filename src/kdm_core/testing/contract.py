"""The contract of a :class:`~kdm_core.ports.DeploymentRepository`, to subclass where an adapter is tested.

Bring a ``harness`` fixture and nothing else; what the repository cannot do is said in ``lacks``, for example
``lacks = frozenset({Ability.DRY_RUN})``; the tests are coroutines, for pytest-asyncio in auto mode::

    class TestMyRepository(DeploymentRepositoryContract):
        @pytest.fixture
        async def harness(self) -> AsyncIterator[RepositoryHarness]:
            async with MyRepository(...) as repository:
                yield MyHarness(repository)

Use :class:`ScopedRepositoryContract` where the repository watches some namespaces, with a harness that knows another.
"""

from __future__ import annotations

import asyncio

import pytest

from kdm_core.errors import CacheNotSynced, CacheStale, NamespaceNotWatched
from kdm_core.model import ALL_NAMESPACES, DeploymentRef
from kdm_core.ports import DeploymentRepository
from kdm_core.testing.annotating import AnnotateContract
from kdm_core.testing.changing import ChangesContract
from kdm_core.testing.comparing import CompareContract
from kdm_core.testing.following import DEADLINE_S, Follower
from kdm_core.testing.following_all import FollowAllContract
from kdm_core.testing.harness import ScopedRepositoryHarness
from kdm_core.testing.observing import ObserveContract
from kdm_core.testing.owning import OwnContract
from kdm_core.testing.reading import ReadContract
from kdm_core.testing.syncing import SyncContract
from kdm_core.testing.writing import WriteContract


class DeploymentRepositoryContract(
    ReadContract,
    WriteContract,
    CompareContract,
    ChangesContract,
    ObserveContract,
    FollowAllContract,
    OwnContract,
    SyncContract,
    AnnotateContract,
):
    """What every repository promises, whichever namespaces it watches."""


class ScopedRepositoryContract(DeploymentRepositoryContract):
    """What a repository promises that watches some namespaces alone, besides all the rest."""

    async def test_what_is_not_watched_is_told_apart_from_what_does_not_exist(
        self, harness: ScopedRepositoryHarness
    ) -> None:
        ref = DeploymentRef(harness.unwatched, "web")
        await harness.seed(ref, 1)
        repository = harness.repository

        with pytest.raises(NamespaceNotWatched, match=harness.unwatched):
            repository.get(ref)
        with pytest.raises(NamespaceNotWatched, match=harness.namespaces[0]):
            repository.list(harness.unwatched)
        with pytest.raises(NamespaceNotWatched, match=harness.namespaces[1]):
            await repository.set_replicas(ref, 2)
        with pytest.raises(NamespaceNotWatched):
            await Follower(repository.changes(harness.unwatched)).next()

        assert await harness.stored_replicas(ref) == 1

    async def test_what_is_not_watched_is_in_no_read(self, harness: ScopedRepositoryHarness) -> None:
        inside = DeploymentRef(harness.namespaces[1], "web")
        await harness.seed(DeploymentRef(harness.unwatched, "web"), 1)
        await harness.seed(inside, 1)
        await harness.settle()

        assert [each.ref for each in harness.repository.list()] == [inside]
        assert [each.ref for each in harness.repository.find("web")] == [inside]
        assert harness.repository.sync_status().objects == 1
        follower = Follower(harness.repository.changes())
        await follower.until_synced()
        await follower.aclose()
        assert list(follower.state) == [inside]

    async def test_each_namespace_is_a_source_of_its_own(self, harness: ScopedRepositoryHarness) -> None:
        status = harness.repository.sync_status()

        assert [each.source for each in status.sources] == list(harness.namespaces)
        for each in status.sources:
            assert (each.synced, each.connected, each.stale) == (True, True, False)
            assert (each.reason, each.trouble) == ("", None)

    async def test_a_namespace_that_cannot_be_read_does_not_silence_the_others(
        self, harness: ScopedRepositoryHarness
    ) -> None:
        """Reads, followers and writes of one namespace need that one alone; reads over all say which is missing."""
        here, there = (DeploymentRef(namespace, "web") for namespace in harness.namespaces)
        for ref in (here, there):
            await harness.seed(ref, 1)
        await harness.break_watch_of(there.namespace)
        async with harness.another() as another:
            follower = Follower(another.changes(here.namespace))
            await follower.until_synced()

            assert another.get(here).replicas.desired == 1
            assert [each.ref for each in another.list(here.namespace)] == [here]
            written = await another.set_replicas(here, 3)
            assert another.get(here) == written
            await follower.until_replicas(here, 3)
            await follower.aclose()

            self._assert_refused(another, here, there, CacheNotSynced)
            with pytest.raises(CacheNotSynced, match=there.namespace):
                await another.wait_synced(0)
            status = another.sync_status()
            assert (status.synced, status.serving, status.healthy) == (False, True, False)
            assert there.namespace in status.reason
            assert {each.source: each.synced for each in status.sources} == {
                here.namespace: True,
                there.namespace: False,
            }
            assert status.sources[1].trouble is not None

    async def test_a_namespace_that_can_be_read_later_is_read_then(self, harness: ScopedRepositoryHarness) -> None:
        here, there = (DeploymentRef(namespace, "web") for namespace in harness.namespaces)
        await harness.seed(there, 4)
        await harness.break_watch_of(there.namespace)
        async with harness.another() as another:
            first = Follower(another.changes(here.namespace))
            await first.until_synced()
            await first.aclose()
            of_it, of_all = (Follower(another.changes(namespace)) for namespace in (there.namespace, ALL_NAMESPACES))
            waiting = [asyncio.create_task(each.until_synced()) for each in (of_it, of_all)]
            await asyncio.sleep(0)  # they begin to wait
            assert not any(each.done() for each in waiting)

            await harness.heal_watch()
            await another.wait_synced(DEADLINE_S)

            for task, follower in zip(waiting, (of_it, of_all), strict=True):
                await task
                await follower.aclose()
                assert list(follower.state) == [there]
            assert another.get(there).replicas.desired == 4
            assert [each.ref for each in another.list()] == [there]
            assert another.sync_status().synced

    async def test_a_stale_namespace_does_not_make_the_others_stale(self, harness: ScopedRepositoryHarness) -> None:
        here, there = (DeploymentRef(namespace, "web") for namespace in harness.namespaces)
        for ref in (here, there):
            await harness.seed(ref, 1)
        await harness.settle()
        await harness.go_stale_in(there.namespace)

        assert harness.repository.get(here).replicas.desired == 1
        assert len(harness.repository.list(here.namespace)) == 1
        self._assert_refused(harness.repository, here, there, CacheStale)
        status = harness.repository.sync_status()
        assert (status.synced, status.stale, status.healthy) == (True, True, False)
        assert {each.source: each.stale for each in status.sources} == {here.namespace: False, there.namespace: True}

        await harness.heal_watch()
        await harness.settle()

        assert harness.repository.sync_status().healthy
        assert len(harness.repository.list()) == 2

    @staticmethod
    def _assert_refused(
        repository: DeploymentRepository, here: DeploymentRef, there: DeploymentRef, error: type[Exception]
    ) -> None:
        """Check that reads of one namespace are refused, and so are reads over all, which say what can be read."""
        with pytest.raises(error, match=there.namespace):
            repository.get(there)
        with pytest.raises(error, match=there.namespace):
            repository.list(there.namespace)
        with pytest.raises(error, match=f"{there.namespace}.*can be read: {here.namespace}"):
            repository.list()
        with pytest.raises(error, match=f"{there.namespace}.*can be read: {here.namespace}"):
            repository.find("web")
