"""What the chart promises of a Pod: how it starts and ends, whom it reaches, and what it follows without a restart."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from kdm_cli.settings import Settings

from .helm import VALUES, Helm

TRIAL: dict[str, Any] = {"trial": {"enabled": True}}


@pytest.fixture(scope="module")
def deployments(helm: Helm) -> dict[str, dict[str, Any]]:
    """The Deployment that each file of values/ makes."""
    rendered = {name: helm.objects(values) for name, values in VALUES.items()}
    return {
        name: next(each for key, each in objects.items() if key.startswith("Deployment/"))
        for name, objects in rendered.items()
    }


@pytest.mark.parametrize("name", VALUES)
def test_a_pod_has_as_long_to_end_as_it_takes(helm: Helm, name: str) -> None:
    """The kubelet counts the sleep before SIGTERM too: both together must be less than what it waits before SIGKILL."""
    objects = helm.objects(VALUES[name])
    settings = Settings.read(next(each["data"] for key, each in objects.items() if key.endswith("-settings")))
    pod = next(each for key, each in objects.items() if key.startswith("Deployment/"))["spec"]["template"]["spec"]
    sleep_s = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert pod["terminationGracePeriodSeconds"] > sleep_s + settings.limits.grace_s


@pytest.mark.parametrize("name", VALUES)
def test_what_kdm_follows_is_mounted_as_directories(deployments: dict[str, dict[str, Any]], name: str) -> None:
    """A file mounted by subPath never changes: the kubelet swaps a directory's symlink."""
    pod = deployments[name]["spec"]["template"]["spec"]
    mounts = pod["containers"][0]["volumeMounts"]
    assert {"tls"} <= {each["name"] for each in mounts} <= {each["name"] for each in pod["volumes"]}
    assert not any("subPath" in each or "subPathExpr" in each for each in mounts)
    for volume in pod["volumes"]:
        assert not volume.get("secret", {}).get("optional", False)


@pytest.mark.parametrize("name", VALUES)
def test_every_file_that_kdm_is_told_of_is_mounted(helm: Helm, name: str) -> None:
    objects = helm.objects(VALUES[name])
    environment = next(each["data"] for key, each in objects.items() if key.endswith("-settings"))
    pod = next(each for key, each in objects.items() if key.startswith("Deployment/"))["spec"]["template"]["spec"]
    directories = {each["name"]: each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
    mounted = {
        f"{directories[volume['name']]}/{item['path']}"
        for volume in pod["volumes"]
        for item in (volume.get("secret") or volume.get("configMap") or {}).get("items", [])
    }
    assert {value for value in environment.values() if value.startswith("/etc/kdm/")} == mounted


@pytest.mark.parametrize("name", VALUES)
def test_probes_ask_the_plain_listener_alone(helm: Helm, name: str) -> None:
    """It needs no client certificate; liveness never depends on the cluster, which a restart would not mend."""
    objects = helm.objects(VALUES[name])
    environment = next(each["data"] for key, each in objects.items() if key.endswith("-settings"))
    pod = next(each for key, each in objects.items() if key.startswith("Deployment/"))["spec"]["template"]["spec"]
    container = pod["containers"][0]
    ports = {each["name"]: str(each["containerPort"]) for each in container["ports"]}
    assert ports == {"api": environment["KDM_PORT"], "ops": environment["KDM_OPS_PORT"]}
    assert {probe: container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")} == {
        "startupProbe": {"path": "/livez", "port": "ops"},
        "livenessProbe": {"path": "/livez", "port": "ops"},
        "readinessProbe": {"path": "/readyz", "port": "ops"},
    }


def test_a_rollout_never_has_fewer_pods_than_asked_for(deployments: dict[str, dict[str, Any]]) -> None:
    for each in deployments.values():
        assert each["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_an_autoscaled_deployment_leaves_its_count_to_the_autoscaler(deployments: dict[str, dict[str, Any]]) -> None:
    """An upgrade would otherwise set it back."""
    assert "replicas" not in deployments["operators"]["spec"]
    assert deployments["production"]["spec"]["replicas"] == 3


def test_only_a_pod_that_asks_its_own_api_server_has_a_token(deployments: dict[str, dict[str, Any]]) -> None:
    tokens = {
        name: each["spec"]["template"]["spec"]["automountServiceAccountToken"] for name, each in deployments.items()
    }
    assert tokens == {
        "another-cluster": False,
        "load-balancer": True,
        "openshift": True,
        "operators": True,
        "production": True,
        "sidecar": False,
        "trial": True,
    }


def test_no_role_where_there_is_no_token(helm: Helm) -> None:
    for name in ("another-cluster", "sidecar"):
        assert not any(key.startswith(("Role", "ClusterRole")) for key in helm.objects(VALUES[name])), name


def test_the_checksum_changes_with_the_settings_alone(helm: Helm) -> None:
    """What kdm reads once must replace the Pods, what it follows must not; nor must another version of the chart."""

    def template(values: dict[str, Any]) -> Any:
        return helm.objects({**TRIAL, **values})["Deployment/demo-kdm"]["spec"]["template"]

    plain = template({})
    assert template({}) == plain  # although each rendering makes other certificates
    assert template({"policy": {"toml": "version = 1"}}) == plain
    assert template({"settings": {"log_level": "debug"}}) != plain
    assert template({"namespaces": ["shop"]}) != plain
    assert not any("version" in label or "chart" in label for label in plain["metadata"]["labels"])


def test_pods_spread_by_the_labels_they_have(deployments: dict[str, dict[str, Any]]) -> None:
    """A constraint without a selector would count no Pod; one with a selector of its own keeps it."""
    for name in ("trial", "production"):
        template = deployments[name]["spec"]["template"]
        for constraint in template["spec"]["topologySpreadConstraints"]:
            assert constraint["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert deployments["production"]["spec"]["template"]["spec"]["topologySpreadConstraints"][1]["labelSelector"] == {
        "matchLabels": {"app.kubernetes.io/name": "kdm"}
    }


def test_pods_prefer_several_zones_by_affinity_which_nodes_without_zones_do_not_mind(helm: Helm) -> None:
    """A topology constraint for zones would have the scheduler leave out nodes without one, for every constraint."""

    def spec(values: dict[str, Any]) -> Any:
        return helm.objects({**TRIAL, **values})["Deployment/demo-kdm"]["spec"]["template"]["spec"]

    plain = spec({})
    assert [each["topologyKey"] for each in plain["topologySpreadConstraints"]] == ["kubernetes.io/hostname"]
    (preferred,) = plain["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred["podAffinityTerm"]["topologyKey"] == "topology.kubernetes.io/zone"
    node: dict[str, Any] = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}
    }
    assert spec({"affinity": node})["affinity"] == {**node, **plain["affinity"]}
    own: dict[str, Any] = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
    assert spec({"affinity": own})["affinity"] == own


def test_network_policies_let_in_whom_they_name_and_the_test(helm: Helm) -> None:
    objects = helm.objects(VALUES["production"])
    api, ops = objects["NetworkPolicy/demo-kdm"]["spec"]["ingress"]
    assert [each["port"] for each in (*api["ports"], *ops["ports"])] == ["api", "ops"]
    test = objects["Pod/demo-kdm-test"]["metadata"]["labels"]
    jobs = [each["spec"]["jobTemplate"]["spec"]["template"] for each in objects.values() if each["kind"] == "CronJob"]
    selectors = [each["podSelector"]["matchLabels"].items() for each in api["from"] if "podSelector" in each]
    assert [selectors[0] <= test.items(), *(selectors[1] <= each["metadata"]["labels"].items() for each in jobs)] == [
        True,
        *(True for _ in jobs),
    ]
    assert jobs
    assert ops["from"] == yaml.safe_load(VALUES["production"].read_text())["networkPolicy"]["opsFrom"]
    server = objects["NetworkPolicy/demo-kdm"]["spec"]["egress"][1]
    assert server["to"] == [{"ipBlock": {"cidr": "192.0.2.1/32"}}, {"ipBlock": {"cidr": "2001:db8::1/128"}}]
    assert [each["port"] for each in server["ports"]] == [6443]


def test_the_services_do_not_select_the_test_pod(helm: Helm) -> None:
    objects = helm.objects(TRIAL)
    test = objects["Pod/demo-kdm-test"]["metadata"]["labels"]
    for service in ("Service/demo-kdm", "Service/demo-kdm-ops"):
        assert not objects[service]["spec"]["selector"].items() <= test.items()
