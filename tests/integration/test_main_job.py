"""kdm's main job, end to end: a real API server's Deployments, read and scaled over mutual TLS in both dialects."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from .controlplane.access import Cluster, Request
from .controlplane.cluster import ControlPlane
from .kdm_process import KdmProcess, plain_get, wait_until
from .proxy import Proxy
from .workloads import create_deployments, deployment


class Dialect(NamedTuple):
    """How one of the RFDs reads and writes."""

    base: str
    write: str
    name: str

    def read(self, client: httpx.Client, deployment: str, namespace: str) -> int:
        answer = client.get(f"{self.base}/deployments/{deployment}/replicas", params={"namespace": namespace})
        assert answer.status_code == 200, answer.text
        assert answer.json().keys() == {self.name, "replicaCount"}
        count = answer.json()["replicaCount"]
        assert isinstance(count, int)
        return count

    def scale(self, client: httpx.Client, deployment: str, replicas: int, namespace: str) -> httpx.Response:
        return client.request(
            self.write,
            f"{self.base}/deployments/{deployment}/replicas",
            params={"namespace": namespace},
            json={"replicaCount": replicas},
        )

    def names(self, client: httpx.Client, namespace: str) -> list[str]:
        answer = client.get(f"{self.base}/deployments", params={"namespace": namespace})
        assert answer.status_code == 200, answer.text
        return [each[self.name] for each in answer.json()]


RFD_001 = Dialect("", "POST", "deploymentName")
RFD_156 = Dialect("/api/v1", "PUT", "name")
both_dialects = pytest.mark.parametrize("dialect", [RFD_001, RFD_156], ids=["rfd001", "rfd156"])


@pytest.fixture(scope="module")
def kdm(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KdmProcess]:
    log = tmp_path_factory.mktemp("kdm") / "log"
    with KdmProcess({"REPOSITORY": "kubernetes", "KUBECONFIG": str(cluster.kubeconfig)}, log) as process:
        process.wait_ready()
        yield process


@pytest.fixture
def client(kdm: KdmProcess) -> Iterator[httpx.Client]:
    with kdm.client() as client:
        yield client


@both_dialects
def test_scaling_over_https_brings_up_the_pods(
    dialect: Dialect, client: httpx.Client, cluster: Cluster, namespace: str
) -> None:
    create_deployments(cluster.kubeconfig, namespace, [deployment("web", 2)])
    wait_until(lambda: "web" in dialect.names(client, namespace))
    assert dialect.read(client, "web", namespace) == 2

    answer = dialect.scale(client, "web", 5, namespace)

    assert answer.status_code == 200, answer.text
    assert dialect.read(client, "web", namespace) == 5
    cluster.kubectl(
        "wait", "-n", namespace, "deployment/web", "--for=jsonpath={.status.readyReplicas}=5", "--timeout=60s"
    )
    pods = json.loads(cluster.kubectl("get", "-n", namespace, "pods", "-o", "json"))["items"]
    assert len(pods) == 5
    assert dialect.read(client, "web", namespace) == 5


@both_dialects
def test_a_change_by_somebody_else_is_seen(
    dialect: Dialect, client: httpx.Client, cluster: Cluster, namespace: str
) -> None:
    create_deployments(cluster.kubeconfig, namespace, [deployment("web", 1)])
    wait_until(lambda: "web" in dialect.names(client, namespace))
    cluster.kubectl("scale", "-n", namespace, "deployment/web", "--replicas=4")
    wait_until(lambda: dialect.read(client, "web", namespace) == 4)
    cluster.kubectl("delete", "-n", namespace, "deployment/web")
    wait_until(lambda: dialect.names(client, namespace) == [])


def test_a_thousand_reads_cost_the_api_server_no_request(control_plane: ControlPlane, tmp_path: Path) -> None:
    """Counted by the API server itself, on a control plane where nobody else asks."""
    settings = {"REPOSITORY": "kubernetes", "KUBECONFIG": str(control_plane.kubeconfig)}
    with control_plane.fresh_namespace() as namespace, KdmProcess(settings, tmp_path / "log") as kdm:
        create_deployments(control_plane.kubeconfig, namespace, [deployment("web", 3)])
        with kdm.client() as client:
            kdm.wait_ready()
            wait_until(lambda: RFD_001.names(client, namespace) == ["web"])
            before = _asked_about_deployments(control_plane)
            for _ in range(250):
                assert RFD_001.read(client, "web", namespace) == 3
                assert RFD_156.read(client, "web", namespace) == 3
                assert RFD_001.names(client, namespace) == ["web"]
                assert RFD_156.names(client, namespace) == ["web"]
            assert _asked_about_deployments(control_plane) == before
            assert 'kdm_cache_reads_total{kind="get"} 500' in kdm.metrics()


def test_an_outage_is_reported_survived_and_caught_up_with(control_plane: ControlPlane, tmp_path: Path) -> None:
    """The API server is killed. Reads go on, health says so, writes are refused whole; then kdm catches up."""
    with control_plane.fresh_namespace() as namespace, Proxy.to(control_plane.kubeconfig) as proxy:
        create_deployments(
            control_plane.kubeconfig, namespace, [deployment("goes", 1), deployment("stays", 2), deployment("grows", 3)]
        )
        kubeconfig = proxy.kubeconfig(control_plane.kubeconfig, tmp_path)
        settings = {"REPOSITORY": "kubernetes", "KUBECONFIG": str(kubeconfig)}
        with KdmProcess(settings, tmp_path / "log") as kdm, kdm.client() as client:
            kdm.wait_ready()
            assert RFD_001.names(client, namespace) == ["goes", "grows", "stays"]
            assert client.get("/health").json() == {"status": "healthy", "kubernetes": "connected"}

            control_plane.apiserver.kill()
            wait_until(lambda: client.get("/health").status_code == 503)

            for dialect in (RFD_001, RFD_156):
                assert dialect.read(client, "stays", namespace) == 2
                assert dialect.names(client, namespace) == ["goes", "grows", "stays"]
                refused = dialect.scale(client, "stays", 9, namespace)
                assert refused.status_code == 503
                assert int(refused.headers["Retry-After"]) >= 1
                assert refused.json().keys() == {"error"}
                health = client.get(f"{dialect.base}/health")
                assert health.status_code == 503
                assert health.json()["status"] == "unhealthy"
                assert health.json().keys() == {"status", "error"}
                assert dialect.read(client, "stays", namespace) == 2

            proxy.refuse()  # kdm misses what comes now
            control_plane.apiserver.start()
            control_plane.wait_ready()
            create_deployments(control_plane.kubeconfig, namespace, [deployment("comes", 7)])
            control_plane.kubectl("delete", "-n", namespace, "deployment/goes")
            control_plane.kubectl("scale", "-n", namespace, "deployment/grows", "--replicas=6")
            assert RFD_001.names(client, namespace) == ["goes", "grows", "stays"]

            proxy.heal()
            wait_until(lambda: RFD_156.names(client, namespace) == ["comes", "grows", "stays"], 60)
            wait_until(lambda: client.get("/api/v1/health").status_code == 200)
            assert RFD_001.read(client, "grows", namespace) == 6
            stored = control_plane.kubectl(
                "get", "-n", namespace, "deployment/stays", "-o", "jsonpath={.spec.replicas}"
            )
            assert stored == "2", "a write that was refused must not have happened"
            assert RFD_156.scale(client, "stays", 4, namespace).status_code == 200
            assert RFD_001.read(client, "stays", namespace) == 4


def test_a_lost_history_is_caught_up_with(control_plane: ControlPlane, tmp_path: Path) -> None:
    """While kdm is cut off its resourceVersion is compacted away: a true 410 when it comes back."""
    with control_plane.fresh_namespace() as namespace, Proxy.to(control_plane.kubeconfig) as proxy:
        create_deployments(control_plane.kubeconfig, namespace, [deployment("goes", 1), deployment("stays", 2)])
        kubeconfig = proxy.kubeconfig(control_plane.kubeconfig, tmp_path)
        settings = {"REPOSITORY": "kubernetes", "KUBECONFIG": str(kubeconfig)}
        with KdmProcess(settings, tmp_path / "log") as kdm, kdm.client() as client:
            kdm.wait_ready()
            proxy.refuse()
            proxy.cut()
            control_plane.kubectl("delete", "-n", namespace, "deployment/goes")
            control_plane.expire_history()
            proxy.heal()
            wait_until(lambda: RFD_001.names(client, namespace) == ["stays"], 60)
            assert 'reason="expired"' in kdm.metrics()


def test_a_missing_permission_is_named(control_plane: ControlPlane, tmp_path: Path) -> None:
    """Without the right to scale: 502, and the operator learns which verb on which resource is missing."""
    with control_plane.fresh_namespace() as namespace:
        create_deployments(control_plane.kubeconfig, namespace, [deployment("web", 2)])
        control_plane.kubectl(
            "create", "role", "reader", "-n", namespace, "--verb=get,list,watch", "--resource=deployments.apps"
        )
        control_plane.kubectl(
            "create", "rolebinding", "reader", "-n", namespace, "--role=reader", f"--user={namespace}"
        )
        kubeconfig = control_plane.kubeconfig_for(namespace)
        settings = {"REPOSITORY": "kubernetes", "KUBECONFIG": str(kubeconfig), "NAMESPACES": namespace}
        with KdmProcess(settings, tmp_path / "log") as kdm, kdm.client() as client:
            kdm.wait_ready()
            for dialect in (RFD_001, RFD_156):
                answer = dialect.scale(client, "web", 3, namespace)
                assert answer.status_code == 502
                assert "patch" in answer.json()["error"]
                assert "deployments/scale" in answer.json()["error"]
                assert dialect.read(client, "web", namespace) == 2


def test_before_the_first_sync_reads_are_refused_and_readiness_says_so(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    with Proxy.to(control_plane.kubeconfig) as proxy:
        proxy.refuse()
        kubeconfig = proxy.kubeconfig(control_plane.kubeconfig, tmp_path)
        settings = {"REPOSITORY": "kubernetes", "KUBECONFIG": str(kubeconfig)}
        with KdmProcess(settings, tmp_path / "log") as kdm, kdm.client() as client:
            assert plain_get(f"{kdm.ops_url}/livez").status_code == 200
            assert plain_get(f"{kdm.ops_url}/readyz").status_code == 503
            for path in ("/deployments", "/api/v1/deployments", "/deployments/web/replicas"):
                answer = client.get(path)
                assert answer.status_code == 503
                assert answer.json().keys() == {"error"}
            assert client.get("/health").status_code == 503
            proxy.heal()
            kdm.wait_ready()
            assert client.get("/deployments").status_code == 200


def test_the_printed_commands_work_as_they_stand_and_ctrl_c_is_clean(tmp_path: Path) -> None:
    """What a newcomer does: start it, paste the lines it prints, press Ctrl-C."""
    with KdmProcess({}, tmp_path / "log") as kdm:
        kdm.wait_ready()
        wait_until(lambda: kdm.output().count("curl ") >= 8)
        lines = [line.strip() for line in kdm.output().splitlines() if line.strip().startswith("curl ")]
        for line in lines:
            ran = subprocess.run(
                ["bash", "-c", line.replace("curl ", "curl -sS --fail ", 1)],
                cwd=Path(__file__).parents[2],
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
            )
            assert ran.returncode == 0, f"{line}\n{ran.stdout}{ran.stderr}"
            json.loads(ran.stdout)
        assert kdm.stop(signal.SIGINT) == 0


def _asked_about_deployments(control_plane: ControlPlane) -> dict[Request, int]:
    return {each: count for each, count in control_plane.request_counts().items() if each.resource == "deployments"}
