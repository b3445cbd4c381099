"""The part of the contract about what only kdm knows of a Deployment, and what is shown with it."""

from __future__ import annotations

from attrs import evolve

from kdm_core.attribution import LastChange
from kdm_core.model import ChangeKind, DeploymentRef
from kdm_core.parked import Parked
from kdm_core.testing.abilities import Ability, Suite, needs
from kdm_core.testing.following import Follower
from kdm_core.testing.harness import RepositoryHarness


class AnnotateContract(Suite):
    """What ``annotate_parked`` and ``annotate_change`` promise."""

    @needs(Ability.ANNOTATE)
    async def test_what_is_parked_is_shown_so_and_followers_hear_of_it(self, harness: RepositoryHarness) -> None:
        repository = harness.repository
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 0)
        await harness.settle()
        before = repository.get(ref)
        parked = Parked(before.uid, 3, 1_790_000_000, "alice", "night", "batch-1")
        follower = Follower(repository.changes(ref.namespace))
        await follower.until_synced()

        repository.annotate_parked(ref, parked)

        assert repository.get(ref) == evolve(before, parked=parked)
        assert repository.list(ref.namespace) == (evolve(before, parked=parked),)
        change = await follower.next()
        assert (change.kind, change.deployment) == (ChangeKind.MODIFIED, evolve(before, parked=parked))
        await harness.edit(ref, labels={"tier": "web"})
        await harness.settle()
        assert repository.get(ref).parked == parked

        repository.annotate_parked(ref, None)

        assert repository.get(ref).parked is None
        await follower.until(lambda change: change.deployment is not None and change.deployment.parked is None)
        await follower.aclose()

    @needs(Ability.ANNOTATE)
    async def test_another_object_of_the_name_is_not_parked(self, harness: RepositoryHarness) -> None:
        repository = harness.repository
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 0)
        await harness.settle()
        repository.annotate_parked(ref, Parked(repository.get(ref).uid, 3, 1_790_000_000, "alice", "", "batch-1"))

        await harness.delete(ref)
        await harness.seed(ref, 0)
        await harness.settle()

        assert repository.get(ref).parked is None

    @needs(Ability.ANNOTATE)
    async def test_who_asked_for_a_count_is_shown_until_somebody_changes_it(self, harness: RepositoryHarness) -> None:
        repository = harness.repository
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()

        repository.annotate_change(await repository.set_replicas(ref, 3), "alice", "sale")
        first = repository.get(ref).last_change
        await harness.settle()
        delivered = repository.get(ref).last_change
        await harness.edit(ref, labels={"tier": "web"})
        await harness.settle()

        for each in (first, delivered, repository.get(ref).last_change):
            assert each is not None
            assert each == LastChange(each.at, "kdm", "alice", "sale")

        await harness.edit(ref, replicas=4)
        await harness.settle()
        after = repository.get(ref).last_change
        assert after is None or (after.actor, after.reason) == ("", "")
        assert after is None or after.manager != "kdm"

        repository.annotate_change(await repository.set_replicas(ref, 3), "bob", "")
        await harness.settle()
        last = repository.get(ref).last_change
        assert last is not None
        assert last == LastChange(last.at, "kdm", "bob")
