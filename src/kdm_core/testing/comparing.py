"""The contract of writes that expect something, are only tried, or are relative to what is there."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from kdm_core.errors import DeploymentNotFound, WriteConflict
from kdm_core.model import ChangeKind, Deployment, DeploymentRef
from kdm_core.scaling import Expect, ScaleBy
from kdm_core.service import DeploymentService
from kdm_core.testing.abilities import Ability, Suite, needs
from kdm_core.testing.following import DEADLINE_S, Follower
from kdm_core.testing.harness import RepositoryHarness


class CompareContract(Suite):
    """What a write expects is judged by the cluster, in one step with the write; a dry run stores nothing."""

    @needs(Ability.COMPARE)
    @pytest.mark.parametrize(("before", "after"), [(3, 5), (3, 3), (3, 0), (0, 2), (0, 0)])
    async def test_a_write_that_expects_the_count_it_finds_is_done(
        self, harness: RepositoryHarness, before: int, after: int
    ) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, before)
        await harness.settle()

        written = await harness.repository.set_replicas(ref, after, expect=Expect(replicas=before))

        assert written.replicas.desired == harness.repository.get(ref).replicas.desired == after
        assert await harness.stored_replicas(ref) == after

    @needs(Ability.COMPARE)
    @pytest.mark.parametrize(("there", "expected"), [(3, 4), (3, 0), (0, 3), (1, 10)])
    async def test_a_write_that_expects_another_count_is_a_conflict_that_says_what_is_there(
        self, harness: RepositoryHarness, there: int, expected: int
    ) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, there)
        await harness.settle()

        with pytest.raises(WriteConflict, match=f"{there} replicas, not {expected}") as raised:
            await harness.repository.set_replicas(ref, 7, expect=Expect(replicas=expected))

        assert raised.value.current is not None
        assert (raised.value.current.ref, raised.value.current.replicas.desired) == (ref, there)
        assert await harness.stored_replicas(ref) == there
        assert harness.repository.get(ref).replicas.desired == there

    @needs(Ability.COMPARE)
    async def test_the_count_that_is_expected_is_the_clusters_not_the_one_that_is_read(
        self, harness: RepositoryHarness
    ) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        await harness.break_watch()
        await harness.edit(ref, replicas=2)

        with pytest.raises(WriteConflict) as raised:
            await harness.repository.set_replicas(ref, 5, expect=Expect(replicas=1))
        await harness.repository.set_replicas(ref, 5, expect=Expect(replicas=2))

        assert raised.value.current is not None
        assert raised.value.current.replicas.desired == 2
        assert await harness.stored_replicas(ref) == 5

    @needs(Ability.COMPARE)
    async def test_what_is_not_the_count_does_not_disturb_who_expects_one(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1, labels={"tier": "edge"})
        await harness.settle()
        await harness.edit(ref, labels={"tier": "core"})

        await harness.repository.set_replicas(ref, 2, expect=Expect(replicas=1))

        assert await harness.stored_replicas(ref) == 2

    @needs(Ability.COMPARE)
    async def test_a_write_can_expect_the_very_object(self, harness: RepositoryHarness) -> None:
        """One that was deleted and created again under the same name is another."""
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        first = harness.repository.get(ref)
        await harness.repository.set_replicas(ref, 2, expect=Expect(uid=first.uid))
        await harness.delete(ref)
        await harness.seed(ref, 1)

        with pytest.raises(WriteConflict, match="another object") as raised:
            await harness.repository.set_replicas(ref, 3, expect=Expect(uid=first.uid))

        assert raised.value.current is not None
        assert raised.value.current.uid != first.uid
        assert await harness.stored_replicas(ref) == 1

    @needs(Ability.COMPARE)
    async def test_a_write_can_expect_everything_at_once(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 0)
        await harness.settle()
        read = harness.repository.get(ref)
        everything = Expect(read.resource_version, 0, read.uid)

        await harness.repository.set_replicas(ref, 2, expect=everything)
        with pytest.raises(WriteConflict):
            await harness.repository.set_replicas(ref, 3, expect=everything)

        assert await harness.stored_replicas(ref) == 2

    @needs(Ability.COMPARE)
    async def test_of_writes_that_expect_one_count_one_succeeds(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 0)
        await harness.settle()

        results = await asyncio.gather(
            *(harness.repository.set_replicas(ref, n, expect=Expect(replicas=0)) for n in range(1, 6)),
            return_exceptions=True,
        )

        (written,) = [each for each in results if isinstance(each, Deployment)]
        assert all(isinstance(each, WriteConflict) for each in results if each is not written)
        assert await harness.stored_replicas(ref) == written.replicas.desired

    @needs(Ability.COMPARE)
    async def test_what_does_not_exist_is_not_found_whatever_is_expected(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")

        with pytest.raises(DeploymentNotFound):
            await harness.repository.set_replicas(ref, 2, expect=Expect(replicas=1, uid="7"))

    @needs(Ability.DRY_RUN)
    @pytest.mark.parametrize(("before", "after"), [(1, 4), (0, 2), (2, 0)])
    async def test_a_dry_run_says_what_would_be_and_stores_nothing(
        self, harness: RepositoryHarness, before: int, after: int
    ) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, before)
        await harness.settle()
        read = harness.repository.get(ref)
        follower = Follower(harness.repository.changes(ref.namespace))
        await follower.until_synced()

        tried = await harness.repository.set_replicas(ref, after, dry_run=True)

        assert (tried.ref, tried.uid, tried.replicas.desired) == (ref, read.uid, after)
        assert harness.repository.get(ref) == read
        assert await harness.stored_replicas(ref) == before
        await harness.repository.set_replicas(ref, 9)
        (change, *_) = await follower.until_replicas(ref, 9)
        assert change.kind is ChangeKind.MODIFIED
        assert change.deployment is not None
        assert change.deployment.replicas.desired == 9, "what was only tried is no change to anybody"
        await follower.aclose()

    @needs(Ability.DRY_RUN, Ability.COMPARE)
    async def test_a_dry_run_is_judged_as_a_write_is(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        with pytest.raises(DeploymentNotFound):
            await harness.repository.set_replicas(ref, 2, dry_run=True)
        await harness.seed(ref, 1)
        await harness.settle()

        await harness.repository.set_replicas(ref, 2, expect=Expect(replicas=1), dry_run=True)
        with pytest.raises(WriteConflict):
            await harness.repository.set_replicas(ref, 2, expect=Expect(replicas=2), dry_run=True)

        assert await harness.stored_replicas(ref) == 1

    async def test_what_reads_do_not_know_yet_can_be_fetched(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.break_watch()
        with pytest.raises(DeploymentNotFound):
            await harness.repository.fetch(ref)
        await harness.seed(ref, 4, labels={"tier": "edge"})

        found = await harness.repository.fetch(ref)

        assert (found.ref, found.replicas.desired, found.labels["tier"]) == (ref, 4, "edge")

    @needs(Ability.COMPARE)
    async def test_fifty_that_add_one_at_once_add_fifty(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 0)
        await harness.settle()
        service = DeploymentService(harness.repository, contention_timeout_s=DEADLINE_S)

        scaled = await asyncio.gather(*(service.set_replicas(ref, ScaleBy(1)) for _ in range(50)))

        assert sorted(each.replicas for each in scaled) == list(range(1, 51))
        assert all(each.previous == each.replicas - 1 for each in scaled)
        assert await harness.stored_replicas(ref) == 50

    @needs(Ability.COMPARE)
    async def test_fifty_that_add_one_at_once_through_five_repositories_add_fifty(
        self, harness: RepositoryHarness
    ) -> None:
        """As several processes do that know nothing of each other."""
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 7)
        await harness.settle()
        async with AsyncExitStack() as stack:
            services = []
            for _ in range(5):
                repository = await stack.enter_async_context(harness.another())
                await repository.wait_synced(DEADLINE_S)
                services.append(DeploymentService(repository, contention_timeout_s=DEADLINE_S))

            await asyncio.gather(*(each.set_replicas(ref, ScaleBy(1)) for each in services for _ in range(10)))

        assert await harness.stored_replicas(ref) == 57

    @needs(Ability.COMPARE)
    async def test_a_relative_change_counts_from_what_the_cluster_has(self, harness: RepositoryHarness) -> None:
        """However far behind the reads are, and though they do not know the Deployment at all."""
        ref, new = (DeploymentRef(harness.namespaces[0], name) for name in ("web", "new"))
        await harness.seed(ref, 1)
        await harness.settle()
        await harness.break_watch()
        await harness.edit(ref, replicas=6)
        await harness.seed(new, 3)
        service = DeploymentService(harness.repository)

        assert (await service.set_replicas(ref, ScaleBy(-2))).replicas == 4
        assert (await service.set_replicas(new, ScaleBy(2))).replicas == 5

        assert (await harness.stored_replicas(ref), await harness.stored_replicas(new)) == (4, 5)
