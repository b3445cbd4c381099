"""The contract of how far reads can be trusted, and of starting and stopping."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator

import pytest

from kdm_core.errors import CacheNotSynced, CacheStale, ClusterUnreachable
from kdm_core.model import DeploymentChange, DeploymentRef
from kdm_core.ports import DeploymentRepository
from kdm_core.testing.following import DEADLINE_S
from kdm_core.testing.harness import RepositoryHarness


class SyncContract:
    """A repository says how old what it knows is, and refuses to answer from nothing."""

    async def test_before_it_is_entered_nothing_is_known(self, harness: RepositoryHarness) -> None:
        await harness.seed(DeploymentRef(harness.namespaces[0], "web"), 1)

        another = harness.another()

        status = another.sync_status()
        assert (status.synced, status.connected, status.healthy, status.objects) == (False, False, False, 0)
        assert (status.resource_version, status.age_s) == ("", math.inf)
        assert status.reason
        self._assert_refuses(another, harness.namespaces[0])
        with pytest.raises(CacheNotSynced):
            await another.wait_synced(0)

    async def test_entering_does_not_wait_for_the_first_sync(self, harness: RepositoryHarness) -> None:
        await harness.seed(DeploymentRef(harness.namespaces[0], "web"), 1)
        await harness.break_watch()
        async with harness.another() as another:
            assert not another.sync_status().synced
            assert another.sync_status().reason
            self._assert_refuses(another, harness.namespaces[0])
            with pytest.raises(CacheNotSynced, match=r"\w+"):
                await another.wait_synced(0.01)

            await harness.heal_watch()
            await another.wait_synced(DEADLINE_S)

            assert another.sync_status().synced
            assert len(another.list(harness.namespaces[0])) == 1

    async def test_once_synced_it_says_so(self, harness: RepositoryHarness) -> None:
        await harness.seed(DeploymentRef(harness.namespaces[0], "web"), 1)
        await harness.settle()
        await harness.repository.wait_synced(0)

        status = harness.repository.sync_status()

        assert (status.synced, status.connected, status.stale, status.reason) == (True, True, False, "")
        assert status.healthy
        assert int(status.resource_version) > 0
        assert 0 <= status.age_s < math.inf
        assert status.objects == len(harness.repository.list())

    async def test_the_version_moves_on_with_what_is_seen(self, harness: RepositoryHarness) -> None:
        refs = [DeploymentRef(namespace, "web") for namespace in harness.namespaces]
        for ref in refs:
            await harness.seed(ref, 1)
        await harness.settle()
        before = int(harness.repository.sync_status().resource_version)

        for ref in refs:
            await harness.edit(ref, replicas=2)
        await harness.settle()

        assert int(harness.repository.sync_status().resource_version) > before

    async def test_while_the_watch_is_broken_reads_go_on_and_age(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        await harness.break_watch()
        await harness.edit(ref, replicas=2)
        await harness.seed(DeploymentRef(ref.namespace, "api"), 1)

        status = harness.repository.sync_status()
        later = harness.repository.sync_status()

        assert (status.synced, status.connected, status.healthy, status.stale) == (True, False, False, False)
        assert status.reason
        assert 0 <= status.age_s <= later.age_s < math.inf
        assert harness.repository.get(ref).replicas.desired == 1
        assert [each.ref for each in harness.repository.list(ref.namespace)] == [ref]
        assert harness.own(harness.repository.find("api")) == []

        await harness.heal_watch()
        await harness.settle()

        assert harness.repository.sync_status().healthy
        assert harness.repository.get(ref).replicas.desired == 2

    async def test_a_stale_repository_refuses_reads_until_it_is_fresh_again(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        await harness.go_stale()

        status = harness.repository.sync_status()
        assert (status.synced, status.stale, status.healthy) == (True, True, False)
        assert status.reason
        for read in (
            lambda: harness.repository.get(ref),
            lambda: harness.repository.find("web"),
            lambda: harness.repository.list(ref.namespace),
            harness.repository.list,
        ):
            with pytest.raises(CacheStale):
                read()

        await harness.heal_watch()
        await harness.settle()

        assert harness.repository.sync_status().healthy
        assert harness.repository.get(ref).replicas.desired == 1

    async def test_waiting_for_the_first_sync_ends_when_the_repository_stops(self, harness: RepositoryHarness) -> None:
        await harness.break_watch()
        async with harness.another() as another:
            waiting = asyncio.create_task(another.wait_synced(2 * DEADLINE_S))
            await asyncio.sleep(0)  # it begins to wait

        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(CacheNotSynced):
                await waiting

    async def test_a_stopped_repository_is_connected_to_nothing(self, harness: RepositoryHarness) -> None:
        async with harness.another() as another:
            await another.wait_synced(DEADLINE_S)

        assert not another.sync_status().connected
        assert not another.sync_status().healthy
        assert another.sync_status().reason

    async def test_it_can_be_entered_only_once(self, harness: RepositoryHarness) -> None:
        """Neither while it runs, which it goes on doing, nor after it was left. Leaving twice is harmless."""
        another = harness.another()
        async with another:
            await another.wait_synced(DEADLINE_S)
            with pytest.raises(RuntimeError, match="entered"):
                await another.__aenter__()
            assert another.sync_status().healthy
        with pytest.raises(RuntimeError, match="entered"):
            await another.__aenter__()
        await another.__aexit__(None, None, None)
        assert not another.sync_status().connected

    @pytest.mark.parametrize("cancelled", ["once", "twice", "at every await"])
    async def test_leaving_is_done_to_the_end_whenever_it_is_cancelled(
        self, harness: RepositoryHarness, cancelled: str
    ) -> None:
        """Afterwards it says that it is stopped, its followers have ended, and its writes are refused."""
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        for turns in range(8):
            another = harness.another()
            ending = asyncio.create_task(self._until_its_end(another.changes()))
            leave = asyncio.Event()
            leaving = asyncio.create_task(self._use(another, leave))
            await another.wait_synced(DEADLINE_S)
            leave.set()
            times = {"once": 1, "twice": 2}.get(cancelled, 10_000)
            for _ in range(turns):
                await asyncio.sleep(0)
            for _ in range(times):
                if leaving.cancel():
                    await asyncio.sleep(0)
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.wait({leaving})
                await ending
            status = another.sync_status()
            assert (status.connected, status.healthy) == (False, False)
            assert status.reason
            with pytest.raises(ClusterUnreachable):
                await another.set_replicas(ref, 2)
        assert await harness.stored_replicas(ref) == 1

    @staticmethod
    async def _use(repository: DeploymentRepository, leave: asyncio.Event) -> None:
        async with repository:
            await leave.wait()

    @staticmethod
    async def _until_its_end(changes: AsyncGenerator[DeploymentChange, None]) -> None:
        async for _ in changes:
            pass

    @staticmethod
    def _assert_refuses(repository: DeploymentRepository, namespace: str) -> None:
        for read in (
            lambda: repository.get(DeploymentRef(namespace, "web")),
            lambda: repository.find("web"),
            lambda: repository.list(namespace),
            repository.list,
        ):
            with pytest.raises(CacheNotSynced):
                read()
