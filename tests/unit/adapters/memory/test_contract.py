"""The in-memory repository keeps the contract that every repository keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kdm_core.testing.contract import DeploymentRepositoryContract, ScopedRepositoryContract
from unit.adapters.memory.harness import MemoryHarness, memory_harness


class TestMemoryOfAllNamespaces(DeploymentRepositoryContract):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[MemoryHarness]:
        async with memory_harness() as harness:
            yield harness


class TestMemoryOfSomeNamespaces(ScopedRepositoryContract):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[MemoryHarness]:
        async with memory_harness(scoped=True) as harness:
            yield harness
