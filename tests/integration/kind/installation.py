"""kdm as an operator installs it: certificates by `kdm certs`, Secrets, the chart, and clients from outside."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
from kubernetes import client, config

from integration.kdm_process import wait_until
from integration.workloads import deployment

from .cluster import KindCluster
from .helm import Release
from .load import Load

__all__ = ["POLICY", "READ", "SHOP", "WRITTEN", "Installation", "is_serving"]

NAMESPACE: Final = "kdm"
SHOP: Final = "shop"
"""The namespace of the Deployments that kdm is asked about."""
READ: Final = "read-under-load"
WRITTEN: Final = "written-under-load"

POLICY: Final = """\
version = 1

[[grant]]
name = "administrators"
groups = ["kdm:admins"]
verbs = ["read", "scale"]
namespaces = ["*"]
replicas = { allow_zero = true }
"""

TIMEOUT_S: Final = 60.0


class Installation:
    """A release of two kdm Pods behind a NodePort, and what their clients need.

    Attributes:
        cluster: Where.
        release: The chart's. Upgrade it, with `values` or without.
        url: Of the Service, on the control plane's node.
    """

    def __init__(self, kind: KindCluster, image: str) -> None:
        """Describe it; `install` makes it.

        Args:
            kind: With nodes that have the image.
            image: kdm's, with its tag.
        """
        self.cluster = kind.access
        self._kind = kind
        # The control plane's node stays whatever becomes of the workers, and answers for Pods wherever they are.
        self._address = next(iter(kind.nodes().values()))
        configuration = client.Configuration()
        config.load_kube_config(str(kind.kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
        self._api = client.ApiClient(configuration)
        self._pki = self.cluster.directory / "kdm-pki"
        repository, _, tag = image.rpartition(":")
        self.release = Release(
            self.cluster,
            NAMESPACE,
            {
                "image": {"repository": repository, "tag": tag},
                # A client's connections are spread: each Pod gets some of those that never end.
                "service": {"type": "NodePort", "sessionAffinity": "None"},
                "tls": {
                    "existingSecret": "kdm-server",
                    "clientCa": {"existingSecret": "kdm-clients"},
                    "crl": {"existingSecret": "kdm-clients"},
                },
                "policy": {"toml": POLICY},
                "tests": {"clientSecret": "kdm-admin"},
            },
        )
        self.url = ""

    def install(self) -> None:
        """Make certificates, Secrets, the Deployments to ask about, and the release; return when all is Ready."""
        self._certs("init", "--san=kdm.kdm.svc", f"--san={self._address}")
        self._certs("issue", "--cn=viewer")
        for namespace in (NAMESPACE, SHOP):
            self.cluster.kubectl("create", "namespace", namespace)
        self.apply_server_secret()
        self._apply_secret("kdm-clients", {"ca.crt": "ca.pem", "crl.pem": "crl.pem"})
        self._apply_secret("kdm-admin", {"tls.crt": "admin.pem", "tls.key": "admin-key.pem", "ca.crt": "ca.pem"})
        for name in (READ, WRITTEN):
            self.deploy(name, scheduled=False)
        self.release.upgrade()
        service = self.kubectl("get", "service/kdm", "--output=json")
        self.url = f"https://{self._address}:{json.loads(service)['spec']['ports'][0]['nodePort']}"
        with self.client() as client:  # kube-proxy needs a moment to learn of the Service
            wait_until(lambda: _answers(client), TIMEOUT_S)

    def deploy(self, name: str, *, scheduled: bool = True) -> None:
        """Create a Deployment of one Pod in the shop.

        Args:
            name: Its name.
            scheduled: Whether its Pods ever run. Those that do not cost the machine nothing.
        """
        manifest = deployment(name, 1)
        pod = manifest["spec"]["template"]["spec"]
        if not scheduled:
            pod["schedulerName"] = "nobody"
        self.cluster.kubectl("apply", "--namespace", SHOP, "--filename=-", input=json.dumps(manifest))

    def issue(self, name: str) -> None:
        """Make a client's certificate, and put it into a Secret called after it: `kdm-NAME`."""
        self._certs("issue", f"--cn={name}")
        files = {"tls.crt": f"{name}.pem", "tls.key": f"{name}-key.pem", "ca.crt": "ca.pem"}
        self._apply_secret(f"kdm-{name}", files)

    def renew_server_certificate(self) -> None:
        """Make a new server's certificate and key, and put them into the Secret."""
        self._certs("renew", "server")
        self.apply_server_secret()

    def apply_server_secret(self) -> None:
        """Write the server's certificate into its Secret."""
        self._apply_secret("kdm-server", {"tls.crt": "server.pem", "tls.key": "server-key.pem"})

    def server_certificate(self) -> str:
        """Return the server's certificate as it is on disk, PEM."""
        return (self._pki / "server.pem").read_text()

    def server_files(self) -> tuple[Path, Path]:
        """Return the server's certificate and its private key."""
        return self._pki / "server.pem", self._pki / "server-key.pem"

    def tls(self, name: str = "admin") -> ssl.SSLContext:
        """Trust the server, and show a client's certificate."""
        context = ssl.create_default_context(cafile=str(self._pki / "ca.pem"))
        context.load_cert_chain(self._pki / f"{name}.pem", self._pki / f"{name}-key.pem")
        return context

    def client(self, name: str = "admin") -> httpx.Client:
        """A client outside of the cluster, of the Service."""
        return httpx.Client(base_url=self.url, verify=self.tls(name), trust_env=False, timeout=10)

    def load(self) -> Load:
        """Clients that do not stop asking, once entered."""
        return Load(self.url, self.tls(), namespace=SHOP, read=READ, written=WRITTEN)

    def kubectl(self, *args: str) -> str:
        """Run kubectl in the release's namespace."""
        return self.cluster.kubectl(*args, f"--namespace={NAMESPACE}", timeout_s=TIMEOUT_S + 30)

    def pods(self) -> dict[str, dict[str, Any]]:
        """Return kdm's Pods by name, those that are about to end too."""
        # Tests ask often while they wait, and this costs a fraction of what kubectl does.
        path, query = f"/api/v1/namespaces/{NAMESPACE}/pods", [("labelSelector", "app.kubernetes.io/component=server")]
        accept = {"Accept": "application/json"}
        request = self._api.param_serialize("GET", path, query_params=query, header_params=accept)
        answer = self._api.call_api(*request).read()  # type: ignore[no-untyped-call]
        return {pod["metadata"]["name"]: pod for pod in json.loads(answer)["items"]}

    def serving(self) -> dict[str, str]:
        """Return the addresses of the Pods that are Ready and shall stay, by their names."""
        return {name: pod["status"]["podIP"] for name, pod in self.pods().items() if is_serving(pod)}

    def wait_for_pods(
        self, condition: Callable[[dict[str, dict[str, Any]]], bool], timeout_s: float = TIMEOUT_S
    ) -> None:
        """Wait until kdm's Pods, by name, are as they should be.

        Raises:
            TimeoutError: They were not in time.
        """
        wait_until(lambda: condition(self.pods()), timeout_s)

    def wait_settled(self, timeout_s: float = TIMEOUT_S, count: int = 2) -> None:
        """Wait until there are so many Pods, Ready, and none that ends."""
        self.wait_for_pods(lambda pods: len(pods) == count and all(map(is_serving, pods.values())), timeout_s)

    def replace(self, name: str) -> None:
        """Delete a Pod as `kubectl delete` does, and wait until another serves in its place."""
        self.kubectl("delete", "pod", name, "--wait=false")
        self.wait_for_pods(lambda pods: name not in pods)
        self.wait_settled()

    def spread(self) -> dict[str, dict[str, Any]]:
        """Have one Pod on each worker, and return them by their nodes."""
        if len(crowded := self.nodes()) == 1:
            self.cluster.kubectl("cordon", *crowded)
            self.replace(next(iter(self.pods())))
            self.cluster.kubectl("uncordon", *crowded)
        found = {pod["spec"]["nodeName"]: pod for pod in self.pods().values()}
        assert len(found) == 2, found.keys()
        return found

    def nodes(self) -> set[str]:
        """Return the nodes that its Pods run on."""
        return {pod["spec"]["nodeName"] for pod in self.pods().values()}

    def is_sent_to(self, address: str) -> bool:
        """Ask the packet filter of the node that clients connect to whether the Service still leads to a Pod."""
        rules = self._kind.run(next(iter(self._kind.nodes())), "iptables-save", "-t", "nat").splitlines()
        return any(rule.startswith("-A KUBE-SVC-") and f"-> {address}:" in rule for rule in rules)

    def ask_pod(self, address: str, method: str, path: str, body: object = None, user: str = "admin") -> httpx.Response:
        """Ask one Pod, past the Service and without the cluster's help."""
        host, port = self._kind.forward(address, 8443)
        with httpx.Client(verify=self.tls(user), trust_env=False, timeout=10) as client:
            url = f"https://{host}:{port}{path}"
            return client.request(method, url, json=body, extensions={"sni_hostname": "localhost"})

    def shown_certificate(self, address: str) -> str:
        """Return the certificate one Pod shows, PEM."""
        return ssl.get_server_certificate(self._kind.forward(address, 8443)).strip()

    def _certs(self, command: str, *args: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "kdm_cli", "certs", command, str(self._pki), *args],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def _apply_secret(self, name: str, files: Mapping[str, str]) -> None:
        content = {key: (self._pki / file).read_text() for key, file in files.items()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": content}
        self.cluster.kubectl("apply", "--namespace", NAMESPACE, "--filename=-", input=json.dumps(secret))


def is_serving(pod: dict[str, Any]) -> bool:
    """Tell whether a Pod is Ready and shall stay."""
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False
