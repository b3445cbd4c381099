"""Who reaches kdm, and whom kdm reaches, where the network enforces the chart's NetworkPolicies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from .cluster import KindCluster
from .installation import NAMESPACE, Installation
from .strangers import PORTS, Place, Stranger, connections, created, settles

CLIENTS: Final = "clients"
MONITORING: Final = "monitoring"
API: Final = 8443
OPS: Final = 8081


def peer(namespace: str, label: str, value: str) -> dict[str, Any]:
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "podSelector": {"matchLabels": {label: value}},
    }


@pytest.fixture(scope="module")
def strangers(kind_cluster: KindCluster, kind_image: str, _installation: Installation) -> Iterator[dict[str, Stranger]]:
    """A client and a Prometheus as the values name them, and others: in the same namespaces, and in kdm's own."""
    kubectl = kind_cluster.access.kubectl
    for namespace in (CLIENTS, MONITORING):
        kubectl("create", "namespace", namespace)
    pods = {
        "client": Stranger(kind_cluster, kind_image, CLIENTS, "client", {"app": "client"}),
        "another in the clients' namespace": Stranger(kind_cluster, kind_image, CLIENTS, "another"),
        "prometheus": Stranger(kind_cluster, kind_image, MONITORING, "prometheus", {"app": "prometheus"}),
        "another with a client's label": Stranger(kind_cluster, kind_image, MONITORING, "another", {"app": "client"}),
        "another in kdm's namespace": Stranger(kind_cluster, kind_image, NAMESPACE, "another"),
    }
    created(kind_cluster, pods.values())
    yield pods
    kubectl("delete", "namespace", CLIENTS, MONITORING, "--wait=false")
    kubectl("delete", "pod", "another", f"--namespace={NAMESPACE}", "--wait=false")


@pytest.fixture
def restored(kdm: Installation) -> Iterator[None]:
    """The release's policies, as it was installed with, after the test."""
    yield
    kdm.release.upgrade()


@pytest.mark.usefixtures("restored")
def test_only_those_whom_the_values_name_reach_the_api_and_the_metrics(
    kdm: Installation, kind_cluster: KindCluster, strangers: dict[str, Stranger]
) -> None:
    """By the Pods' addresses and by the Services'. Everybody does as long as the values name nobody."""
    api: list[Place] = [(f"kdm.{NAMESPACE}.svc", 443), *((address, API) for address in kdm.serving().values())]
    ops: list[Place] = [(f"kdm-ops.{NAMESPACE}.svc", OPS), *((address, OPS) for address in kdm.serving().values())]

    def reached() -> dict[str, list[Place]]:
        return {who: each.reaches(api + ops) for who, each in strangers.items()}

    settles(reached, dict.fromkeys(strangers, api + ops))

    control_plane = next(iter(kind_cluster.nodes().values()))  # clients outside of the cluster arrive from there
    limited = {
        "apiFrom": [peer(CLIENTS, "app", "client"), {"ipBlock": {"cidr": f"{control_plane}/32"}}],
        "opsFrom": [peer(MONITORING, "app", "prometheus")],
    }
    kdm.release.upgrade(networkPolicy=limited)
    nobody: dict[str, list[Place]] = {who: [] for who in strangers}
    settles(reached, {**nobody, "client": api, "prometheus": ops})
    with kdm.client() as client:
        assert client.get("/health").status_code == 200

    # A node's kubelet reaches the Pods on it, whoever else may: a Pod that starts now becomes Ready, and stays it.
    kdm.replace(next(iter(kdm.serving())))
    assert kdm.release.helm("test", "kdm", "--logs").count(": 200 ") == 2


@pytest.mark.usefixtures("restored")
def test_kdm_reaches_the_api_server_and_dns_and_nothing_else(
    kdm: Installation, kind_cluster: KindCluster, strangers: dict[str, Stranger]
) -> None:
    """By default on the ports that they usually have, of anybody; with the values that name them, of them alone."""
    control_plane = next(iter(kind_cluster.nodes().values()))
    dns = json.loads(kind_cluster.access.kubectl("get", "service/kube-dns", "--namespace=kube-system", "--output=json"))
    wanted: list[Place] = [
        ("kubernetes.default.svc.cluster.local", 443),
        (control_plane, 6443),
        (dns["spec"]["clusterIP"], 53),
    ]
    other = strangers["client"].address()
    others: list[Place] = [(other, port) for port in PORTS]
    kubelet: Place = (control_plane, 10250)
    places = [*wanted, *others, kubelet]
    assert strangers["prometheus"].reaches(places) == places

    def reached() -> list[list[Place]]:
        return [connections(kind_cluster, NAMESPACE, pod, places) for pod in kdm.serving()]

    usual = [place for place in others if place[1] != 8080]
    settles(reached, [wanted + usual] * 2)

    named = {
        "apiServerCidrs": [f"{control_plane}/32"],
        "dns": {"to": [peer("kube-system", "k8s-app", "kube-dns")]},
    }
    kdm.release.upgrade(networkPolicy=named)
    settles(reached, [wanted] * 2)
    # It works on: a Pod that starts now reads the cluster, and writes to it.
    kdm.replace(next(iter(kdm.serving())))
    path = "/deployments/written-under-load/replicas?namespace=shop"
    for address in kdm.serving().values():
        answer = kdm.ask_pod(address, "POST", path, {"replicaCount": 1})
        assert answer.status_code == 200, answer.text
