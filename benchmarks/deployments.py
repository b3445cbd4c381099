"""Realistic Deployments, about 4.5 KB of JSON each as the API server tells them, made and changed fast."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Self

import aiohttp
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import load_kube_config

__all__ = ["CONNECTIONS", "Refused", "Writer", "body", "place"]

CONNECTIONS = 32
NAMESPACES = 50
TIMEOUT_S = 30.0
APPLICATIONS = ("checkout", "catalog", "payments", "search", "profile", "inventory", "mailer", "reports")


class Refused(Exception):
    """The API server did not do what it was asked to; the message is its answer."""


class Writer:
    """Writes Deployments over up to `CONNECTIONS` connections at once. An async context manager.

    Deployment number i has a namespace and a name of its own, see `place`.
    """

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig

    async def __aenter__(self) -> Self:
        configuration = Configuration()
        await load_kube_config(  # type: ignore[no-untyped-call]
            str(self._kubeconfig), client_configuration=configuration
        )
        trust = RESTClientObject(configuration).ssl_context
        self._session = aiohttp.ClientSession(
            configuration.host,
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=trust),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            headers={"User-Agent": "benchmark-writer"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def seed(self, numbers: Iterable[int]) -> None:
        """Make namespaces and Deployments; those that exist stay as they are."""
        await _all(self._create_namespace, range(NAMESPACES))
        await _all(self.create, numbers)

    async def create(self, number: int) -> None:
        """Make one Deployment, unless it exists, and give it a status as its controller would.

        Raises:
            Refused: The API server refused.
        """
        namespace, name = place(number)
        await self._send("POST", _path(namespace), body(number), {201, 409})
        await self._send("PATCH", _path(namespace, name, "status"), {"status": status(number)}, {200})

    async def delete(self, number: int) -> None:
        """Delete one Deployment, unless it is gone.

        Raises:
            Refused: The API server refused.
        """
        await self._send("DELETE", _path(*place(number)), {"propagationPolicy": "Background"}, {200, 404})

    async def scale(self, number: int, replicas: int) -> int:
        """Change one Deployment's replica count.

        Returns:
            The resourceVersion of the change.

        Raises:
            Refused: The API server refused.
        """
        answer = await self._send("PATCH", _path(*place(number)), {"spec": {"replicas": replicas}}, {200})
        return int(json.loads(answer)["metadata"]["resourceVersion"])

    async def list(self, at: str = "") -> list[dict[str, Any]]:
        """Return all Deployments, as the store has them now, or as it had them at exactly a resourceVersion.

        Raises:
            Refused: The API server refused, or has forgotten that version.
        """
        query = f"?resourceVersion={at}&resourceVersionMatch=Exact" if at else ""
        answer: dict[str, list[dict[str, Any]]] = json.loads(
            await self._send("GET", f"/apis/apps/v1/deployments{query}", None, {200})
        )
        return answer["items"]

    async def size_bytes(self, number: int) -> int:
        """Return how large one Deployment is in JSON."""
        return len(await self._send("GET", _path(*place(number)), None, {200}))

    async def _create_namespace(self, number: int) -> None:
        described = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place(number)[0]}}
        await self._send("POST", "/api/v1/namespaces", described, {201, 409})

    async def _send(self, method: str, path: str, content: object, expected: set[int]) -> bytes:
        manager = "kube-controller-manager" if path.endswith("/status") else "helm"
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        data = None if content is None else json.dumps(content).encode()
        async with self._session.request(
            method, path, data=data, params={"fieldManager": manager}, headers={"Content-Type": kind}
        ) as response:
            answer = await response.read()
        if response.status not in expected:
            raise Refused(f"{method} {path}: {response.status} {answer.decode(errors='replace')[:500]}")
        return answer


def place(number: int) -> tuple[str, str]:
    """Return namespace and name of a Deployment."""
    return f"team-{number % NAMESPACES:02}", f"{APPLICATIONS[number % len(APPLICATIONS)]}-{number:06}"


def body(number: int) -> dict[str, Any]:
    """Describe a Deployment as a chart would; the API server adds defaults and managedFields."""
    namespace, name = place(number)
    application = name.rpartition("-")[0]
    digest = hashlib.sha256(name.encode()).hexdigest()
    selector = {"app.kubernetes.io/name": application, "app.kubernetes.io/instance": name}
    labels = {
        **selector,
        "app.kubernetes.io/managed-by": "Helm",
        "app.kubernetes.io/version": f"{number % 7}.{number % 11}.{number % 13}",
        "helm.sh/chart": f"{application}-{number % 7}.0.{number % 13}",
        "team": namespace,
    }
    container = {
        "name": application,
        "image": f"registry.example.com/{namespace}/{application}@sha256:{digest}",
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "LOG_LEVEL", "value": "info"}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": labels,
            "annotations": {
                "deployment.kubernetes.io/revision": "1",
                "meta.helm.sh/release-name": name,
                "meta.helm.sh/release-namespace": namespace,
            },
        },
        "spec": {
            "replicas": _replicas(number),
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {"labels": selector, "annotations": {"checksum/config": digest}},
                "spec": {"serviceAccountName": application, "containers": [container]},
            },
        },
    }


def status(number: int) -> dict[str, Any]:
    """Describe the status of a Deployment that has rolled out."""
    name = place(number)[1]
    at = f"2026-01-{1 + number % 28:02}T08:{number % 60:02}:07Z"
    counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    reasons = {
        "Available": ("MinimumReplicasAvailable", "Deployment has minimum availability."),
        "Progressing": ("NewReplicaSetAvailable", f'ReplicaSet "{name}-7d4b9c" has successfully progressed.'),
    }
    return {
        "observedGeneration": 1,
        **dict.fromkeys(counts, _replicas(number)),
        "conditions": [
            {
                "type": kind,
                "status": "True",
                "lastUpdateTime": at,
                "lastTransitionTime": at,
                "reason": reason,
                "message": m,
            }
            for kind, (reason, m) in reasons.items()
        ],
    }


def _replicas(number: int) -> int:
    return 1 + number % 5


def _path(namespace: str, *name: str) -> str:
    return "/".join(("/apis/apps/v1/namespaces", namespace, "deployments", *name))


async def _all(do: Callable[[int], Awaitable[None]], numbers: Iterable[int]) -> None:
    """Do it for each number, `CONNECTIONS` at once."""
    waiting = iter(numbers)

    async def work() -> None:
        for number in waiting:
            await do(number)

    async with asyncio.TaskGroup() as workers:
        for _ in range(CONNECTIONS):
            workers.create_task(work())
