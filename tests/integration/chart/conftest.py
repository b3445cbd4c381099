"""What the chart's tests need beside a cluster: helm, and what judges its output."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from integration.controlplane import binaries
from integration.controlplane.access import Cluster

from .helm import Helm

REQUIREMENTS: Final = Path(__file__).parents[3] / "requirements" / "chart.txt"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build now what the tests will need: inside a test it would count as the test's own time."""
    if session.config.option.collectonly:
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        try:
            binaries.find("helm", "kubeconform", "kube-score")
            binaries.environment("chart", REQUIREMENTS)
        except binaries.BuildFailed as exc:
            pytest.exit(f"nothing to test the chart with: {exc}", returncode=1)


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm, with no cluster: `lint` and `template`."""
    return Helm(binaries.find("helm")["helm"], tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def cluster_helm(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm, as the cluster's administrator."""
    return Helm(binaries.find("helm")["helm"], tmp_path_factory.mktemp("cluster-helm"), cluster.kubeconfig)


@pytest.fixture(scope="session")
def judges() -> Path:
    """The interpreter that has checkov and kubernetes-validate, in an environment of their own."""
    return binaries.environment("chart", REQUIREMENTS)
