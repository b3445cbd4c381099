"""The life of a release on a real API server: installed, upgraded, rolled back, uninstalled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from cryptography import x509

from integration.controlplane.access import Cluster

from .helm import CHART, VALUES, Helm, HelmFailed, releasable_namespace
from .pod import secret

TRIAL: dict[str, Any] = {"trial": {"enabled": True}}
POLICY = 'version = 1\n[[grant]]\nanyone = true\nverbs = ["read"]\nnamespaces = ["*"]\n'
KINDS = (
    "configmaps,deployments.apps,horizontalpodautoscalers,networkpolicies,poddisruptionbudgets,rolebindings,roles,"
    "secrets,serviceaccounts,services"
)
CLUSTER_KINDS = "clusterroles,clusterrolebindings"


@pytest.fixture
def installed(cluster: Cluster, cluster_helm: Helm, release: str) -> Installed:
    return Installed(cluster, cluster_helm, release)


@pytest.fixture(scope="module")
def trial(cluster: Cluster, cluster_helm: Helm) -> Iterator[Installed]:
    """A trial, for tests that leave it as it is."""
    with releasable_namespace(cluster, cluster_helm) as name:
        installed = Installed(cluster, cluster_helm, name)
        installed.install(TRIAL)
        yield installed


class Installed:
    """A release in a namespace of the same name, and what there is of it."""

    def __init__(self, cluster: Cluster, helm: Helm, name: str) -> None:
        self._cluster = cluster
        self._helm = helm
        self.name = name

    def helm(self, *args: str, values: dict[str, Any] | None = None) -> str:
        return self._helm.run(*args, f"--namespace={self.name}", values=values)

    def install(self, values: dict[str, Any]) -> None:
        """Install it and wait until its Pods are ready."""
        self.helm("install", self.name, str(CHART), "--wait", "--timeout=90s", values=values)

    def upgrade(self, values: dict[str, Any]) -> None:
        """Upgrade it to these values and wait until its new Pods are ready."""
        self.helm("upgrade", self.name, str(CHART), "--wait", "--timeout=90s", values=values)

    def get(self, kind: str, ending: str = "") -> dict[str, Any]:
        """Read an object of the release, by the end of its name."""
        answer = self._cluster.kubectl("get", kind, f"{self.name}-kdm{ending}", f"--namespace={self.name}", "-ojson")
        found: dict[str, Any] = json.loads(answer)
        return found

    def secret(self, ending: str) -> dict[str, bytes]:
        return secret(self._cluster, self.name, f"{self.name}-kdm{ending}")

    def objects(self) -> set[str]:
        """Name everything that bears the release's label, in its namespace and in none."""
        label = f"--selector=app.kubernetes.io/instance={self.name}"
        mine = self._cluster.kubectl("get", KINDS, label, f"--namespace={self.name}", "--output=name")
        others = self._cluster.kubectl("get", CLUSTER_KINDS, label, "--output=name")
        return {
            each.replace(f"{self.name}:", "").replace(f"{self.name}-kdm", "kdm") for each in (mine + others).split()
        }

    def everywhere(self) -> set[str]:
        """Name everything that bears the release's label, in any namespace."""
        label = f"--selector=app.kubernetes.io/instance={self.name}"
        listed = self._cluster.kubectl("get", f"{KINDS},{CLUSTER_KINDS}", label, "--all-namespaces", "--output=name")
        return {each.replace(f"{self.name}:", "").replace(f"{self.name}-kdm", "kdm") for each in listed.split()}

    @property
    def rollouts(self) -> int:
        """How often the Deployment's Pods have been replaced, the first time included."""
        return int(self.get("deployment")["metadata"]["annotations"]["deployment.kubernetes.io/revision"])


def test_what_an_installation_consists_of(trial: Installed) -> None:
    """In a namespace that takes restricted Pods alone; when helm says it is done, all Pods are ready."""
    assert trial.objects() == {
        "clusterrole.rbac.authorization.k8s.io/kdm",
        "clusterrolebinding.rbac.authorization.k8s.io/kdm",
        "configmap/kdm-policy",
        "configmap/kdm-settings",
        "deployment.apps/kdm",
        "networkpolicy.networking.k8s.io/kdm",
        "networkpolicy.networking.k8s.io/kdm-test",
        "poddisruptionbudget.policy/kdm",
        "secret/kdm-trial-client",
        "secret/kdm-trial-server",
        "service/kdm",
        "service/kdm-ops",
        "serviceaccount/kdm",
    }
    assert trial.get("deployment")["status"]["readyReplicas"] == 2
    assert trial.get("poddisruptionbudget")["status"]["expectedPods"] == 2


def test_nothing_is_left_after_an_uninstallation(installed: Installed) -> None:
    """Neither in the release's namespace nor outside of it."""
    installed.install({**TRIAL, "namespaces": ["default"]})
    assert "role.rbac.authorization.k8s.io/kdm" in installed.everywhere()
    installed.helm("uninstall", installed.name, "--wait")
    assert installed.everywhere() == set()


def test_a_changed_setting_replaces_the_pods_and_a_rollback_brings_the_old_ones_back(installed: Installed) -> None:
    installed.install(TRIAL)
    certificates = installed.secret("-trial-server"), installed.secret("-trial-client")

    installed.upgrade({**TRIAL, "settings": {"max_replicas": 7}})
    assert installed.rollouts == 2
    assert installed.get("configmap", "-settings")["data"]["KDM_MAX_REPLICAS"] == "7"

    installed.helm("rollback", installed.name, "1", "--wait", "--timeout=90s")
    assert installed.rollouts == 3
    assert installed.get("configmap", "-settings")["data"]["KDM_MAX_REPLICAS"] == "1000"
    assert (installed.secret("-trial-server"), installed.secret("-trial-client")) == certificates


def test_what_kdm_follows_by_itself_replaces_no_pod(installed: Installed) -> None:
    """A policy and certificates are read from files that change; only for other names are there other ones."""
    installed.install(TRIAL)
    server = installed.secret("-trial-server")

    installed.upgrade({**TRIAL, "policy": {"toml": POLICY}})
    assert installed.get("configmap", "-policy")["data"]["policy.toml"] == POLICY
    assert installed.secret("-trial-server") == server

    installed.upgrade({**TRIAL, "policy": {"toml": POLICY}, "tls": {"extraDnsNames": ["kdm.example.com"]}})
    renewed = installed.secret("-trial-server")
    assert "kdm.example.com" in _dns_names(renewed["tls.crt"])
    assert "kdm.example.com" not in _dns_names(server["tls.crt"])
    assert installed.secret("-trial-client")["ca.crt"] == renewed["ca.crt"] != server["ca.crt"]
    assert installed.rollouts == 1


def test_a_trial_certificate_near_its_end_or_without_its_fellow_is_renewed(
    cluster: Cluster, installed: Installed
) -> None:
    installed.install(TRIAL)
    first = installed.secret("-trial-server")
    name = f"{installed.name}-kdm-trial"
    cluster.kubectl(
        "annotate", "secret", f"{name}-server", f"--namespace={installed.name}", "--overwrite", "kdm/renew-after=1"
    )
    installed.upgrade(TRIAL)
    second = installed.secret("-trial-server")
    assert second["ca.crt"] != first["ca.crt"]

    cluster.kubectl("delete", "secret", f"{name}-client", f"--namespace={installed.name}")
    installed.upgrade(TRIAL)
    assert installed.secret("-trial-server")["ca.crt"] not in {first["ca.crt"], second["ca.crt"]}
    assert installed.secret("-trial-client")["ca.crt"] == installed.secret("-trial-server")["ca.crt"]


def test_the_trial_certificate_has_the_names_of_the_service_and_of_a_forwarded_port(trial: Installed) -> None:
    service = f"{trial.name}-kdm"
    assert _dns_names(trial.secret("-trial-server")["tls.crt"]) == {
        f"{service}.{trial.name}.svc",
        f"{service}.{trial.name}.svc.cluster.local",
        f"{service}.{trial.name}",
        service,
        "localhost",
    }


def test_a_bad_upgrade_changes_nothing(trial: Installed) -> None:
    """Refused before anything is sent; the release is what it was."""
    before = trial.get("configmap", "-settings")
    with pytest.raises(HelmFailed, match="need a port each"):
        trial.upgrade({**TRIAL, "settings": {"port": 8081}})
    assert trial.get("configmap", "-settings") == before
    assert json.loads(trial.helm("history", trial.name, "--output=json"))[-1]["status"] == "deployed"


@pytest.mark.usefixtures("crds")
def test_the_objects_of_other_operators_are_created(cluster: Cluster, installed: Installed) -> None:
    """The kinds are minimal ones here where cert-manager and the Prometheus operator are not there."""
    values = yaml.safe_load(VALUES["operators"].read_text())
    installed.install(values)
    certificate = installed.get("certificate", "-server")["spec"]
    assert certificate["secretName"] == f"{installed.name}-kdm-server"
    assert certificate["dnsNames"][0] == f"{installed.name}-kdm.{installed.name}.svc"
    assert "kdm.example.com" in certificate["dnsNames"]
    monitor = installed.get("servicemonitor")["spec"]
    selected = ",".join(f"{key}={value}" for key, value in monitor["selector"]["matchLabels"].items())
    services = cluster.kubectl("get", "services", f"--selector={selected}", f"--namespace={installed.name}", "-oname")
    assert services.split() == [f"service/{installed.name}-kdm-ops"]
    ports = installed.get("service", "-ops")["spec"]["ports"]
    assert monitor["endpoints"][0]["port"] in {each["name"] for each in ports}
    rules = installed.get("prometheusrule")["spec"]["groups"]
    assert all(rule["expr"] for group in rules for rule in group["rules"])
    dashboards = installed.get("configmap", "-dashboards")
    assert dashboards["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert all(json.loads(each)["title"] for each in dashboards["data"].values())
    scaled = installed.get("horizontalpodautoscaler")["spec"]
    assert (scaled["minReplicas"], scaled["maxReplicas"]) == (3, 9)
    assert scaled["scaleTargetRef"]["name"] == f"{installed.name}-kdm"


def test_the_services_lead_to_the_pods_of_the_deployment(cluster: Cluster, trial: Installed) -> None:
    """By labels that these Pods alone have, and by names of ports that their container has."""
    for ending, port in (("", "api"), ("-ops", "ops")):
        service = trial.get("service", ending)["spec"]
        assert [each["targetPort"] for each in service["ports"]] == [port]
        selector = ",".join(f"{key}={value}" for key, value in service["selector"].items())
        options = (f"--namespace={trial.name}", f"--selector={selector}", "-ojson")
        pods = json.loads(cluster.kubectl("get", "pods", *options))["items"]
        assert len(pods) == 2
        for pod in pods:
            assert pod["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet"
            assert port in {each["name"] for each in pod["spec"]["containers"][0]["ports"]}


def _dns_names(certificate: bytes) -> set[str]:
    names = x509.load_pem_x509_certificate(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return set(names.value.get_values_for_type(x509.DNSName))
