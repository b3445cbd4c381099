"""kdm's contract suite, as an outside project runs it: on a repository that keeps it, and on one that lies."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from harness import MemoryHarness

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import ALL_NAMESPACES
from kdm_core.model import Deployment
from kdm_core.testing.contract import DeploymentRepositoryContract, ScopedRepositoryContract
from kdm_core.testing.harness import RepositoryHarness, ScopedRepositoryHarness


class TestHonest(ScopedRepositoryContract):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[ScopedRepositoryHarness]:
        harness = MemoryHarness(scoped=True)
        async with harness.repository:
            yield harness


class Lying(MemoryDeploymentRepository):
    """Forgets one Deployment of each list."""

    def list(self, namespace: str = ALL_NAMESPACES) -> tuple[Deployment, ...]:
        return super().list(namespace)[1:]


class LyingHarness(MemoryHarness):
    kind = Lying


class TestLying(DeploymentRepositoryContract):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[RepositoryHarness]:
        harness = LyingHarness()
        async with harness.repository:
            yield harness
