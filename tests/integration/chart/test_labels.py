"""Labels come from several values: each key is there once, the nearest wins, and what selects Pods is the chart's."""

from __future__ import annotations

from typing import Any

import pytest

from .helm import Helm, HelmFailed, Object
from .mutations import EVERYTHING

SELECTING = ("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component")
OWN = (*SELECTING, "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart")
MAPS = ("commonLabels", "metrics.serviceMonitor.labels", "metrics.prometheusRule.labels", "metrics.dashboards.labels")


def given(path: str, value: Any) -> dict[str, Any]:
    """Return values with one at a path, below a trial's."""
    values: Any = value
    for key in reversed(path.split(".")):
        values = {key: values}
    return {"trial": {"enabled": True}, **values}


@pytest.mark.parametrize("label", OWN)
@pytest.mark.parametrize("path", MAPS)
def test_no_value_sets_a_label_of_the_charts_own(helm: Helm, path: str, label: str) -> None:
    """A Service would select nothing, or the release be lost to `helm` and to whoever looks for it."""
    with pytest.raises(HelmFailed, match=f"{path}: {label} is a label of the chart's own"):
        helm.template(given(path, {label: "mine"}))


@pytest.mark.parametrize("label", [*SELECTING, "pod-template-hash"])
def test_pod_labels_do_not_set_what_selects_the_pods(helm: Helm, label: str) -> None:
    """Kubernetes refuses a Deployment that does not select its own Pods, when the rest of the release is made."""
    with pytest.raises(HelmFailed, match=f"podLabels: {label} selects the Pods"):
        helm.template(given("podLabels", {label: "mine"}))


def test_pods_may_have_labels_that_others_read(helm: Helm) -> None:
    """The chart does not give them a version, which would replace them with every release of the chart."""
    pods = helm.objects(given("podLabels", {"app.kubernetes.io/version": "7", "version": "v1"}))["Deployment/demo-kdm"]
    assert pods["spec"]["template"]["metadata"]["labels"].items() >= {
        ("app.kubernetes.io/version", "7"),
        ("version", "v1"),
    }


def test_the_nearest_label_wins_and_is_there_once(helm: Helm) -> None:
    """PodLabels over commonLabels; a monitor's, rules' and dashboards' own over commonLabels."""
    near = {"team": "near", "far": "no"}
    values = {
        **EVERYTHING,
        "commonLabels": {"team": "common", "far": "common", "only": "common", "grafana_dashboard": "no"},
        "podLabels": near,
        "metrics": {
            **EVERYTHING["metrics"],
            "serviceMonitor": {"enabled": True, "labels": near},
            "prometheusRule": {"enabled": True, "labels": near},
            "dashboards": {"enabled": True, "labels": near},
        },
    }
    objects = helm.objects(values)  # read by a loader that refuses a key which is there twice
    nearest = {"team": "near", "far": "no", "only": "common"}
    own = {"ServiceMonitor/demo-kdm", "PrometheusRule/demo-kdm", "ConfigMap/demo-kdm-dashboards"}
    for key, each in objects.items():
        expected = nearest if key in own else {"team": "common", "far": "common", "only": "common"}
        assert each["metadata"]["labels"].items() >= expected.items(), key
        assert set(OWN) - {"app.kubernetes.io/component"} <= set(each["metadata"]["labels"]), key
    assert objects["ConfigMap/demo-kdm-dashboards"]["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert pod_labels(objects).items() >= nearest.items()


def test_every_pod_and_every_job_has_the_common_labels(helm: Helm) -> None:
    """A cluster may refuse Pods without some of them: at night, those of schedules."""
    objects = helm.objects({**EVERYTHING, "commonLabels": {"cost-center": "7"}})
    job = objects["CronJob/demo-kdm-evening"]["spec"]["jobTemplate"]
    pods = [objects["Deployment/demo-kdm"]["spec"]["template"], objects["Pod/demo-kdm-test"], job["spec"]["template"]]
    assert [each["metadata"]["labels"].get("cost-center") for each in (*pods, job)] == ["7"] * 4


def test_a_monitor_selects_the_service_of_its_own_kdm_alone(helm: Helm) -> None:
    """One chart may have two of this one as its dependencies, under other names, in one release."""
    here, there = (helm.objects({**EVERYTHING, "nameOverride": name}) for name in ("kdm", "remote"))
    selected = here["ServiceMonitor/demo-kdm"]["spec"]["selector"]["matchLabels"].items()
    assert selected <= here["Service/demo-kdm-ops"]["metadata"]["labels"].items()
    assert not selected <= there["Service/demo-remote-ops"]["metadata"]["labels"].items()


@pytest.mark.parametrize("path", ["commonLabels", "podLabels"])
def test_whatever_labels_are_given_services_and_policies_select_the_pods(helm: Helm, path: str) -> None:
    objects = helm.objects({**EVERYTHING, path: {"component": "x", "app": "y", "app.kubernetes.io/part-of": "z"}})
    labels = pod_labels(objects)
    deployment = objects["Deployment/demo-kdm"]["spec"]["selector"]["matchLabels"]
    selectors = [
        deployment,
        objects["Service/demo-kdm"]["spec"]["selector"],
        objects["Service/demo-kdm-ops"]["spec"]["selector"],
        objects["PodDisruptionBudget/demo-kdm"]["spec"]["selector"]["matchLabels"],
        objects["NetworkPolicy/demo-kdm"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(each == deployment for each in selectors)
    assert deployment.items() <= labels.items()
    assert labels["app.kubernetes.io/part-of"] == "z"


def test_the_checksum_annotation_is_the_charts_own(helm: Helm) -> None:
    with pytest.raises(HelmFailed, match="podAnnotations: checksum/settings is the chart's own"):
        helm.template(given("podAnnotations", {"checksum/settings": "x"}))


@pytest.mark.parametrize("key", ["a b", "", "-a", "a/b/c", "x" * 64, "Example.com/a", "/a"])
def test_a_key_that_is_no_labels_is_named(helm: Helm, key: str) -> None:
    with pytest.raises(HelmFailed, match=r"at '/commonLabels': additional properties '.*' not allowed"):
        helm.template(given("commonLabels", {key: "x"}))


def pod_labels(objects: dict[str, Object]) -> dict[str, str]:
    labels: dict[str, str] = objects["Deployment/demo-kdm"]["spec"]["template"]["metadata"]["labels"]
    return labels
