"""From a trial to every kind of installation and back, on a real API server."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from integration.controlplane.access import Cluster

from .helm import CHART, VALUES, Helm, HelmFailed, by_name

TRIAL: dict[str, Any] = {"trial": {"enabled": True}}


@pytest.mark.usefixtures("crds")
def test_a_release_goes_from_a_trial_to_each_kind_of_installation_and_back(
    cluster: Cluster, cluster_helm: Helm, release: str
) -> None:
    """Every step is a revision that was deployed; after each there is what the chart renders for it, and no more."""
    where = f"--namespace={release}"
    cluster_helm.run("install", release, str(CHART), where, values=TRIAL)
    first = _owned(cluster, release)
    for name, path in VALUES.items():
        cluster_helm.run("upgrade", release, str(CHART), where, values=yaml.safe_load(path.read_text()))
        rendered = by_name(cluster_helm.run("get", "manifest", release, where))
        assert {key.split("/")[1].rpartition(":")[2] for key in rendered} >= _owned(cluster, release), name
        cluster_helm.run("upgrade", release, str(CHART), where, values=TRIAL)
        assert _owned(cluster, release) == first, name
    history = json.loads(cluster_helm.run("history", release, where, "--max=100", "--output=json"))
    assert {each["status"] for each in history[:-1]} == {"superseded"}
    assert history[-1]["status"] == "deployed"
    assert history[-1]["revision"] == 2 * len(VALUES) + 1


def test_another_name_for_the_pods_is_refused_before_anything_changes(cluster_helm: Helm, release: str) -> None:
    """What selects a Deployment's Pods cannot change: half of the release would be upgraded."""
    where = f"--namespace={release}"
    values = {**TRIAL, "fullnameOverride": "same"}
    cluster_helm.run("install", release, str(CHART), where, values=values)
    with pytest.raises(HelmFailed, match="the Deployment same exists and selects other Pods, which cannot change"):
        cluster_helm.run("upgrade", release, str(CHART), where, values={**values, "nameOverride": "other"})
    history = json.loads(cluster_helm.run("history", release, where, "--output=json"))
    assert [each["status"] for each in history] == ["deployed"]
    cluster_helm.run("upgrade", release, str(CHART), where, values={**values, "replicaCount": 1})


def test_the_autoscaler_keeps_the_number_of_pods_over_the_upgrade_that_sets_it_up_and_later_ones(
    cluster: Cluster, cluster_helm: Helm, release: str
) -> None:
    """A number that a manifest has no longer becomes 1, until the autoscaler comes round."""
    where = f"--namespace={release}"
    scaled = {**TRIAL, "autoscaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 5}}

    def replicas() -> str:
        look = ("get", f"deployment/{release}-kdm", where, "--output=jsonpath={.spec.replicas}")
        return cluster.kubectl(*look)

    cluster_helm.run("install", release, str(CHART), where, values={**TRIAL, "replicaCount": 3})
    cluster_helm.run("upgrade", release, str(CHART), where, values=scaled)
    assert replicas() == "3"
    cluster.kubectl("scale", f"deployment/{release}-kdm", where, "--replicas=4")  # as an autoscaler does
    cluster_helm.run("upgrade", release, str(CHART), where, values={**scaled, "podAnnotations": {"a": "b"}})
    assert replicas() == "4"
    cluster_helm.run("upgrade", release, str(CHART), where, values=TRIAL)
    assert replicas() == "2"


def _owned(cluster: Cluster, release: str) -> set[str]:
    """Name what there is of the release in its namespace, of the kinds that every kind of installation may have."""
    kinds = "configmaps,deployments.apps,networkpolicies,poddisruptionbudgets,secrets,serviceaccounts,services"
    selector = f"--selector=app.kubernetes.io/instance={release}"
    listed = cluster.kubectl("get", kinds, selector, f"--namespace={release}", "--output=name")
    return {each.split("/")[1] for each in listed.split()}
