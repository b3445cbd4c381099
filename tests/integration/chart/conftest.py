"""What the chart's tests need beside a cluster: helm, and what judges its output."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from integration.controlplane import binaries
from integration.controlplane.access import Cluster

from .helm import Helm, releasable_namespace

REQUIREMENTS: Final = Path(__file__).parents[3] / "requirements" / "chart.txt"
CUSTOM_KINDS: Final = {
    "certificates.cert-manager.io": "Certificate",
    "prometheusrules.monitoring.coreos.com": "PrometheusRule",
    "servicemonitors.monitoring.coreos.com": "ServiceMonitor",
}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build now what the tests will need: inside a test it would count as the test's own time."""
    if session.config.option.collectonly:
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        try:
            binaries.find("helm", "kube-score")
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


@pytest.fixture(scope="session")
def crds(cluster: Cluster) -> Iterator[None]:
    """The kinds of cert-manager and the Prometheus operator: whoever has not got them gets some that take anything."""
    present = cluster.kubectl("get", "customresourcedefinitions", "--output=name")
    missing = [each for each in CUSTOM_KINDS if f"customresourcedefinition.apiextensions.k8s.io/{each}" not in present]
    if missing:
        definitions = [_definition(name, CUSTOM_KINDS[name]) for name in missing]
        cluster.kubectl("create", "-f", "-", input=yaml.safe_dump_all(definitions))
        cluster.kubectl("wait", "--for=condition=Established", *(f"crd/{name}" for name in missing))
    yield
    if missing:
        cluster.kubectl("delete", "customresourcedefinitions", *missing, "--wait=false")


def _definition(name: str, kind: str) -> dict[str, Any]:
    plural, _, group = name.partition(".")
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
            "versions": [version],
        },
    }


@pytest.fixture
def release(cluster: Cluster, cluster_helm: Helm) -> Iterator[str]:
    """A name for a release and its namespace, which takes restricted Pods alone. What is installed there is removed."""
    with releasable_namespace(cluster, cluster_helm) as name:
        yield name
