"""A program reads and writes a real API server's Deployments through a kdm, as it would directly; also when cut."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import rule, run_state_machine_as_test

from kdm_adapters.kubernetes import ClusterConfig, KubernetesDeploymentRepository
from kdm_adapters.remote.repository import RemoteDeploymentRepository
from kdm_core import (
    ChangeKind,
    ClusterTimeout,
    ClusterUnreachable,
    ClusterUnrecognized,
    DeploymentRef,
    KdmError,
    Owner,
)
from kdm_core.testing.abilities import Ability
from kdm_core.testing.contract import DeploymentRepositoryContract, ScopedRepositoryContract
from kdm_core.testing.following import DEADLINE_S, Follower
from kdm_core.testing.harness import RepositoryHarness
from kdm_core.testing.stateful import RepositoryStateMachine
from unit.adapters.kubernetes.owned import autoscaled
from unit.adapters.remote.harness import Gated, RemoteHarness

from .api_gateway import ApiGateway, administrator
from .controlplane.cluster import ControlPlane
from .kubernetes_harness import KubernetesHarness
from .proxy import Proxy

OF_THE_WAY: tuple[type[KdmError], ...] = (ClusterTimeout, ClusterUnreachable, ClusterUnrecognized)
"""What goes wrong between the program and the kdm. What the kdm answers when its cluster fails is tried in memory."""


class ThroughKdm(RemoteHarness):
    """A real API server, a kdm, and repositories on the kdm.

    Args:
        kdm: The kdm.
        behind: The back doors to the API server.
        scoped: Whether the repositories follow ``namespaces`` only.
        url: How the kdm is reached where that is not directly.
    """

    def __init__(self, kdm: Gated, behind: KubernetesHarness, *, scoped: bool, url: str = "") -> None:
        self._behind = behind
        super().__init__(kdm, scoped=scoped, url=url)
        self.namespaces, self.unwatched = behind.namespaces, behind.unwatched
        self._watched = self.namespaces if scoped else None
        self.repository = self.another()

    async def seed(
        self, ref: DeploymentRef, replicas: int, *, labels: Mapping[str, str] | None = None, paused: bool = False
    ) -> None:
        await self._behind.seed(ref, replicas, labels=labels, paused=paused)

    async def seed_owned(self, ref: DeploymentRef, replicas: int, owner: Owner) -> None:
        await self._behind.seed_owned(ref, replicas, owner)

    async def autoscale(self, ref: DeploymentRef, target: str, owner: Owner) -> None:
        await self._behind.autoscale(ref, target, owner)

    async def end_autoscaling(self, ref: DeploymentRef) -> None:
        await self._behind.end_autoscaling(ref)

    async def edit(
        self, ref: DeploymentRef, *, replicas: int | None = None, labels: Mapping[str, str] | None = None
    ) -> None:
        await self._behind.edit(ref, replicas=replicas, labels=labels)

    async def delete(self, ref: DeploymentRef) -> None:
        await self._behind.delete(ref)

    async def stored_replicas(self, ref: DeploymentRef) -> int | None:
        return await self._behind.stored_replicas(ref)

    async def settle(self) -> None:
        if self._kdm.gate.broken:
            return
        stored = {
            (DeploymentRef(namespace, each["metadata"]["name"]), each["metadata"]["resourceVersion"])
            for namespace in self.namespaces
            for each in await self._behind._stored(namespace)
        }
        newest = max((int(version) for _, version in stored), default=0)

        def settled() -> bool:
            status = self.repository.sync_status()
            if not status.healthy or int(status.resource_version) < newest:
                return False
            shown = self.own(self.repository.list())
            versions = {(each.ref, each.resource_version) for each in shown}
            return versions == stored and autoscaled(shown, self._behind.autoscalers)

        await self._until(settled)


@pytest.fixture(scope="module")
def kdm(_own_control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    def make() -> KubernetesDeploymentRepository:
        return KubernetesDeploymentRepository(ClusterConfig(kubeconfig=_own_control_plane.kubeconfig), owners=True)

    with Gated(tmp_path_factory.mktemp("kdm"), make=make) as running:
        yield running


@asynccontextmanager
async def through(
    kdm: Gated, control_plane: ControlPlane, *, scoped: bool = False, url: str = ""
) -> AsyncIterator[ThroughKdm]:
    """Make a harness whose repository is entered and synced, in namespaces of its own."""
    async with administrator(control_plane.kubeconfig.read_text()) as api:
        behind = KubernetesHarness(ApiGateway(api), api, control_plane.kubeconfig, scoped=False)
        await behind.create_namespaces()
        harness = ThroughKdm(kdm, behind, scoped=scoped, url=url)
        try:
            async with harness.repository:
                await harness.repository.wait_synced(DEADLINE_S)
                yield harness
        finally:
            await harness.heal()
            await harness.heal_watch()


class TestThroughKdmOfAllNamespaces(DeploymentRepositoryContract):
    lacks = frozenset({Ability.ANNOTATE})
    write_errors = OF_THE_WAY

    @pytest.fixture
    async def harness(self, kdm: Gated, control_plane: ControlPlane) -> AsyncIterator[ThroughKdm]:
        async with through(kdm, control_plane) as harness:
            yield harness


class TestThroughKdmOfSomeNamespaces(ScopedRepositoryContract):
    lacks = frozenset({Ability.ANNOTATE})
    write_errors = OF_THE_WAY

    @pytest.fixture
    async def harness(self, kdm: Gated, control_plane: ControlPlane) -> AsyncIterator[ThroughKdm]:
        async with through(kdm, control_plane, scoped=True) as harness:
            yield harness


def test_any_history_is_followed_though_streams_are_cut(kdm: Gated, control_plane: ControlPlane) -> None:
    class Machine(RepositoryStateMachine):
        _harness: ThroughKdm
        lacks = frozenset({Ability.ANNOTATE})

        def open(self) -> AbstractAsyncContextManager[RepositoryHarness]:
            return through(kdm, control_plane)

        @rule()
        def cut(self) -> None:
            self._run(self._harness.cut_watch())
            self._settle()

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=4, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


async def test_a_stream_that_is_cut_at_random_has_no_gap_and_no_duplicate(
    kdm: Gated, control_plane: ControlPlane
) -> None:
    """Through a proxy that cuts in the middle of whatever is said, with a reset or an end of file."""
    chance = random.Random(7)  # noqa: S311 - no secret
    with Proxy("127.0.0.1", kdm.port) as proxy:
        access = kdm.access(url=f"https://127.0.0.1:{proxy.port}")
        async with (
            through(kdm, control_plane) as harness,
            RemoteDeploymentRepository(
                access, namespaces=harness.namespaces, sleep=lambda _: asyncio.sleep(0.01)
            ) as repository,
        ):
            ref = DeploymentRef(harness.namespaces[0], "web")
            await harness.seed(ref, 0)
            await harness.settle()
            follower = Follower(repository.changes(ref.namespace))
            await follower.until_replicas(ref, 0)
            reading = asyncio.create_task(follower.until_replicas(ref, 60))
            for replicas in range(1, 61):
                if replicas % 2:
                    await asyncio.to_thread(proxy.truncate, chance.randrange(1, 6000), reset=chance.random() < 0.5)
                else:
                    await asyncio.to_thread(proxy.heal)
                    await asyncio.to_thread(proxy.cut, reset=chance.random() < 0.5)
                await harness.edit(ref, replicas=replicas)
            await asyncio.to_thread(proxy.heal)
            await reading

            assert proxy.accepted > 10
            assert ChangeKind.LAGGED not in [each.kind for each in follower.seen]
            seen = [each.deployment for each in follower.seen if each.deployment is not None]
            assert len({each.resource_version for each in seen}) == len(seen)
            assert [each.replicas.desired for each in seen] == sorted(each.replicas.desired for each in seen)
            assert {each.replicas.desired for each in seen} == set(range(61))
            await follower.aclose()
