"""Deployments for tests to find: made in bulk, through the API of any cluster, past kdm."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kubernetes import client, config

__all__ = ["create_deployments", "deployment"]

CONNECTIONS = 32
IMAGE = "busybox:1.37"  # any cluster can pull it


def deployment(
    name: str,
    replicas: int = 1,
    *,
    labels: dict[str, str] | None = None,
    never_ready: bool = False,
    padding_bytes: int = 0,
) -> dict[str, Any]:
    """Describe a Deployment.

    Args:
        name: Of the Deployment; its Pods are labelled `app: name`.
        replicas: How many Pods it asks for.
        labels: Of the Deployment itself.
        never_ready: Whether its Pods never become Ready, as in a rollout that hangs.
        padding_bytes: How much larger to make the object, in an annotation. Real ones take about 4,500 bytes.
    """
    container: dict[str, Any] = {"name": "app", "image": IMAGE, "command": ["sleep", "infinity"]}
    pod_annotations = {}
    if never_ready:
        container["readinessProbe"] = {"exec": {"command": ["/there-is-no-such-program"]}}
        pod_annotations["kdm.test/never-ready"] = "true"  # nobody probes where kwok plays the node: see stages.yaml
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "labels": labels or {},
            "annotations": {"kdm.test/padding": "x" * padding_bytes} if padding_bytes else {},
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}, "annotations": pod_annotations},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
            },
        },
    }


def create_deployments(kubeconfig: Path, namespace: str, deployments: Iterable[dict[str, Any]]) -> None:
    """Create Deployments over many connections at once, and return when the API server has stored them all.

    Raises:
        kubernetes.client.ApiException: The API server refused one; others may exist.
    """
    configuration = client.Configuration()
    config.load_kube_config(str(kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
    configuration.connection_pool_maxsize = CONNECTIONS
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    with client.ApiClient(configuration) as api, ThreadPoolExecutor(CONNECTIONS) as threads:

        def create(body: dict[str, Any]) -> None:
            # Not by AppsV1Api, whose models cost more than the API server's work.
            request = api.param_serialize("POST", path, header_params=headers, body=body, auth_settings=["BearerToken"])
            response = api.call_api(*request)
            answer = response.read()
            if response.status != 201:
                raise client.ApiException(response.status, response.reason, answer.decode(errors="replace"))

        for _ in threads.map(create, deployments):
            pass
