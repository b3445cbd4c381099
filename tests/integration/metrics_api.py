"""A metrics API for the autoscaler, as metrics-server serves it: it says of Pods what the test wants."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from integration.controlplane.access import Cluster
from integration.kdm_process import wait_until

__all__ = ["MetricsApi"]

GROUP: Final = "metrics.k8s.io"
VERSION: Final = "v1beta1"
ROOT: Final = f"/apis/{GROUP}/{VERSION}"
NAMESPACE: Final = "kube-system"


class MetricsApi:
    """Served by this process, and announced to a cluster, for as long as the context lasts.

    Args:
        cluster: Which.
        node: The address of a node of it. This machine is reached by the address that it has towards that: by loopback
            where the API server runs here.
        certificate: The server's, PEM. The cluster is told not to check it.
        key: Its private key.
        pods: The names of the Pods to speak of, in whatever namespace is asked for.
        container: Which of their containers.

    Attributes:
        millicores: What each of them uses of the CPU.
    """

    def __init__(
        self, cluster: Cluster, node: str, certificate: Path, key: Path, pods: Callable[[], list[str]], container: str
    ) -> None:
        self.millicores = 0
        self._cluster = cluster
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as towards:
            towards.connect((node, 9))
            address = towards.getsockname()[0]

        def answer(path: str) -> object:
            if path == ROOT:
                return _kinds()
            if path.startswith(f"{ROOT}/namespaces/") and path.endswith("/pods"):
                return _metrics(pods(), container, self.millicores)
            return None

        self._server = ThreadingHTTPServer((address, 0), _handler(answer))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics-api")
        items = _objects(address, self._server.server_port)
        self._objects = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._cluster.kubectl("apply", "--filename=-", input=self._objects)
            wait_until(lambda: "True" in self._cluster.kubectl("get", "apiservice", f"{VERSION}.{GROUP}"), 60)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._cluster.kubectl("delete", "--filename=-", "--ignore-not-found", input=self._objects)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(answer: Callable[[str], object]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found = answer(self.path.partition("?")[0])
            missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}
            body = json.dumps(found or missing).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the library has it
            pass

    return Handler


def _kinds() -> object:
    pods = {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}", "resources": [pods]}


def _metrics(pods: list[str], container: str, millicores: int) -> object:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    usage = {"cpu": f"{millicores}m", "memory": "64Mi"}
    items = [
        {
            "metadata": {"name": name},
            "timestamp": now,
            "window": "1s",
            "containers": [{"name": container, "usage": usage}],
        }
        for name in pods
    ]
    return {"kind": "PodMetricsList", "apiVersion": f"{GROUP}/{VERSION}", "metadata": {}, "items": items}


def _objects(address: str, port: int) -> list[dict[str, Any]]:
    metadata = {"name": "metrics", "namespace": NAMESPACE}
    service: dict[str, Any] = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
    where: list[dict[str, Any]]
    if ip_address(address).is_loopback:  # which no endpoint may have; nor does anybody play kube-proxy there
        where = [service | {"spec": {"type": "ExternalName", "externalName": address}}]
    else:
        endpoints = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": "metrics"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            "ports": [{"port": port, "protocol": "TCP"}],
        }
        where = [service | {"spec": {"ports": [{"port": 443}]}}, endpoints]
    named = metadata | ({"port": port} if len(where) == 1 else {})
    return [
        *where,
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"{VERSION}.{GROUP}"},
            "spec": {
                "group": GROUP,
                "version": VERSION,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
                "service": named,
            },
        },
    ]
