"""The Role that SECURITY.md shows is all that kdm needs, and lets it do no more."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from .controlplane.access import Cluster
from .kdm_process import KdmProcess, wait_until
from .workloads import create_deployments, deployment

SECURITY = Path(__file__).parents[2] / "SECURITY.md"


def test_the_documented_role_is_enough(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """Reads, a write, health, and a write to what does not exist: none of them lacks a right."""
    create_deployments(cluster.kubeconfig, namespace, [deployment("web", 1)])
    kubeconfig = cluster.service_account_kubeconfig(namespace, "kdm")
    bind_documented_role(cluster, namespace)
    settings = {"REPOSITORY": "kubernetes", "KUBECONFIG": str(kubeconfig), "NAMESPACES": namespace}
    with KdmProcess(settings, tmp_path / "log") as kdm, kdm.client() as client:
        kdm.wait_ready()
        answers = [
            client.get("/deployments"),
            client.get("/deployments/web/replicas"),
            client.post("/deployments/web/replicas", json={"replicaCount": 2}),
            client.get("/health"),
        ]
        assert [(each.status_code, each.text) for each in answers if each.status_code != 200] == []
        missing = client.post(f"/deployments/missing/replicas?namespace={namespace}", json={"replicaCount": 2})
        assert missing.status_code == 404, missing.text
        assert client.get("/deployments/web/replicas").json()["replicaCount"] == 2
    permissions = cluster.kubectl(
        "auth", "can-i", "--list", "--no-headers", f"--namespace={namespace}",
        f"--as=system:serviceaccount:{namespace}:kdm",
    )  # fmt: skip
    assert {line.split()[0] for line in permissions.splitlines() if "apps" in line.split()[0]} == {
        "deployments.apps",
        "deployments.apps/scale",
    }


def test_without_the_rule_for_owners_only_the_autoscalers_are_unknown(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """Reads and writes go on; what kdm lacks is said. With the rule it knows them, and may do no more than that."""
    create_deployments(cluster.kubeconfig, namespace, [deployment("web", 1)])
    create_autoscaler(cluster, namespace, "web")
    kubeconfig = cluster.service_account_kubeconfig(namespace, "kdm")
    bind_documented_role(cluster, namespace)
    settings = {
        "REPOSITORY": "kubernetes",
        "KUBECONFIG": str(kubeconfig),
        "NAMESPACES": namespace,
        "OWNERS": "true",
    }
    path = f"/api/v2/namespaces/{namespace}/deployments/web"
    with KdmProcess(settings, tmp_path / "log") as kdm, kdm.client() as client:
        kdm.wait_ready()
        about = client.get("/api/v2").json()
        assert about["features"]["owners"]
        (unknown,) = about["ownersUnknown"]
        assert unknown.startswith(f"horizontalpodautoscalers/{namespace}: ")
        assert client.get(path).json()["owners"] == []
        assert client.put(f"{path}/replicas", json={"replicas": 2}).status_code == 200
        assert client.get("/health").status_code == 200
    unbind(cluster, namespace)
    bind_documented_role(cluster, namespace, owners=True)
    with KdmProcess(settings, tmp_path / "log2") as kdm, kdm.client() as client:
        kdm.wait_ready()
        wait_until(lambda: client.get("/api/v2").json()["ownersUnknown"] == [])
        (owner,) = client.get(path).json()["owners"]
        assert (owner["kind"], owner["min"], owner["max"]) == ("HorizontalPodAutoscaler", 2, 4)
    rights = cluster.kubectl(
        "auth", "can-i", "--list", "--no-headers", f"--namespace={namespace}",
        f"--as=system:serviceaccount:{namespace}:kdm",
    )  # fmt: skip
    (line,) = [line for line in rights.splitlines() if "autoscaling" in line.split()[0]]
    assert line.split()[0] == "horizontalpodautoscalers.autoscaling"
    assert line.endswith("[list watch]")


def create_autoscaler(cluster: Cluster, namespace: str, target: str) -> None:
    """Create a HorizontalPodAutoscaler of 2 to 4 replicas for a Deployment of the same name."""
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
        "minReplicas": 2,
        "maxReplicas": 4,
    }
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": target, "namespace": namespace},
        "spec": spec,
    }
    cluster.kubectl("apply", "-f", "-", input=json.dumps(autoscaler))


def unbind(cluster: Cluster, namespace: str) -> None:
    """Take the Role and its binding away again."""
    cluster.kubectl("delete", "role,rolebinding", "kdm", f"--namespace={namespace}")


def bind_documented_role(
    cluster: Cluster, namespace: str, account_namespace: str = "", *, owners: bool = False, events: bool = False
) -> None:
    """Apply the Role as it is printed, in another namespace, and bind the service account ``kdm`` to it.

    Args:
        cluster: Where.
        namespace: Where the Role is to hold.
        account_namespace: Where the account is, if it is elsewhere.
        owners: Whether it has the rule for owners, too.
        events: Whether it has the one for Events, too.
    """
    printed, for_owners, for_events, *_ = re.findall(
        r"^```yaml\n(.*?)^```", SECURITY.read_text(), re.MULTILINE | re.DOTALL
    )
    role = yaml.safe_load(printed)
    if owners:
        role["rules"] += yaml.safe_load(for_owners)
    if events:
        role["rules"] += yaml.safe_load(for_events)
    role["metadata"]["namespace"] = namespace
    cluster.kubectl("apply", "-f", "-", input=json.dumps(role))
    cluster.kubectl(
        "create", "rolebinding", "kdm", f"--namespace={namespace}",
        f"--role={role['metadata']['name']}", f"--serviceaccount={account_namespace or namespace}:kdm",
    )  # fmt: skip
