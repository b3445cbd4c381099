"""kdm as the chart has it run, with the rights the chart gives: a real process and a token of its service account."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from integration.controlplane import binaries
from integration.controlplane.access import Cluster, KubectlFailed
from integration.kdm_process import wait_until
from integration.workloads import create_deployments, deployment

from .helm import CHART, Helm
from .pod import client, files, running, secret, service_account_kubeconfig

ROOT = Path(__file__).parents[3]
TRIAL: dict[str, Any] = {"trial": {"enabled": True}}
RIGHTS = {"deployments.apps": {"list", "watch"}, "deployments.apps/scale": {"patch"}}


@pytest.fixture
def shop(cluster: Cluster, namespace: str) -> str:
    """A namespace with a Deployment `web` of one replica."""
    create_deployments(cluster.kubeconfig, namespace, [deployment("web", 1)])
    return namespace


@pytest.mark.parametrize("scope", ["cluster-wide", "namespaces"])
def test_the_charts_role_is_enough_for_everything_kdm_does(
    cluster: Cluster, cluster_helm: Helm, release: str, shop: str, tmp_path: Path, scope: str
) -> None:
    """Reads, writes and health in both APIs, a change that somebody else makes, and writes to what does not exist."""
    values = {**TRIAL, "namespaces": [shop]} if scope == "namespaces" else TRIAL
    cluster_helm.run("install", release, str(CHART), f"--namespace={release}", "--wait", values=values)
    certificates = _trial_client(cluster, release, tmp_path)
    with running(cluster, release, f"{release}-kdm", tmp_path / "pod") as kdm, client(kdm, certificates) as http:
        where = f"?namespace={shop}"
        answers = [
            http.get(f"/deployments{where}"),
            http.get(f"/deployments/web/replicas{where}"),
            http.post(f"/deployments/web/replicas{where}", json={"replicaCount": 2}),
            http.get("/health"),
            http.get(f"/api/v1/deployments{where}"),
            http.put(f"/api/v1/deployments/web/replicas{where}", json={"replicaCount": 3}),
            http.get(f"/api/v1/deployments/web/replicas{where}"),
            http.get("/api/v1/health"),
        ]
        assert [(each.request.url.path, each.text) for each in answers if each.status_code != 200] == []
        assert answers[6].json() == {"name": "web", "replicaCount": 3}
        for answer in (
            http.post(f"/deployments/missing/replicas{where}", json={"replicaCount": 2}),
            http.put(f"/api/v1/deployments/missing/replicas{where}", json={"replicaCount": 2}),
        ):
            assert answer.status_code == 404, answer.text

        cluster.kubectl("scale", "deployment/web", f"--namespace={shop}", "--replicas=5")
        wait_until(lambda: http.get(f"/deployments/web/replicas{where}").json()["replicaCount"] == 5)
        audited = [json.loads(line) for line in kdm.output().splitlines() if '"actor"' in line]
        assert [(each["actor"], each["name"], each["outcome"]) for each in audited] == [
            ("kdm-trial", "web", "success"),
            ("kdm-trial", "web", "success"),
            ("kdm-trial", "missing", "rejected"),
            ("kdm-trial", "missing", "rejected"),
        ]


@pytest.mark.parametrize("scope", ["cluster-wide", "namespaces"])
def test_the_charts_role_allows_nothing_more(
    cluster: Cluster, cluster_helm: Helm, release: str, shop: str, tmp_path: Path, scope: str
) -> None:
    """What a fresh service account may do, and the three verbs: in the managed namespaces, and nowhere else."""
    values = {**TRIAL, "namespaces": [shop]} if scope == "namespaces" else TRIAL
    cluster_helm.run("install", release, str(CHART), f"--namespace={release}", values=values)
    account, fresh = f"{release}-kdm", "fresh"
    cluster.kubectl("create", "serviceaccount", fresh, f"--namespace={release}")
    elsewhere = "default" if scope == "cluster-wide" else shop
    assert _rights(cluster, release, account, elsewhere) - _rights(cluster, release, fresh, elsewhere) == {
        (resource, verb) for resource, verbs in RIGHTS.items() for verb in verbs
    }
    if scope == "cluster-wide":
        return
    for namespace in (release, "default"):
        assert _rights(cluster, release, account, namespace) == _rights(cluster, release, fresh, namespace)
    kubeconfig = service_account_kubeconfig(cluster, release, account, tmp_path)
    itself = Cluster(kubeconfig, cluster.kubectl_program, tmp_path)
    assert "web" in itself.kubectl("get", "deployments", f"--namespace={shop}")
    for namespace in ("--namespace=default", "--all-namespaces"):
        with pytest.raises(KubectlFailed, match="cannot list resource"):
            itself.kubectl("get", "deployments", namespace)


def test_the_role_is_the_one_that_the_security_document_shows(helm: Helm) -> None:
    document = (ROOT / "SECURITY.md").read_text()
    printed, for_owners, for_events = re.findall(r"^```yaml\n(.*?)^```", document, re.MULTILINE | re.DOTALL)
    rules = yaml.safe_load(printed)["rules"]
    assert helm.objects(TRIAL)["ClusterRole/team:demo-kdm"]["rules"] == rules
    assert helm.objects({**TRIAL, "namespaces": ["shop"]})["Role/team:demo-kdm"]["rules"] == rules
    with_owners = helm.objects({**TRIAL, "namespaces": ["shop"], "owners": {"enabled": True}})
    assert with_owners["Role/team:demo-kdm"]["rules"] == [*rules, *yaml.safe_load(for_owners)]
    assert with_owners["ConfigMap/demo-kdm-settings"]["data"]["KDM_OWNERS"] == "true"
    with_events = helm.objects({**TRIAL, "namespaces": ["shop"], "events": {"enabled": True}})
    assert with_events["Role/team:demo-kdm"]["rules"] == [*rules, *yaml.safe_load(for_events)]
    assert with_events["ConfigMap/demo-kdm-settings"]["data"]["KDM_EVENTS"] == "true"


def test_the_notes_and_the_test_pod_reach_kdm(
    cluster: Cluster, cluster_helm: Helm, release: str, shop: str, tmp_path: Path
) -> None:
    """A newcomer pastes what `helm install` printed; `helm test` runs its script. Only the address is another here."""
    notes = cluster_helm.run("install", release, str(CHART), f"--namespace={release}", "--wait", values=TRIAL)
    commands = [line.strip() for line in notes.splitlines() if line.startswith("  ")]
    with running(cluster, release, f"{release}-kdm", tmp_path / "pod") as kdm:
        for command in commands:
            if command.startswith("kubectl get secret"):
                _shell(command, cluster, tmp_path)
        assert sum(command.startswith("kubectl port-forward") for command in commands) == 1
        asked = [command for command in commands if command.startswith("curl")]
        answers = [
            _shell(
                each.replace("https://localhost:8443", kdm.url).replace("NAMESPACE", shop).replace("NAME", "web"),
                cluster,
                tmp_path,
            )
            for each in asked
        ]
        assert json.loads(answers[0]) == {"status": "healthy", "kubernetes": "connected"}
        assert {"deploymentName": "web", "replicaCount": 1} in json.loads(answers[1])
        assert {"name": "web", "replicaCount": 1} in json.loads(answers[2])
        assert json.loads(answers[3]) == {"deploymentName": "web", "updatedReplicaCount": 2}
        assert json.loads(answers[4]) == {"message": "Replica count updated successfully."}

        pod = yaml.safe_load(cluster_helm.run("get", "hooks", release, f"--namespace={release}"))
        container = pod["spec"]["containers"][0]
        files(cluster, release, pod["spec"], container, tmp_path / "test")
        assert container["args"][2] == f"https://{release}-kdm.{release}.svc:443"
        script = [
            sys.executable,
            *container["args"][:2],
            kdm.url,
            str(tmp_path / "test" / "etc/kdm/client"),
            container["args"][4],
        ]
        tested = subprocess.run(script, capture_output=True, text=True, check=False, timeout=60)
        assert tested.returncode == 0, tested.stdout + tested.stderr
        assert "without a client certificate: refused" in tested.stdout
        assert tested.stdout.count("200 ") == 2


def test_the_readmes_way_to_production_works(cluster: Cluster, release: str, tmp_path: Path) -> None:
    """Its commands and its values file, as printed, but for the names of namespaces; then the certificates it made."""
    readme = (CHART / "README.md").read_text().partition("## Run it for real")[2]
    values = yaml.safe_load(re.findall(r"^```yaml\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)[0])
    values["image"]["digest"] = "sha256:" + "0" * 64
    values["namespaces"] = [release]
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    (console,) = re.findall(r"^```console\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)[:1]
    for line in console.splitlines():
        command = line.removeprefix("$ ").replace("--namespace kdm", f"--namespace {release}")
        if not command.startswith("kubectl create namespace"):
            _shell(command.replace("deploy/helm/kdm", str(CHART)), cluster, tmp_path)
    certificates = tmp_path / "client"
    certificates.mkdir()
    for ours, theirs in {"tls.crt": "admin.pem", "tls.key": "admin-key.pem", "ca.crt": "ca.pem"}.items():
        (certificates / ours).write_bytes((tmp_path / "tls" / theirs).read_bytes())
    with running(cluster, release, "kdm", tmp_path / "pod") as kdm, client(kdm, certificates) as http:
        assert http.get("/deployments").json() == [{"deploymentName": "kdm", "replicaCount": 2}]
        assert http.get("/health").status_code == 200


@pytest.mark.parametrize("policy", ["trial", "operators"])
def test_kdm_finds_the_rendered_policy_valid(helm: Helm, tmp_path: Path, policy: str) -> None:
    values = (
        TRIAL if policy == "trial" else yaml.safe_load((Path(__file__).parent / "values/operators.yaml").read_text())
    )
    file = tmp_path / "policy.toml"
    file.write_text(helm.objects(values)["ConfigMap/demo-kdm-policy"]["data"]["policy.toml"])
    checked = subprocess.run(
        [sys.executable, "-m", "kdm_cli", "policy", "check", str(file)], capture_output=True, text=True, check=False
    )
    assert checked.stdout == f"{file}: valid: 1 grant\n", checked.stderr


def _trial_client(cluster: Cluster, release: str, directory: Path) -> Path:
    target = directory / "client"
    target.mkdir()
    for name, content in secret(cluster, release, f"{release}-kdm-trial-client").items():
        (target / name).write_bytes(content)
    return target


def _rights(cluster: Cluster, home: str, account: str, namespace: str) -> set[tuple[str, str]]:
    """List what a service account may do in a namespace: resource or URL, and verb."""
    listed = cluster.kubectl(
        "auth", "can-i", "--list", "--no-headers", f"--namespace={namespace}",
        f"--as=system:serviceaccount:{home}:{account}",
    )  # fmt: skip
    return {
        (line.split()[0], verb)
        for line in listed.splitlines()
        for verb in re.findall(r"[a-z*]+", line.rpartition("[")[2])
    }


def _shell(command: str, cluster: Cluster, directory: Path) -> str:
    """Run a line of a document in a shell, with the programs that it names."""
    programs = directory / "programs"
    if not programs.exists():
        programs.mkdir()
        (programs / "kubectl").symlink_to(cluster.kubectl_program)
        (programs / "helm").symlink_to(binaries.find("helm")["helm"])
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {"PATH": path, "HOME": str(directory), "KUBECONFIG": str(cluster.kubeconfig)}
    line = command.replace("curl ", "curl --silent --show-error --fail-with-body ", 1)
    done = subprocess.run(
        ["bash", "-ceuo", "pipefail", line],
        cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout
