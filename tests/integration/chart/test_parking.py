"""Parking in the chart: rights for what it needs, and CronJobs that park in the evening and restore in the morning."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from integration.controlplane.access import Cluster, KubectlFailed
from integration.controlplane.cluster import ControlPlane
from integration.kdm_process import CERTS, KdmProcess
from integration.workloads import create_deployments, deployment
from kdm_adapters.kubernetes.parking import shard_names

from .helm import Helm, HelmFailed

TRIAL: Final[dict[str, Any]] = {"trial": {"enabled": True}}
PARKING: Final[dict[str, Any]] = {**TRIAL, "parking": {"enabled": True}}
EVENING: Final = {
    "name": "evening",
    "action": "park",
    "cron": "0 22 * * 1-5",
    "timeZone": "Europe/Vienna",
    "selector": "tier=dev",
    "parkId": "night",
    "clientSecret": "kdm-night",
}
MORNING: Final = {**EVENING, "name": "morning", "action": "restore", "cron": "0 6 * * 1-5"}


def test_without_it_there_is_no_right_and_no_setting(helm: Helm) -> None:
    objects = helm.objects(TRIAL)
    assert "Role/team:demo-kdm:parking" not in objects
    assert "KDM_PARKING" not in objects["ConfigMap/demo-kdm-settings"]["data"]


def test_with_it_kdm_may_read_and_change_its_config_maps_by_name_and_create_and_watch_them(helm: Helm) -> None:
    objects = helm.objects(PARKING)
    role = objects["Role/team:demo-kdm:parking"]
    assert role["metadata"]["namespace"] == "team"
    assert role["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": list(shard_names()),
            "verbs": ["get", "patch"],
        },
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "list", "watch"]},
    ]
    settings = objects["ConfigMap/demo-kdm-settings"]["data"]
    assert (settings["KDM_PARKING"], settings["KDM_PARKING_NAMESPACE"]) == ("configmaps", "team")


def test_another_namespace_has_the_role_and_the_setting(helm: Helm) -> None:
    objects = helm.objects({**TRIAL, "parking": {"enabled": True, "namespace": "kdm-state"}})
    for kind in ("Role", "RoleBinding"):
        assert objects[f"{kind}/team:demo-kdm:parking"]["metadata"]["namespace"] == "kdm-state"
    assert objects["ConfigMap/demo-kdm-settings"]["data"]["KDM_PARKING_NAMESPACE"] == "kdm-state"


def test_the_alert_waits_as_long_as_is_said(helm: Helm) -> None:
    values = {
        **TRIAL,
        "parking": {"enabled": True, "alertAfterDays": 3},
        "metrics": {"prometheusRule": {"enabled": True}},
    }
    rules = helm.objects(values)["PrometheusRule/demo-kdm"]["spec"]["groups"]
    (found,) = [rule for group in rules for rule in group["rules"] if rule.get("alert") == "KdmParkedLong"]
    assert found["expr"].endswith("> 3 * 86400")


def test_a_schedule_is_a_cron_job_that_never_runs_twice_at_once(helm: Helm) -> None:
    objects = helm.objects({**PARKING, "schedules": [EVENING, MORNING]})
    spec = objects["CronJob/demo-kdm-evening"]["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["concurrencyPolicy"]) == (
        "0 22 * * 1-5",
        "Europe/Vienna",
        "Forbid",
    )
    assert spec["startingDeadlineSeconds"] == 3600
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    assert (pod["automountServiceAccountToken"], pod["restartPolicy"]) == (False, "Never")
    assert pod["volumes"][0]["secret"]["secretName"] == "kdm-night"
    (container,) = pod["containers"]
    assert "command" not in container, "it is the image's: kdm"
    assert container["args"] == [
        "park",
        "--server=https://demo-kdm.team.svc:443",
        "--ca=/etc/kdm/client/ca.crt",
        "--cert=/etc/kdm/client/tls.crt",
        "--key=/etc/kdm/client/tls.key",
        "--all-namespaces",
        "--selector=tier=dev",
        "--park-id=night",
        "--reason=schedule evening",
        "--on-error=continue",
        "--ignore-not-found",
        "--retry=10m",
        "--yes",
    ]
    assert arguments(helm, MORNING)[0] == "restore"


def test_a_schedule_of_a_namespace_is_about_all_of_it(helm: Helm) -> None:
    of_shop = {**EVENING, "selector": "", "namespace": "shop", "reason": "$(KDM_REASON) costs $5"}
    found = arguments(helm, of_shop)
    assert {"--namespace=shop", "--all", "--reason=$$(KDM_REASON) costs $$5"} <= set(found)
    assert not [each for each in found if each.startswith(("--selector", "--all-namespaces"))]


def test_a_restore_without_a_selector_is_about_all_of_its_batch(helm: Helm) -> None:
    """What got other labels during the night comes back, too."""
    found = arguments(helm, {**MORNING, "selector": ""})
    assert {"restore", "--all-namespaces", "--all", f"--park-id={MORNING['parkId']}"} <= set(found)


def arguments(helm: Helm, schedule: dict[str, Any]) -> list[str]:
    """Return what a schedule's Pod gives to the command."""
    cron_job = helm.objects({**PARKING, "schedules": [schedule]})[f"CronJob/demo-kdm-{schedule['name']}"]
    (container,) = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    found: list[str] = container["args"]
    return found


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({**TRIAL, "schedules": [EVENING]}, "parking.enabled"),
        ({**PARKING, "schedules": [{**EVENING, "selector": ""}]}, "every Deployment there is"),
        ({**PARKING, "schedules": [EVENING, EVENING]}, "two are called"),
        ({**PARKING, "schedules": [{**EVENING, "action": "stop"}]}, "action"),
        ({**PARKING, "settings": {"repository": "memory"}}, "settings.repository"),
        *(
            ({**PARKING, "schedules": [{**EVENING, "cron": cron}]}, "/schedules/0/cron")
            for cron in ("0 0 22 * * 1-5", "22 * * *", "TZ=Europe/Vienna 0 22 * * *", "daily", "")
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(helm: Helm, values: dict[str, Any], message: str) -> None:
    with pytest.raises(HelmFailed, match=message):
        helm.template(values)


def apply_role(cluster: Cluster, helm: Helm, namespace: str) -> None:
    """Apply the Roles that the chart makes, for the service account ``kdm`` of a namespace."""
    values = {**PARKING, "namespaces": [namespace], "serviceAccount": {"create": False, "name": "kdm"}}
    rendered = helm.template(
        values, "--show-only=templates/rbac.yaml", "--show-only=templates/parking.yaml", namespace=namespace
    )
    cluster.kubectl("apply", "-f", "-", input=rendered)


def test_these_rights_are_enough_and_let_kdm_do_no_more(
    control_plane: ControlPlane, helm: Helm, tmp_path: Path
) -> None:
    with control_plane.fresh_namespace() as namespace:
        create_deployments(control_plane.kubeconfig, namespace, [deployment("web", 3)])
        kubeconfig = control_plane.service_account_kubeconfig(namespace, "kdm")
        apply_role(control_plane, helm, namespace)
        settings = {
            "REPOSITORY": "kubernetes",
            "KUBECONFIG": str(kubeconfig),
            "NAMESPACES": namespace,
            "PARKING": "configmaps",
            "PARKING_NAMESPACE": namespace,
        }
        with KdmProcess(settings, tmp_path / "log") as kdm, kdm.client() as client:
            kdm.wait_ready()
            path = f"/api/v2/namespaces/{namespace}/deployments/web"
            for verb in ("park", "restore", "park"):
                answer = client.post(f"{path}/{verb}", json={})
                assert answer.status_code == 200, answer.text
            assert [each["name"] for each in client.get("/api/v2/parked").json()["items"]] == ["web"]
        user = f"--as=system:serviceaccount:{namespace}:kdm"

        def may(*what: str) -> bool:
            try:
                return control_plane.kubectl("auth", "can-i", *what, f"--namespace={namespace}", user).strip() == "yes"
            except KubectlFailed:  # it ends with 1 where the answer is no
                return False

        assert may("patch", "configmap/kdm-parked-3")
        for what in (
            ("get", "configmap/kube-root-ca.crt"),
            ("patch", "configmap/kube-root-ca.crt"),
            ("delete", "configmap/kdm-parked-3"),
            ("update", "configmap/kdm-parked-3"),
            ("get", "secrets"),
            ("patch", "deployments"),
        ):
            assert not may(*what), what


@pytest.fixture
def client(tmp_path: Path) -> Path:
    """A client's certificates, laid out as the Secret of a schedule."""
    certificates = tmp_path / "client"
    certificates.mkdir()
    for name, file in (("ca.crt", "dev-ca"), ("tls.crt", "dev-admin"), ("tls.key", "dev-admin-key")):
        (certificates / name).write_bytes((CERTS / f"{file}.pem").read_bytes())
    return certificates


def start(helm: Helm, schedule: dict[str, Any], url: str, client: Path, *more: str) -> subprocess.Popen[str]:
    """Start what a schedule's Pod runs, with what a Pod has: no home, and no file that it may write."""
    given = [each.replace("/etc/kdm/client", str(client)) for each in arguments(helm, schedule)]
    here = [f"--server={url}" if each.startswith("--server=") else each for each in given]
    return subprocess.Popen(
        [sys.executable, "-m", "kdm_cli", *here, *more],
        env={},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(helm: Helm, schedule: dict[str, Any], url: str, client: Path, *more: str) -> tuple[int, list[str], str]:
    """Run a schedule. Returns the exit code, the lines of standard output, and standard error."""
    with start(helm, schedule, url, client, *more) as process:
        output, errors = process.communicate(timeout=60)
    return process.returncode, output.splitlines(), errors


def test_a_schedule_goes_on_until_kdm_is_there_again(helm: Helm, client: Path, tmp_path: Path) -> None:
    """A restore that is given up in the morning leaves people without what they work on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with start(helm, EVENING, f"https://localhost:{port}", client) as process:
        assert process.stderr is not None
        assert "nothing listens" in (line := process.stderr.readline())
        assert line.endswith("; trying again in 5 s\n")
        with KdmProcess({"PORT": str(port)}, tmp_path / "log") as kdm:
            output, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors
            with kdm.client() as asking:
                parked = asking.get("/api/v2/parked").json()["items"]
    assert {f"{each['namespace']}/{each['name']}" for each in parked} == {
        line.partition(":")[0] for line in output.splitlines() if line.endswith("-> 0")
    }


def test_a_schedule_parks_and_restores_and_names_what_it_leaves_alone(helm: Helm, client: Path, tmp_path: Path) -> None:
    evening, morning = ({**each, "selector": "", "namespace": "shop"} for each in (EVENING, MORNING))
    with KdmProcess({}, tmp_path / "log") as kdm, kdm.client() as asking:
        kdm.wait_ready()

        def counts() -> dict[str, int]:
            found = asking.get("/api/v2/namespaces/shop/deployments").json()["items"]
            return {each["name"]: each["replicas"]["desired"] for each in found}

        before = counts()
        code, lines, errors = run(helm, evening, kdm.url, client)
        assert (code, set(counts().values())) == (0, {0}), errors
        assert {line.partition(":")[0] for line in lines[:-1]} == {f"shop/{name}" for name in before}
        again, lines, errors = run(helm, evening, kdm.url, client)
        assert (again, set(counts().values())) == (0, {0}), errors
        scaled = next(name for name, count in before.items() if count)
        asking.put(f"/api/v2/namespaces/shop/deployments/{scaled}/replicas", json={"replicas": 2})

        code, lines, errors = run(helm, morning, kdm.url, client)

        assert (code, counts()) == (0, {**before, scaled: 2}), errors
        (left,) = [line for line in lines if line.startswith(f"shop/{scaled}:")]
        assert f"stays at 2: somebody scaled it since it was parked with {before[scaled]}" in left
        assert run(helm, morning, kdm.url, client)[0] == 0, "what is not parked any more is not to be restored"
    code, _, errors = run(helm, evening, kdm.url, client, "--retry=0s")
    assert (code, "nothing listens" in errors) == (7, True)
