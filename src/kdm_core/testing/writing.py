"""The contract of writes."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest
from attrs import evolve

from kdm_core.errors import (
    ClusterOverloaded,
    ClusterTimeout,
    ClusterUnreachable,
    ClusterUnrecognized,
    DeploymentNotFound,
    InvalidReplicas,
    KdmError,
    WriteConflict,
    WriteForbidden,
    WriteInvalid,
)
from kdm_core.model import Deployment, DeploymentRef
from kdm_core.names import MAX_REPLICAS
from kdm_core.scaling import Expect
from kdm_core.testing.abilities import Suite
from kdm_core.testing.harness import RepositoryHarness


class WriteContract(Suite):
    """A write is stored or fails for a reason that is given; who made it reads it at once.

    Attributes:
        write_errors: What the harness's ``fail`` can bring about.
    """

    write_errors: ClassVar[tuple[type[KdmError], ...]] = (
        ClusterOverloaded,
        ClusterTimeout,
        ClusterUnreachable,
        ClusterUnrecognized,
        WriteConflict,
        WriteForbidden,
        WriteInvalid,
    )

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one test for each error that the harness can bring about."""
        if "write_error" in metafunc.fixturenames:
            metafunc.parametrize("write_error", metafunc.cls.write_errors, ids=lambda each: each.__name__)

    async def test_a_write_is_stored_and_read_at_once(self, harness: RepositoryHarness) -> None:
        """Read-your-writes: not even a turn of the event loop lies between."""
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1, labels={"tier": "edge"}, paused=True)
        await harness.settle()
        before = harness.repository.get(ref)

        written = await harness.repository.set_replicas(ref, 5)

        assert (written.ref, written.replicas.desired, written.uid) == (ref, 5, before.uid)
        assert int(written.resource_version) > int(before.resource_version)
        for read in self._reads(harness, ref):
            assert read.replicas.desired == 5
            assert int(read.resource_version) >= int(written.resource_version)
        assert await harness.stored_replicas(ref) == 5

    @pytest.mark.parametrize("name", ["123", "true", "null", "1e3", "a.b"])
    async def test_names_that_look_like_something_else(self, harness: RepositoryHarness, name: str) -> None:
        ref = DeploymentRef(harness.namespaces[0], name)
        await harness.seed(ref, 1)
        await harness.settle()

        await harness.repository.set_replicas(ref, 5)
        await harness.settle()

        assert [each.replicas.desired for each in self._reads(harness, ref)] == [5, 5, 5]
        assert await harness.stored_replicas(ref) == 5

    async def test_a_write_changes_the_count_alone(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        neighbour = DeploymentRef(harness.namespaces[1], "web")
        await harness.seed(ref, 1, labels={"tier": "edge"}, paused=True)
        await harness.seed(neighbour, 2)
        await harness.settle()
        before = harness.repository.get(ref)

        await harness.repository.set_replicas(ref, 5)
        await harness.settle()

        after = harness.repository.get(ref)
        assert (after.labels, after.paused, after.uid) == (before.labels, True, before.uid)
        assert after.generation == before.generation + 1
        assert await harness.stored_replicas(neighbour) == 2

    async def test_scaling_to_zero_and_back(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 2)
        await harness.settle()

        for replicas in (0, 1):
            await harness.repository.set_replicas(ref, replicas)
            await harness.settle()

            assert harness.repository.get(ref).replicas.desired == replicas
            assert await harness.stored_replicas(ref) == replicas

    async def test_setting_the_same_count_succeeds_and_changes_nothing(self, harness: RepositoryHarness) -> None:
        """Nothing but the version: a cluster may note who asked, which is a change of the object."""
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 3)
        await harness.settle()
        before = harness.repository.get(ref)

        written = await harness.repository.set_replicas(ref, 3, expect=Expect(resource_version=before.resource_version))
        await harness.settle()

        assert written.replicas.desired == 3
        after = harness.repository.get(ref)
        assert evolve(after, resource_version=before.resource_version) == before

    @pytest.mark.parametrize("replicas", [-1, MAX_REPLICAS + 1, True, 1.0])
    async def test_what_is_no_count_is_refused(self, harness: RepositoryHarness, replicas: int) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 3)
        await harness.settle()

        with pytest.raises(InvalidReplicas):
            await harness.repository.set_replicas(ref, replicas)

        assert await harness.stored_replicas(ref) == 3

    async def test_a_precondition_that_holds(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        read = harness.repository.get(ref)

        written = await harness.repository.set_replicas(ref, 2, expect=Expect(resource_version=read.resource_version))

        assert written.replicas.desired == 2
        assert await harness.stored_replicas(ref) == 2

    async def test_a_precondition_that_no_longer_holds_is_a_conflict(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        read = harness.repository.get(ref)
        await harness.edit(ref, labels={"tier": "core"})

        with pytest.raises(WriteConflict, match=str(ref)):
            await harness.repository.set_replicas(ref, 2, expect=Expect(resource_version=read.resource_version))

        assert await harness.stored_replicas(ref) == 1

    @pytest.mark.parametrize("resource_version", ["", "0", "1", "latest", "18446744073709551616"])
    async def test_a_precondition_that_never_held_is_a_conflict(
        self, harness: RepositoryHarness, resource_version: str
    ) -> None:
        """Nothing a caller can say as a precondition is taken for none."""
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(DeploymentRef(ref.namespace, "api"), 1)
        await harness.seed(ref, 1)
        await harness.edit(ref, labels={"tier": "core"})
        await harness.settle()

        with pytest.raises(WriteConflict):
            await harness.repository.set_replicas(ref, 2, expect=Expect(resource_version=resource_version))

        assert await harness.stored_replicas(ref) == 1

    async def test_of_writes_with_one_precondition_one_succeeds(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        version = harness.repository.get(ref).resource_version

        results = await asyncio.gather(
            *(harness.repository.set_replicas(ref, n, expect=Expect(resource_version=version)) for n in range(2, 7)),
            return_exceptions=True,
        )

        (written,) = [each for each in results if isinstance(each, Deployment)]
        assert all(isinstance(each, WriteConflict) for each in results if each is not written)
        assert await harness.stored_replicas(ref) == written.replicas.desired
        await harness.settle()
        assert harness.repository.get(ref).replicas.desired == written.replicas.desired

    async def test_writes_to_different_deployments_do_not_disturb_each_other(self, harness: RepositoryHarness) -> None:
        refs = [DeploymentRef(namespace, f"web-{n}") for namespace in harness.namespaces for n in range(4)]
        for ref in refs:
            await harness.seed(ref, 0)
        await harness.settle()

        await asyncio.gather(*(harness.repository.set_replicas(ref, n) for n, ref in enumerate(refs, 1)))

        assert [harness.repository.get(ref).replicas.desired for ref in refs] == list(range(1, 9))

    async def test_there_is_nothing_to_scale(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")

        with pytest.raises(DeploymentNotFound, match=str(ref)):
            await harness.repository.set_replicas(ref, 2)

        assert await harness.stored_replicas(ref) is None
        assert harness.repository.list(ref.namespace) == ()

    async def test_own_writes_are_read_while_the_watch_is_broken(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        await harness.break_watch()
        await harness.edit(ref, replicas=2)

        written = await harness.repository.set_replicas(ref, 3)

        for read in self._reads(harness, ref):
            assert read.replicas.desired == 3
            assert int(read.resource_version) >= int(written.resource_version)
        await harness.heal_watch()
        await harness.settle()
        assert harness.repository.get(ref).replicas.desired == 3

    async def test_a_later_change_of_others_wins_over_an_own_write(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        await harness.break_watch()
        await harness.repository.set_replicas(ref, 3)
        await harness.edit(ref, replicas=2)
        await harness.heal_watch()
        await harness.settle()

        assert [each.replicas.desired for each in self._reads(harness, ref)] == [2, 2, 2]

    async def test_a_write_reaches_what_the_reads_do_not_know_yet(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.break_watch()
        await harness.seed(ref, 1)

        await harness.repository.set_replicas(ref, 2)

        assert [each.replicas.desired for each in self._reads(harness, ref)] == [2, 2, 2]

    async def test_a_write_to_what_is_gone_is_not_found(self, harness: RepositoryHarness) -> None:
        """The cluster has the last word, not the reads."""
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        await harness.break_watch()
        await harness.delete(ref)

        with pytest.raises(DeploymentNotFound, match=str(ref)):
            await harness.repository.set_replicas(ref, 2)

        await harness.heal_watch()
        await harness.settle()
        assert harness.repository.list(ref.namespace) == ()

    async def test_an_own_write_does_not_bring_back_what_is_gone(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        await harness.break_watch()
        await harness.repository.set_replicas(ref, 2)
        await harness.delete(ref)
        await harness.heal_watch()
        await harness.settle()

        assert harness.repository.list(ref.namespace) == ()

    async def test_a_write_that_fails_writes_nothing_and_reads_go_on(
        self, harness: RepositoryHarness, write_error: type[KdmError]
    ) -> None:
        """Only a timeout, and an answer that is not the cluster's, leave it open whether something was written."""
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        await harness.fail(write_error)

        with pytest.raises(write_error) as raised:
            await harness.repository.set_replicas(ref, 2)

        assert type(raised.value) is write_error
        assert str(raised.value)
        assert harness.repository.get(ref).replicas.desired == 1
        assert len(harness.repository.list(ref.namespace)) == 1
        await harness.heal()
        if write_error not in {ClusterTimeout, ClusterUnrecognized}:
            assert await harness.stored_replicas(ref) == 1
        await harness.repository.set_replicas(ref, 3)
        assert await harness.stored_replicas(ref) == 3

    @pytest.mark.parametrize(
        "error", [ClusterUnreachable, ClusterTimeout, ClusterUnrecognized], ids=lambda each: str(each.__name__)
    )
    async def test_a_probe_tells_whether_the_cluster_can_serve(
        self, harness: RepositoryHarness, error: type[KdmError]
    ) -> None:
        await harness.repository.probe()
        await harness.fail(error)

        with pytest.raises(error):
            await harness.repository.probe()

        await harness.heal()
        await harness.repository.probe()

    @staticmethod
    def _reads(harness: RepositoryHarness, ref: DeploymentRef) -> list[Deployment]:
        """Read a Deployment in each of the three ways."""
        repository = harness.repository
        ways = (repository.find(ref.name), repository.list(ref.namespace))
        return [repository.get(ref), *(each for way in ways for each in way if each.ref == ref)]
