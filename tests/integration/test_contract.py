"""The Kubernetes repository, on a real API server, keeps the contract that every repository keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kdm_core.testing.contract import DeploymentRepositoryContract, ScopedRepositoryContract

from .controlplane.cluster import ControlPlane
from .kubernetes_harness import KubernetesHarness, kubernetes_harness


class TestKubernetesOfAllNamespaces(DeploymentRepositoryContract):
    @pytest.fixture
    async def harness(self, control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[KubernetesHarness]:
        async with kubernetes_harness(control_plane.kubeconfig.read_text(), tmp_path, scoped=False) as harness:
            yield harness


class TestKubernetesOfSomeNamespaces(ScopedRepositoryContract):
    @pytest.fixture
    async def harness(self, control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[KubernetesHarness]:
        async with kubernetes_harness(control_plane.kubeconfig.read_text(), tmp_path, scoped=True) as harness:
            yield harness
