"""The Kubernetes repository keeps the contract that every repository keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kdm_core.testing.contract import DeploymentRepositoryContract, ScopedRepositoryContract
from unit.adapters.kubernetes.harness import KubernetesHarness, kubernetes_harness


class TestKubernetesOfAllNamespaces(DeploymentRepositoryContract):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[KubernetesHarness]:
        async with kubernetes_harness() as harness:
            yield harness


class TestKubernetesOfSomeNamespaces(ScopedRepositoryContract):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[KubernetesHarness]:
        async with kubernetes_harness(scoped=True) as harness:
            yield harness
