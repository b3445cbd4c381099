"""The contract of reads."""

from __future__ import annotations

import asyncio

import pytest
from attrs.exceptions import FrozenInstanceError

from kdm_core.errors import DeploymentNotFound
from kdm_core.model import DeploymentRef
from kdm_core.testing.following import DEADLINE_S
from kdm_core.testing.harness import RepositoryHarness


class ReadContract:
    """Reads are complete, ordered and immutable, and agree with each other."""

    async def test_what_others_create_is_read(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 3, labels={"tier": "edge"}, paused=True)
        await harness.settle()

        found = harness.repository.get(ref)

        assert (found.ref, found.replicas.desired, found.paused) == (ref, 3, True)
        assert found.labels["tier"] == "edge"
        assert found.uid
        assert found.generation >= 1
        assert int(found.resource_version) > 0

    async def test_what_others_change_is_read(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 3)
        await harness.settle()
        before = harness.repository.get(ref)

        await harness.edit(ref, replicas=4, labels={"tier": "core"})
        await harness.settle()

        after = harness.repository.get(ref)
        assert (after.replicas.desired, after.labels["tier"], after.uid) == (4, "core", before.uid)
        assert after.generation > before.generation
        assert int(after.resource_version) > int(before.resource_version)

    async def test_a_change_of_labels_is_none_of_the_spec(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 3, labels={"tier": "edge"})
        await harness.settle()
        before = harness.repository.get(ref)

        await harness.edit(ref, labels={"tier": "core"})
        await harness.settle()

        after = harness.repository.get(ref)
        assert after.generation == before.generation
        assert int(after.resource_version) > int(before.resource_version)

    async def test_what_others_delete_is_gone_from_every_read(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 3)
        await harness.settle()

        await harness.delete(ref)
        await harness.settle()

        with pytest.raises(DeploymentNotFound, match=f"'{ref}' not found"):
            harness.repository.get(ref)
        assert harness.own(harness.repository.find("web")) == []
        assert harness.repository.list(ref.namespace) == ()

    async def test_a_deployment_created_anew_is_another_one(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 3)
        await harness.settle()
        first = harness.repository.get(ref)

        await harness.delete(ref)
        await harness.seed(ref, 5)
        await harness.settle()

        second = harness.repository.get(ref)
        assert second.uid != first.uid
        assert second.replicas.desired == 5

    async def test_what_is_not_there_is_not_found(self, harness: RepositoryHarness) -> None:
        here, elsewhere = harness.namespaces
        await harness.seed(DeploymentRef(here, "web"), 1)
        await harness.settle()

        with pytest.raises(DeploymentNotFound) as raised:
            harness.repository.get(DeploymentRef(elsewhere, "web"))

        assert type(raised.value) is DeploymentNotFound, "the namespace is watched"
        assert harness.own(harness.repository.find("we")) == []
        assert harness.repository.list(elsewhere) == ()

    async def test_lists_are_ordered_by_namespace_then_name(self, harness: RepositoryHarness) -> None:
        names = ["a", "a-b", "a.b", "a0", "b"]
        for namespace in reversed(harness.namespaces):
            for name in reversed(names):
                await harness.seed(DeploymentRef(namespace, name), 1)
        await harness.settle()

        for namespace in harness.namespaces:
            refs = [each.ref for each in harness.repository.list(namespace)]
            assert refs == sorted(DeploymentRef(namespace, name) for name in names)
        everywhere = [each.ref for each in harness.repository.list()]
        assert everywhere == sorted(everywhere)
        assert len(harness.own(harness.repository.list())) == 2 * len(names)

    async def test_one_name_in_two_namespaces_is_two_deployments(self, harness: RepositoryHarness) -> None:
        first, second = (DeploymentRef(namespace, "web") for namespace in harness.namespaces)
        await harness.seed(second, 2)
        await harness.seed(first, 1)
        await harness.settle()

        found = harness.own(harness.repository.find("web"))

        assert [(each.ref, each.replicas.desired) for each in found] == [(first, 1), (second, 2)]

    async def test_get_find_and_list_agree(self, harness: RepositoryHarness) -> None:
        for namespace in harness.namespaces:
            for replicas, name in enumerate(("api", "web")):
                await harness.seed(DeploymentRef(namespace, name), replicas)
        await harness.settle()
        repository = harness.repository

        listed = harness.own(repository.list())

        assert listed == [each for namespace in harness.namespaces for each in repository.list(namespace)]
        assert listed == [repository.get(each.ref) for each in listed]
        assert all(each in repository.find(each.ref.name) for each in listed)

    async def test_what_was_read_never_changes(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1, labels={"tier": "edge"})
        await harness.settle()
        listed = harness.repository.list(ref.namespace)
        (one,) = listed

        with pytest.raises(FrozenInstanceError):
            one.paused = True  # type: ignore[misc] # that is the point
        with pytest.raises(FrozenInstanceError):
            one.replicas.desired = 7  # type: ignore[misc] # that is the point
        with pytest.raises(TypeError):
            one.labels["tier"] = "core"  # type: ignore[index] # that is the point
        await harness.edit(ref, replicas=2, labels={"tier": "core"})
        await harness.seed(DeploymentRef(ref.namespace, "api"), 1)
        await harness.settle()

        assert listed == (one,)
        assert (one.replicas.desired, one.labels["tier"], one.paused) == (1, "edge", False)

    async def test_a_list_is_always_a_state_that_existed(self, harness: RepositoryHarness) -> None:
        """Whatever was missed while the watch was broken, no list shows half of it."""
        namespace = harness.namespaces[0]
        old, new = ({DeploymentRef(namespace, f"{kind}-{n}") for n in range(4)} for kind in ("old", "new"))
        for ref in sorted(old):
            await harness.seed(ref, 1)
        await harness.settle()
        await harness.break_watch()
        existed = [set(old)]
        for ref in sorted(new):
            await harness.seed(ref, 1)
            existed.append(existed[-1] | {ref})
        for ref in sorted(old):
            await harness.delete(ref)
            existed.append(existed[-1] - {ref})
        seen = [old]

        async def look() -> None:
            while seen[-1] != new:
                seen.append({each.ref for each in harness.repository.list(namespace)})
                await asyncio.sleep(0.001)  # let the repository work

        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
            tasks.create_task(look())
            tasks.create_task(harness.heal_watch())

        assert all(each in existed for each in seen)
