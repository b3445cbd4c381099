"""What the port does by itself for an adapter that implements no more than it must."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import DeploymentObserver, DeploymentRef, Observation
from kdm_core.ports import OnSeen
from kdm_core.testing.following_all import FollowAllContract
from kdm_core.testing.observing import ObserveContract
from unit.adapters.memory.harness import MemoryHarness
from unit.core.fixtures import turns


class Plain(MemoryDeploymentRepository):
    """Observes as the port does where an adapter has nothing better."""

    def observed(self, ref: DeploymentRef) -> Observation:
        return DeploymentObserver.observed(self, ref)

    def follow(self, ref: DeploymentRef, on_change: Callable[[], None]) -> Callable[[], None]:
        return DeploymentObserver.follow(self, ref, on_change)

    def follow_all(self, on_seen: OnSeen) -> Callable[[], None]:
        return DeploymentObserver.follow_all(self, on_seen)

    async def wait_seen(self, namespace: str, resource_version: str, timeout_s: float) -> None:
        await DeploymentObserver.wait_seen(self, namespace, resource_version, timeout_s)


class PlainHarness(MemoryHarness):
    kind = Plain


class TestDefaults(ObserveContract, FollowAllContract):
    # It rests on reads, which show own writes at once.
    test_an_own_write_is_read_at_once_and_observed_when_it_is_delivered = None  # type: ignore[assignment]
    test_an_own_write_is_seen_by_who_follows_all_once_it_is_delivered = None  # type: ignore[assignment]
    # A follower of all changes begins with the present state.
    test_a_follower_is_not_called_for_others_nor_after_its_end = None  # type: ignore[assignment]

    @pytest.fixture
    async def harness(self) -> AsyncIterator[MemoryHarness]:
        harness = PlainHarness()
        async with harness.repository:
            yield harness

    async def test_following_can_be_ended(self, harness: MemoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        calls: list[int] = []
        end = harness.repository.follow(ref, lambda: calls.append(1))
        await turns()
        end()
        end()
        await turns()
        calls.clear()
        await harness.seed(ref, 1)
        await harness.settle()
        assert calls == []

    async def test_what_cannot_be_read_is_observed_at_no_version(self, harness: MemoryHarness) -> None:
        """So that nobody takes it for gone."""
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        harness.repository.faults.not_synced = True
        assert harness.repository.observed(ref).deployment is None
        assert harness.repository.observed(ref).source.resource_version == ""
