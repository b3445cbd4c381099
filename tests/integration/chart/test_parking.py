"""Parking in the chart: rights for what it needs, and CronJobs that park in the evening and restore in the morning."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

from integration.controlplane.access import Cluster, KubectlFailed
from integration.controlplane.cluster import ControlPlane
from integration.kdm_process import CERTS, KdmProcess
from integration.workloads import create_deployments, deployment
from kdm_adapters.kubernetes.parking import shard_names

from .helm import CHART, Helm, HelmFailed

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
SCHEDULE: Final = CHART / "files" / "schedule.py"


def test_without_it_there_is_no_right_and_no_setting(helm: Helm) -> None:
    objects = helm.objects(TRIAL)
    assert "Role/demo-kdm-parking" not in objects
    assert "KDM_PARKING" not in objects["ConfigMap/demo-kdm-settings"]["data"]


def test_with_it_kdm_may_read_and_change_its_config_maps_by_name_and_create_and_watch_them(helm: Helm) -> None:
    objects = helm.objects(PARKING)
    role = objects["Role/demo-kdm-parking"]
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
        assert objects[f"{kind}/demo-kdm-parking"]["metadata"]["namespace"] == "kdm-state"
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
    *_, url, directory, body, _ = pod["containers"][0]["args"]
    assert (url, directory) == ("https://demo-kdm.team.svc:443", "/etc/kdm/client")
    select = {"labelSelector": "tier=dev"}
    assert json.loads(body) == {
        "select": select,
        "park": {"parkId": "night"},
        "onError": "continue",
        "reason": "schedule evening",
    }
    morning = objects["CronJob/demo-kdm-morning"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert json.loads(morning["containers"][0]["args"][-2])["restore"] == {"parkId": "night"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({**TRIAL, "schedules": [EVENING]}, "parking.enabled"),
        ({**PARKING, "schedules": [{**EVENING, "selector": ""}]}, "every Deployment there is"),
        ({**PARKING, "schedules": [EVENING, EVENING]}, "two are called"),
        ({**PARKING, "schedules": [{**EVENING, "action": "stop"}]}, "action"),
        ({**PARKING, "settings": {"repository": "memory"}}, "settings.repository"),
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


def run_schedule(url: str, directory: Path, body: object, seconds: int = 0) -> tuple[int, list[dict[str, Any]]]:
    """Run what the CronJob's Pod runs."""
    done = subprocess.run(
        [sys.executable, "-c", SCHEDULE.read_text(), url, str(directory), json.dumps(body), str(seconds)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_the_schedules_script_goes_on_until_the_cluster_answers_again(tmp_path: Path) -> None:
    """A restore that is cut short in the morning leaves people without what they work on."""
    certificates = client_certificates(tmp_path)
    lost = {"outcome": "failed", "error": {"detail": "the cluster cannot be reached", "retryable": True}}
    answers: list[tuple[int, dict[str, Any]]] = [
        (207, {"items": [lost, {"outcome": "skipped"}], "summary": {"failed": 1}}),
        (409, {"code": "idempotency-key-in-flight", "detail": "still under way", "retryable": True}),
        (200, {"items": [{"outcome": "done"}, {"outcome": "unchanged"}], "summary": {"changed": 1}}),
        (207, {"items": [{"outcome": "refused", "error": {"retryable": False}}], "summary": {"refused": 1}}),
    ]
    keys = []

    class Kdm(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            keys.append(self.headers["Idempotency-Key"])
            self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = answers[len(keys) - 1]
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTS / "dev-server.pem", CERTS / "dev-server-key.pem")
    with HTTPServer(("127.0.0.1", 0), Kdm) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            url = f"https://localhost:{server.server_port}"
            code, said = run_schedule(url, certificates, {}, seconds=30)
            assert (code, len(keys)) == (0, 3), said
            assert keys[0] != keys[1] == keys[2], "under the first key the first answer would come again"
            code, said = run_schedule(url, certificates, {}, seconds=30)
            assert (code, len(keys)) == (1, 4), said
        finally:
            server.shutdown()
            serving.join()


def client_certificates(directory: Path) -> Path:
    """Lay out a client's certificates as the Secret of a schedule does."""
    certificates = directory / "client"
    certificates.mkdir()
    for name, file in (("ca.crt", "dev-ca"), ("tls.crt", "dev-admin"), ("tls.key", "dev-admin-key")):
        (certificates / name).write_bytes((CERTS / f"{file}.pem").read_bytes())
    return certificates


def test_the_schedules_script_parks_and_restores_and_names_what_it_leaves_alone(tmp_path: Path) -> None:
    certificates = client_certificates(tmp_path)
    select = {"namespace": "shop", "all": True}
    with KdmProcess({}, tmp_path / "log") as kdm, kdm.client() as client:
        kdm.wait_ready()
        counts = {
            each["name"]: each["replicas"]["desired"]
            for each in client.get("/api/v2/namespaces/shop/deployments").json()["items"]
        }
        evening = {"select": select, "park": {"parkId": "night"}, "onError": "continue", "reason": "schedule evening"}
        code, said = run_schedule(kdm.url, certificates, evening)
        assert code == 0, said
        assert {each["name"]: each["from"] for each in said if "name" in each} == counts
        scaled = next(name for name, count in counts.items() if count)
        client.put(f"/api/v2/namespaces/shop/deployments/{scaled}/replicas", json={"replicas": 2})

        morning = {
            "select": select,
            "restore": {"parkId": "night"},
            "onError": "continue",
            "reason": "schedule morning",
        }
        code, said = run_schedule(kdm.url, certificates, morning)

        assert code == 0, said
        (left,) = [each for each in said if each.get("name") == scaled]
        assert "scaled it since it was parked" in json.dumps(left)
        after = {
            each["name"]: each["replicas"]["desired"]
            for each in client.get("/api/v2/namespaces/shop/deployments").json()["items"]
        }
        assert after == {**counts, scaled: 2}
    code, said = run_schedule(kdm.url, certificates, evening)
    assert (code, said[0]["status"]) == (1, 0)
