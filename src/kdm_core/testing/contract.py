"""The contract of a :class:`~kdm_core.ports.DeploymentRepository`, to subclass where an adapter is tested.

Bring a ``harness`` fixture and nothing else; the tests are coroutines, for pytest-asyncio in auto mode::

    class TestMyRepository(DeploymentRepositoryContract):
        @pytest.fixture
        async def harness(self) -> AsyncIterator[RepositoryHarness]:
            async with MyRepository(...) as repository:
                yield MyHarness(repository)

Use :class:`ScopedRepositoryContract` where the repository watches some namespaces, with a harness that knows another.
"""

from __future__ import annotations

import pytest

from kdm_core.errors import NamespaceNotWatched
from kdm_core.model import DeploymentRef
from kdm_core.testing.changing import ChangesContract
from kdm_core.testing.following import Follower
from kdm_core.testing.harness import ScopedRepositoryHarness
from kdm_core.testing.reading import ReadContract
from kdm_core.testing.syncing import SyncContract
from kdm_core.testing.writing import WriteContract


class DeploymentRepositoryContract(ReadContract, WriteContract, ChangesContract, SyncContract):
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
