"""The Role that SECURITY.md shows is all that kdm needs, and lets it do no more."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from .controlplane.access import Cluster
from .kdm_process import KdmProcess
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


def bind_documented_role(cluster: Cluster, namespace: str, account_namespace: str = "") -> None:
    """Apply the Role as it is printed, in another namespace, and bind the service account ``kdm`` to it.

    Args:
        cluster: Where.
        namespace: Where the Role is to hold.
        account_namespace: Where the account is, if it is elsewhere.
    """
    (printed,) = re.findall(r"^```yaml\n(.*?)^```", SECURITY.read_text(), re.MULTILINE | re.DOTALL)
    role = yaml.safe_load(printed)
    role["metadata"]["namespace"] = namespace
    cluster.kubectl("apply", "-f", "-", input=json.dumps(role))
    cluster.kubectl(
        "create", "rolebinding", "kdm", f"--namespace={namespace}",
        f"--role={role['metadata']['name']}", f"--serviceaccount={account_namespace or namespace}:kdm",
    )  # fmt: skip
