"""kdm on a real node does what it says: Pods come and go as it is told, and it can be watched doing so."""

from __future__ import annotations

import json

from integration.kdm_process import wait_until

from .installation import SHOP, Installation


def running_pods(kdm: Installation, name: str) -> int:
    listed = kdm.cluster.kubectl("get", "pods", "--namespace", SHOP, f"--selector=app={name}", "--output=json")
    pods = json.loads(listed)["items"]
    return sum(pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"] for pod in pods)


def test_pods_come_and_go_as_both_dialects_say(kdm: Installation) -> None:
    kdm.deploy("web")
    where = {"namespace": SHOP}
    with kdm.client() as client:
        wait_until(lambda: client.get("/deployments/web/replicas", params=where).status_code == 200)
        wait_until(lambda: running_pods(kdm, "web") == 1)

        answer = client.post("/deployments/web/replicas", params=where, json={"replicaCount": 3})
        assert answer.json() == {"deploymentName": "web", "updatedReplicaCount": 3}
        wait_until(lambda: running_pods(kdm, "web") == 3)
        assert client.get("/deployments/web/replicas", params=where).json()["replicaCount"] == 3

        answer = client.put("/api/v1/deployments/web/replicas", params=where, json={"replicaCount": 1})
        assert answer.json() == {"message": "Replica count updated successfully."}
        wait_until(lambda: running_pods(kdm, "web") == 1)
        read = client.get("/api/v1/deployments/web/replicas", params=where)
        assert read.json() == {"name": "web", "replicaCount": 1}


def test_helm_test_passes(kdm: Installation) -> None:
    """A Pod finds the Service by its name and is answered over mutual TLS, and not without a certificate."""
    told = kdm.release.helm("test", "kdm", "--logs")
    assert "without a client certificate: refused" in told
    assert '/health: 200 {"status":"healthy","kubernetes":"connected"}' in told


def test_each_pod_logs_in_json(kdm: Installation) -> None:
    """`kubectl logs` shows one JSON object a line, the beginning of service among them."""
    for pod in kdm.serving():
        lines = kdm.kubectl("logs", pod).splitlines()
        events = [json.loads(line) for line in lines]
        assert any(event.get("event") == "serving" for event in events), lines
