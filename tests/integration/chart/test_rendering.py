"""What the chart renders is valid for each version of Kubernetes, and good practice in the eyes of others."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from integration.controlplane import binaries
from integration.controlplane.access import Cluster

from .helm import CHART, VALUES, VERSIONS, Helm

CUSTOM: Final = {"Certificate", "PrometheusRule", "ServiceMonitor"}
"""Kinds of others' operators, whose definitions Kubernetes does not have."""

# What checkov finds, by kind and check, and why it stays. What it finds besides fails, and what it finds no longer too.
ACCEPTED: Final = {
    ("CronJob", "CKV_K8S_11"): "no CPU limit, as below",
    ("Deployment", "CKV_K8S_11"): "no CPU limit: throttling would make every request wait",
    ("Deployment", "CKV_K8S_15"): "an image named by version or digest need not be pulled again at each start",
    ("Deployment", "CKV_K8S_38"): "reading and scaling Deployments is what the token is for",
    ("Deployment", "CKV_K8S_43"): "the default image is the chart's version; production.yaml shows a digest",
    ("Pod", "CKV_K8S_8"): "the test runs once and ends",
    ("Pod", "CKV_K8S_9"): "the test runs once and ends",
    ("Pod", "CKV_K8S_11"): "no CPU limit, as above",
    ("Pod", "CKV_K8S_15"): "the image is the Deployment's",
    ("Pod", "CKV_K8S_43"): "the image is the Deployment's",
}

# The same for kube-score's critical tests.
IGNORED: Final = {
    "container-image-pull-policy": "as CKV_K8S_15",
}


@pytest.fixture(scope="module")
def rendered(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The chart with each file of values/, for the newest Kubernetes."""
    directory = tmp_path_factory.mktemp("rendered")
    files = {name: directory / f"{name}.yaml" for name in VALUES}
    for name, file in files.items():
        file.write_text(helm.template(VALUES[name]))
    return files


@pytest.mark.parametrize("name", [*VALUES, "defaults"])
def test_helm_lint_has_nothing_to_say(helm: Helm, name: str) -> None:
    """Strictly, where a warning is a failure."""
    values = ["--values", str(VALUES[name])] if name in VALUES else []
    assert "0 chart(s) failed" in helm.run("lint", "--strict", f"--kube-version={VERSIONS[-1]}", str(CHART), *values)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid_in_each_version_of_kubernetes(
    judges: Path, rendered: dict[str, Path], version: str
) -> None:
    """By that version's own schemas, where a field it does not know is an error."""
    told = _validate(judges, version, *rendered.values())
    documents = [each for file in rendered.values() for each in yaml.safe_load_all(file.read_text()) if each]
    custom = sum(each["kind"] in CUSTOM for each in documents)
    assert [line for line in told if line.startswith("ERROR")] == []
    assert sum(line.startswith("INFO") and "passed" in line for line in told) == len(documents) - custom > 60
    assert len(told) == len(documents), told  # the others are told to have no schema


def test_a_field_that_kubernetes_does_not_know_would_be_found(
    judges: Path, rendered: dict[str, Path], tmp_path: Path
) -> None:
    """Else the test above would prove nothing."""
    file = tmp_path / "misspelt.yaml"
    file.write_text(rendered["trial"].read_text().replace("maxSurge:", "maxSurges:"))
    errors = [line for line in _validate(judges, VERSIONS[0], file) if line.startswith("ERROR")]
    assert len(errors) == 1
    assert "maxSurges" in errors[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_chart_renders_the_same_for_each_version(helm: Helm, version: str) -> None:
    """So that what is judged once is judged for all."""
    assert helm.objects(VALUES["another-cluster"], version=version) == helm.objects(VALUES["another-cluster"])


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize("name", VALUES)
def test_the_api_server_would_take_every_object(cluster: Cluster, helm: Helm, namespace: str, name: str) -> None:
    """With strict validation, defaults and admission, as a real installation meets them."""
    manifests = helm.template(VALUES[name], namespace=namespace)
    cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", input=manifests)


@pytest.mark.parametrize("name", VALUES)
def test_kube_score_finds_nothing_critical(rendered: dict[str, Path], name: str) -> None:
    if name == "another-cluster":  # switches off what kube-score asks for, one by one
        return
    ignored = [*IGNORED, "container-security-context-user-group-id"] if name == "openshift" else IGNORED  # it chooses
    ignore = [f"--ignore-test={test}" for test in ignored]
    scored = _json(
        [binaries.find("kube-score")["kube-score"], "score", "--output-format=json", "--kubernetes-version=v1.37"],
        "--ignore-container-cpu-limit", *ignore, str(rendered[name]),
    )  # fmt: skip
    critical = [
        f"{each['object_name']}: {check['check']['id']}: {check['comments']}"
        for each in scored
        for check in each["checks"]
        if not check["skipped"] and check["grade"] == 1
    ]
    assert scored
    assert critical == []


def test_checkov_finds_what_is_accepted_for_a_reason_and_nothing_else(
    judges: Path, rendered: dict[str, Path], tmp_path: Path
) -> None:
    for name in ("trial", "production"):
        (tmp_path / f"{name}.yaml").write_text(rendered[name].read_text())
    report = _json(
        [judges, "-m", "checkov.main", "--framework=kubernetes", "--output=json", "--compact", "--quiet"],
        f"--directory={tmp_path}",
    )  # fmt: skip
    found = {(each["resource"].split(".")[0], each["check_id"]) for each in report["results"]["failed_checks"]}
    assert found == set(ACCEPTED)
    digest = [each for each in report["results"]["failed_checks"] if each["check_id"] == "CKV_K8S_43"]
    assert {each["file_path"] for each in digest} == {"/trial.yaml"}


def test_objects_have_the_names_users_expect(helm: Helm) -> None:
    """`<release>-kdm`, or the release alone where it says kdm already, or what fullnameOverride says."""
    values = yaml.safe_load(VALUES["trial"].read_text())
    assert "Deployment/demo-kdm" in helm.objects(values)
    assert "Deployment/remote" in helm.objects(VALUES["another-cluster"])
    assert "Deployment/demo-replicas" in helm.objects(VALUES["load-balancer"])
    named = helm.run("template", "kdm", str(CHART), f"--kube-version={VERSIONS[-1]}", values=values)
    assert "name: kdm\n" in named
    assert "kdm-kdm" not in named


def test_alerts_lead_to_the_runbooks_wherever_they_are_served(helm: Helm) -> None:
    """Alertmanager shows the address as it is: a path in kdm's repository would lead nobody anywhere."""
    (rule,) = (each for key, each in helm.objects(VALUES["operators"]).items() if key.startswith("PrometheusRule/"))
    urls = [alert["annotations"]["runbook_url"] for group in rule["spec"]["groups"] for alert in group["rules"]]
    assert urls
    assert all(url.startswith("https://wiki.example.com/kdm/runbooks/#kdm") for url in urls)


def test_a_long_name_stays_within_what_kubernetes_takes(helm: Helm) -> None:
    long = helm.run(
        "template", "r" * 53, str(CHART), f"--kube-version={VERSIONS[-1]}", values={"trial": {"enabled": True}}
    )
    names = [each["metadata"]["name"] for each in yaml.safe_load_all(long) if each]
    assert len(names) > 10
    assert max(len(name.rpartition(":")[2]) for name in names) <= 63


def _validate(judges: Path, version: str, *files: Path) -> list[str]:
    """Judge files by a version's schemas: a line for each object."""
    command = [judges, "-m", "kubernetes_validate", "--strict", "--kubernetes-version", version, *files]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=240)
    return done.stdout.splitlines()


def _json(command: list[Any], *more: str) -> Any:
    """Run a program that writes JSON, and ends with an error where it has something to say."""
    done = subprocess.run([*map(str, command), *more], capture_output=True, text=True, check=False, timeout=240)
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise AssertionError(done.stdout + done.stderr) from None
