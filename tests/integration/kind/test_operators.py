"""The chart's objects before the operators that they are for, as far as Go modules carry those.

cert-manager and the Prometheus operator define their objects; the latter's own code says which configuration follows
for a Prometheus, and one with that configuration runs in the cluster.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

from integration.chart.helm import Helm
from integration.containers.engine import Engine
from integration.controlplane import binaries
from integration.controlplane.access import KubectlFailed
from integration.kdm_process import wait_until
from integration.operate import prometheus

from . import operators
from .cluster import KindCluster
from .installation import NAMESPACE, Installation

KINDS: Final = ("certificates", "servicemonitors", "prometheusrules")
VALUES: Final = Path(__file__).parents[1] / "chart" / "values" / "operators.yaml"
MONITORING: Final = "prometheus"
IMAGE: Final = "kdm-test/prometheus:1"
PORT: Final = 9090
TIMEOUT_S: Final = 60


@pytest.fixture(scope="module", autouse=True)
def _definitions(kind_cluster: KindCluster) -> Iterator[None]:
    """The operators' own definitions of the kinds that the chart makes."""
    found = operators.definitions(KINDS)
    assert len(found) == len(KINDS)
    files = [f"--filename={file}" for file in found]
    kind_cluster.access.kubectl("apply", "--server-side", *files)
    kind_cluster.access.kubectl("wait", "--for=condition=Established", *files, f"--timeout={TIMEOUT_S}s")
    yield
    kind_cluster.access.kubectl("delete", *files, "--wait=false")


def test_the_operators_definitions_take_the_charts_objects(kdm: Installation, tmp_path: Path) -> None:
    """Each of them whole: a field that they do not know is an error, as is a value that they refuse."""
    helm = Helm(binaries.find("helm")["helm"], tmp_path)
    rendered = yaml.safe_load_all(helm.template(VALUES, release="kdm", namespace=NAMESPACE))
    of_operators = [each for each in rendered if each and f"{each['kind'].lower()}s" in KINDS]
    assert len(of_operators) == len(KINDS)
    dry = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-")
    answer = kdm.cluster.kubectl(*dry, input=yaml.safe_dump_all(of_operators))
    assert answer.count("serverside-applied (server dry run)") == len(KINDS)

    broken = {
        "Certificate": ("spec", "usages", ["server certificate"]),
        "ServiceMonitor": ("spec", "endpoints", [{"prot": "ops"}]),
        "PrometheusRule": ("spec", "groups", [{"name": "kdm", "rules": [{"alert": "Kdm"}]}]),
    }
    for each in of_operators:
        part, field, value = broken[each["kind"]]
        with pytest.raises(KubectlFailed):
            kdm.cluster.kubectl(*dry, input=yaml.safe_dump({**each, part: {**each[part], field: value}}))


@pytest.fixture
def monitored(kdm: Installation) -> Iterator[Installation]:
    """The release, with what the Prometheus operator needs of it, and nobody admitted to the metrics yet."""
    nobody = [{"podSelector": {"matchLabels": {"app": "nobody"}}}]
    metrics = {
        "serviceMonitor": {"enabled": True, "interval": "1s", "scrapeTimeout": "1s"},
        "prometheusRule": {"enabled": True},
    }
    kdm.release.values["metrics"] = metrics
    try:
        kdm.release.upgrade(networkPolicy={"opsFrom": nobody})
        yield kdm
    finally:
        del kdm.release.values["metrics"]
        kdm.release.upgrade()


@pytest.fixture
def scraping(
    monitored: Installation, kind_engine: Engine, kind_cluster: KindCluster, tmp_path: Path
) -> Iterator[httpx.Client]:
    """A Prometheus in the cluster with the configuration that the operator makes of all ServiceMonitors there are."""
    with tarfile.open(tmp_path / "image.tar", "w") as packed:
        packed.add(prometheus.programs() / "prometheus", "prometheus")
    kind_engine.load_root(tmp_path / "image.tar", IMAGE, 'ENTRYPOINT ["/prometheus"]')
    worker = list(kind_cluster.nodes())[1]
    kind_cluster.load(IMAGE, worker)

    kubectl = kind_cluster.access.kubectl
    kubectl("create", "namespace", MONITORING)
    try:
        kubectl("create", "--filename=-", input=json.dumps(_manifests(_configuration(monitored), worker)))
        within = f"--timeout={TIMEOUT_S}s"
        kubectl("wait", "pod/prometheus", f"--namespace={MONITORING}", "--for=condition=Ready", within)
        address = kubectl("get", "pod/prometheus", f"--namespace={MONITORING}", "--output=jsonpath={.status.podIP}")
        host, port = kind_cluster.forward(address, PORT)
        with httpx.Client(base_url=f"http://{host}:{port}/api/v1", trust_env=False, timeout=10) as client:
            yield client
    finally:
        kubectl("delete", "clusterrole,clusterrolebinding", "prometheus", "--ignore-not-found")
        kubectl("delete", "namespace", MONITORING, "--wait=false")


@pytest.mark.nightly  # the operator's code takes minutes to build, for this one test
def test_prometheus_scrapes_every_pod_by_the_service_monitor_where_the_network_lets_it(
    monitored: Installation, scraping: httpx.Client
) -> None:
    """With the labels that dashboards and alerts go by, and the chart's alerts are evaluated over what it scrapes."""

    def up() -> dict[str, str]:
        return {labels["pod"]: value for labels, value in _query(scraping, f'up{{namespace="{NAMESPACE}"}}')}

    pods = monitored.serving()
    wait_until(lambda: up() == dict.fromkeys(pods, "0"), TIMEOUT_S)  # it discovers them, and is kept out
    admitted = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": MONITORING}}}]
    monitored.release.upgrade(networkPolicy={"opsFrom": admitted})
    wait_until(lambda: up() == dict.fromkeys(pods, "1"), TIMEOUT_S)
    found = [labels for labels, _ in _query(scraping, "kdm_build_info")]
    assert {each["pod"] for each in found} == pods.keys()
    assert {(each["namespace"], each["job"], each["service"], each["container"]) for each in found} == {
        (NAMESPACE, "kdm-ops", "kdm-ops", "kdm")
    }

    def rules() -> list[dict[str, Any]]:
        groups = scraping.get("/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    wait_until(lambda: {each["health"] for each in rules()} == {"ok"}, TIMEOUT_S)
    assert "KdmTargetDown" in {each["name"] for each in rules()}
    assert monitored.serving() == pods  # the kubelet's probes came through all the time


def _query(client: httpx.Client, expression: str) -> list[tuple[dict[str, str], str]]:
    answer = client.get("/query", params={"query": expression}).json()
    return [(each["metric"], each["value"][1]) for each in answer["data"]["result"]]


def _configuration(kdm: Installation) -> dict[str, str]:
    """Return the files of a Prometheus by their names: what the operator writes, and the rules as it mounts them."""
    monitors = kdm.cluster.kubectl("get", "servicemonitors", "--all-namespaces", "--output=json")
    written = operators.of_service_monitors(monitors, MONITORING)
    rules = json.loads(kdm.kubectl("get", "prometheusrule/kdm", "--output=json"))["spec"]
    configuration = {**yaml.safe_load(written), "rule_files": ["/etc/prometheus/rules.yml"]}
    return {"prometheus.yml": yaml.safe_dump(configuration), "rules.yml": yaml.safe_dump(rules)}


def _manifests(files: dict[str, str], node: str) -> dict[str, Any]:
    """Describe a Prometheus that may discover what it scrapes, as the operator's documentation has it."""
    metadata = {"name": "prometheus", "namespace": MONITORING}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "prometheus"}
    account = {"kind": "ServiceAccount", **metadata}
    watch = ["get", "list", "watch"]
    container = {
        "name": "prometheus",
        "image": IMAGE,
        "args": ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/data"],
        "readinessProbe": {"httpGet": {"path": "/-/ready", "port": PORT}, "periodSeconds": 1},
        "volumeMounts": [
            {"name": "configuration", "mountPath": "/etc/prometheus"},
            {"name": "data", "mountPath": "/data"},
        ],
    }
    pod = {
        "serviceAccountName": "prometheus",
        "nodeName": node,
        "containers": [container],
        "volumes": [
            {"name": "configuration", "configMap": {"name": "prometheus"}},
            {"name": "data", "emptyDir": {}},
        ],
        "terminationGracePeriodSeconds": 0,
    }
    items = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "prometheus"},
            "rules": [
                {"apiGroups": [""], "resources": ["services", "pods"], "verbs": watch},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": watch},
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "prometheus"},
            "roleRef": role,
            "subjects": [account],
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files},
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod},
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}
