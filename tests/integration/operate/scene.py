"""Two kdm over a real API server, used as callers of every kind use them, scraped by a real Prometheus."""

from __future__ import annotations

import contextlib
import itertools
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx

from integration.controlplane.access import Cluster
from integration.kdm_process import KdmProcess, wait_until
from integration.proxy import Proxy
from integration.workloads import create_deployments, deployment

from .prometheus import Prometheus

ALERTS: Final = Path(__file__).parents[3] / "deploy" / "helm" / "kdm" / "alerts" / "kdm.yaml"
DEPLOYMENTS: Final = 20
AUTOSCALER: Final = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "owned"},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "owned"},
        "minReplicas": 1,
        "maxReplicas": 4,
    },
}
PAUSE_S: Final = 0.02
"""Between two requests of a caller: enough to be seen, little enough for a test's machine."""


class Scene:
    """All of it, for as long as the context lasts, with load from beginning to end.

    Args:
        cluster: Where the Deployments live.
        namespace: A namespace of its own.
        directory: For logs and data.
    """

    prometheus: Prometheus

    def __init__(self, cluster: Cluster, namespace: str, directory: Path) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._directory = directory
        self._stack = ExitStack()
        self._ended = threading.Event()
        self._failures: list[BaseException] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            names = [*(f"web-{number}" for number in range(DEPLOYMENTS)), "owned", "parked"]
            create_deployments(self._cluster.kubeconfig, self._namespace, map(deployment, names))
            self._cluster.kubectl("create", "-n", self._namespace, "-f", "-", input=json.dumps(AUTOSCALER))
            self._proxy = stack.enter_context(Proxy.to(self._cluster.kubeconfig))
            settings = {
                "REPOSITORY": "kubernetes",
                "KUBECONFIG": str(self._proxy.kubeconfig(self._cluster.kubeconfig, self._directory)),
                "NAMESPACES": self._namespace,
                "LIMIT_REQUESTS_PER_S": "200",
                "OWNERS": "true",
                "PARKING": "configmaps",
                "PARKING_NAMESPACE": self._namespace,
                "EVENTS": "true",
            }
            processes = [KdmProcess(settings, self._directory / f"kdm-{number}.log") for number in range(2)]
            self._kdm = [stack.enter_context(process) for process in processes]
            for kdm in self._kdm:
                kdm.wait_ready()
            targets = {
                kdm.ops_url.removeprefix("http://").replace("localhost", "127.0.0.1"): {
                    "namespace": "production",
                    "pod": f"kdm-{number}",
                }
                for number, kdm in enumerate(self._kdm)
            }
            self.prometheus = stack.enter_context(Prometheus(targets, self._directory, [ALERTS]))
            stack.callback(self._join)
            self._threads = [
                threading.Thread(target=self._work, args=(work, kdm), name=f"load-{number}")
                for kdm in self._kdm
                for number, work in enumerate((self._read, self._write, self._operate, self._err))
            ]
            for thread in self._threads:
                thread.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._stack.close()

    def check(self) -> None:
        """Raise what went wrong under load, if anything did."""
        if self._failures:
            raise self._failures[0]

    def cut_the_watches(self) -> None:
        """Break every connection to the API server once, as a network does, and wait until the watches are back."""
        self._proxy.cut()
        wait_until(lambda: all("kdm_cache_connected 1.0" in kdm.metrics() for kdm in self._kdm))

    def _work(self, work: Callable[[KdmProcess, httpx.Client], Iterator[None]], kdm: KdmProcess) -> None:
        try:
            with kdm.client() as client:
                for _ in work(kdm, client):
                    if self._ended.wait(PAUSE_S):
                        return
        except BaseException as exc:  # noqa: BLE001 - raised by check(), on the test's thread
            self._failures.append(exc)

    def _join(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _read(self, _: KdmProcess, client: httpx.Client) -> Iterator[None]:
        """Read in both dialects, one and all, with a namespace and without."""
        for number in itertools.count():
            name = f"web-{number % DEPLOYMENTS}"
            for target in (
                "/deployments",
                f"/deployments/{name}/replicas",
                f"/api/v1/deployments/{name}/replicas?namespace={self._namespace}",
                "/api/v1/deployments?namespace=*",
            ):
                assert client.get(target, headers={"x-request-id": f"load-{number}"}).status_code == 200
                yield
            client.head("/deployments")
            client.get("/health")

    def _write(self, _: KdmProcess, client: httpx.Client) -> Iterator[None]:
        """Scale up and down in both dialects; now and then beyond what is allowed."""
        for number in itertools.count():
            name = f"web-{number % DEPLOYMENTS}"
            client.put(f"/api/v1/deployments/{name}/replicas", json={"replicaCount": number % 5 + 1})
            yield
            client.post(f"/deployments/{name}/replicas", json={"replicaCount": number % 7 + 1})
            yield
            if number % 10 == 0:
                assert client.post(f"/deployments/{name}/replicas", json={"replicaCount": -1}).status_code == 400
            yield

    def _operate(self, _: KdmProcess, client: httpx.Client) -> Iterator[None]:
        """Do what API v2 is for: park, ask for what an autoscaler takes back, and change several at once."""
        here = f"/api/v2/namespaces/{self._namespace}/deployments"
        for number in itertools.count():
            # Parking looks the Deployment up in the cluster itself, which may be cut off just then.
            parked = client.post(f"{here}/parked/park", json={})
            assert parked.status_code == 200 or parked.json()["code"] == "cluster-unreachable", parked.text
            yield
            refused = client.put(f"{here}/owned/replicas", json={"replicas": 9})
            assert (refused.status_code, refused.json()["code"]) == (409, "owner-conflict"), refused.text
            yield
            items = [{"namespace": self._namespace, "name": f"web-{each}"} for each in range(3)]
            client.post("/api/v2/scale", json={"items": items, "replicas": number % 3 + 1})
            for _pause in range(20):
                yield

    def _err(self, kdm: KdmProcess, client: httpx.Client) -> Iterator[None]:
        """Ask for what is not there, without a certificate, with a stranger's, and for what one may not do."""
        body = {"replicaCount": 2}
        for _ in itertools.count():
            assert client.get("/deployments/none/replicas").status_code == 404
            assert client.get("/nowhere").status_code == 404
            yield
            with kdm.client("dev-viewer") as viewer:
                assert viewer.put("/api/v1/deployments/web-0/replicas", json=body).status_code == 403
            yield
            for name in (None, "dev-stranger"):
                with contextlib.suppress(httpx.TransportError, ssl.SSLError), kdm.client(name) as stranger:
                    stranger.get("/deployments")
                yield
            for _ in range(20):
                yield
