"""A Kubernetes control plane of our own, which tests may kill, freeze and restart."""

from __future__ import annotations

import base64
import json
import random
import shutil
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from uuid import uuid4

import httpx

from . import binaries, kubeconfig
from .access import Cluster
from .pki import Authority, service_account_keys
from .process import Process

__all__ = ["ControlPlane", "StartFailed", "free_ports"]

LOOPBACK = "127.0.0.1"
START_ATTEMPTS = 3
POLL_S = 0.05
READY_TIMEOUT_S = 60.0  # about 4 s on an idle machine
REQUEST_TIMEOUT_S = 5.0
SERVICES = "10.0.0.0/24"
KUBERNETES_SERVICE = "10.0.0.1"  # always the range's first
NODE = "node-0"
STAGES = Path(__file__).with_name("stages.yaml")
# Below the ephemeral range of every common kernel, so that no outgoing connection takes the port of a component that is
# down for a moment; and below the NodePorts.
PORTS = range(20_000, 30_000)


class StartFailed(Exception):
    """A component ended early or did not become ready; the message carries the ends of the logs."""


class ControlPlane(Cluster):
    """etcd and kube-apiserver, and on request what makes Deployments run, on loopback ports of its own.

    A context manager: it is ready inside and leaves nothing behind, whatever a test did to it. Each component is a
    `Process` that keeps its port and its data over `stop`, `kill` and `start`; call `wait_ready` afterwards. RBAC is
    on. Every process dies with the one that started it.

    Attributes:
        etcd: The store. Without it the API server answers, with errors.
        apiserver: The API server.
        controllers: kube-controller-manager, kube-scheduler and kwok by name, or nothing.
        port: The API server's.
        authority: Whose certificates the API server trusts.
    """

    def __init__(
        self,
        *,
        controllers: bool = False,
        apiserver_flags: Sequence[str] = (),
        directory: Path | None = None,
    ) -> None:
        """Describe a control plane, and build its programs where they are missing, which takes minutes.

        Args:
            controllers: Whether Deployments get Pods that become Ready, on one node that kwok plays. Otherwise objects
                are stored and nothing acts on them, which is much cheaper when there are thousands.
            apiserver_flags: More flags for kube-apiserver.
            directory: Where to keep certificates, data and logs; the logs stay. By default a temporary one that goes.
        """
        names = ["etcd", "kube-apiserver", "kubectl"]
        if controllers:
            names += ["kube-controller-manager", "kube-scheduler", "kwok"]
        self._programs = binaries.find(*names)
        self._temporary = directory is None
        directory = directory or Path(tempfile.mkdtemp(prefix="kdm-controlplane-"))
        super().__init__(directory / "admin.kubeconfig", self._programs["kubectl"], directory)
        self._with_controllers = controllers
        self._apiserver_flags = tuple(apiserver_flags)
        self.authority = Authority()
        self._files = self._write_certificates()
        self._tls = ssl.create_default_context(cadata=self.authority.certificate.decode("ascii"))
        self._tls.load_cert_chain(*self._files["admin"])
        self.controllers: Mapping[str, Process] = {}
        self._choose_ports()

    def start(self) -> Self:
        """Start everything and return when it is ready.

        Raises:
            StartFailed: It is not.
        """
        for attempts_left in reversed(range(START_ATTEMPTS)):
            try:
                self._start()
                break
            except BaseException as exc:
                self._discard()
                # Another process may take a port between our look and our bind.
                if not (attempts_left and isinstance(exc, StartFailed) and "address already in use" in str(exc)):
                    self.stop()
                    raise
                self._choose_ports()
        return self

    def stop(self) -> None:
        """End every process and delete the data. Killing is enough: nothing of it is to be kept."""
        self._discard()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def kill(self) -> None:
        """Kill every process; the data stay."""
        for process in reversed(self._processes):
            process.kill()

    def restore(self) -> None:
        """Undo what a test did to the processes: thaw the frozen, start the ended, wait until it is ready."""
        for process in self._processes:
            if process.running:
                process.thaw()
            else:
                process.start()
        self.wait_ready()

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until the API server says it is ready.

        Raises:
            StartFailed: It did not within `timeout_s` seconds, or a process it needs has ended.
        """
        deadline_s = time.monotonic() + timeout_s
        needed = [self.etcd, self.apiserver]
        self._until_found("/readyz", needed, deadline_s)
        self._until_found("/api/v1/namespaces/default", needed, deadline_s)

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """Write a kubeconfig for a user who presents a client certificate; RBAC grants nothing to a new name."""
        path = self.directory / f"{user.replace('/', '_')}-{uuid4().hex[:6]}.kubeconfig"
        return self._write_kubeconfig(path, user, groups)

    def compact(self) -> int:
        """Make etcd forget every revision before the current one.

        The API server may still serve watches and lists at older resourceVersions, from its own cache: see
        `expire_history`.

        Returns:
            The oldest revision that is left.
        """
        revision = int(self._etcd("range", {"key": _base64("/")})["header"]["revision"])
        self._etcd("compaction", {"revision": revision, "physical": True})
        return revision

    def expire_history(self) -> int:
        """Restart the API server on a compacted etcd: every resourceVersion handed out before is now 410 Gone.

        Only a restart empties the watch cache, which would serve an old watch after the compaction.

        Returns:
            The oldest revision that is left.
        """
        self.apiserver.kill()
        self._etcd("put", {"key": _base64("/kdm-test/expired")})  # so that the last version handed out is old too
        revision = self.compact()
        self.apiserver.start()
        self.wait_ready()
        return revision

    def back_up(self, directory: Path) -> Path:
        """Take a backup of etcd while it is stopped; the API server goes on afterwards.

        Args:
            directory: Where to put it.

        Returns:
            What `restore_backup` takes.
        """
        self.etcd.stop()
        backup = shutil.copytree(self.directory / "etcd", directory / f"backup-{uuid4().hex[:6]}")
        self.etcd.start()
        self.wait_ready()
        return backup

    def restore_backup(self, backup: Path) -> None:
        """Go back to a backup as the Kubernetes documentation asks: API server stopped, etcd restored, all started."""
        self.apiserver.kill()
        self.etcd.kill()
        shutil.rmtree(self.directory / "etcd")
        shutil.copytree(backup, self.directory / "etcd")
        self.etcd.start()
        self.apiserver.start()
        self.wait_ready()

    @contextmanager
    def another_apiserver(self) -> Iterator[tuple[Process, int]]:
        """Run a second API server on the same etcd.

        Yields:
            It, ready, and its port.
        """
        port = free_ports(1)[0]
        process = self._apiserver_process(port, "kube-apiserver-2")
        process.start()
        try:
            self.wait_ready_at(process, port)
            yield process, port
        finally:
            process.kill()

    def wait_ready_at(self, apiserver: Process, port: int, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until an API server on this port says it is ready."""
        self._until_found("/readyz", [self.etcd, apiserver], time.monotonic() + timeout_s, port)

    @property
    def _processes(self) -> list[Process]:
        return [self.etcd, self.apiserver, *self.controllers.values()]

    def _discard(self) -> None:
        self.kill()
        shutil.rmtree(self.directory / "etcd", ignore_errors=True)

    def _choose_ports(self) -> None:
        """Decide the ports, and with them every command line."""
        self.port, self._etcd_port, peer_port = free_ports(3)
        self._write_kubeconfig(self.kubeconfig, "admin", ["system:masters"])
        self.etcd = self._etcd_process(self._etcd_port, peer_port)
        self.apiserver = self._apiserver_process()
        if self._with_controllers:
            self.controllers = {process.name: process for process in self._controller_processes()}

    def _start(self) -> None:
        self.etcd.start()
        self.apiserver.start()
        self.wait_ready()
        if self.controllers:
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
            self.kubectl("apply", "-f", "-", input=json.dumps(node))
            for process in self.controllers.values():
                process.start()
            # Pods are refused until the controller manager has made their service account.
            account = "/api/v1/namespaces/default/serviceaccounts/default"
            self._until_found(account, self._processes, time.monotonic() + READY_TIMEOUT_S)
            self.kubectl("wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=60s", timeout_s=90)

    def _until_found(self, path: str, needed: Sequence[Process], deadline_s: float, port: int | None = None) -> None:
        url = f"https://{LOOPBACK}:{port or self.port}{path}"
        answer = "nothing was asked"
        with httpx.Client(verify=self._tls, trust_env=False, timeout=REQUEST_TIMEOUT_S) as client:
            while time.monotonic() < deadline_s:
                if ended := [process for process in needed if not process.running]:
                    raise StartFailed(_logs(f"{ended[0].name} has ended", ended))
                try:
                    response = client.get(url)
                    if response.is_success:
                        return
                    answer = f"{response.status_code} {response.text}"
                except httpx.TransportError as exc:
                    answer = repr(exc)
                time.sleep(POLL_S)
        raise StartFailed(_logs(f"{url} did not answer in time, last: {answer}", needed))

    def _etcd(self, call: str, body: Mapping[str, object]) -> dict[str, dict[str, str]]:
        """Call etcd's JSON gateway."""
        url = f"http://{LOOPBACK}:{self._etcd_port}/v3/kv/{call}"
        response = httpx.post(url, json=body, trust_env=False, timeout=60)
        response.raise_for_status()
        answer: dict[str, dict[str, str]] = response.json()
        return answer

    def _write_kubeconfig(self, path: Path, user: str, groups: Sequence[str]) -> Path:
        server = f"https://{LOOPBACK}:{self.port}"
        identity = self.authority.issue_client(user, groups)
        return kubeconfig.with_certificate(path, server, self.authority.certificate, identity)

    def _write_certificates(self) -> dict[str, tuple[Path, Path]]:
        """Write certificate and key of each name; for `tokens`, the public key in place of a certificate."""
        hosts = ["localhost", LOOPBACK, "kubernetes.default.svc", KUBERNETES_SERVICE]
        serving = self.authority.issue_server(hosts)
        files = {
            "ca": self.authority.key_pair().write(self.directory, "ca"),
            "serving": serving.write(self.directory, "serving"),
            "admin": self.authority.issue_client("admin", ["system:masters"]).write(self.directory, "admin"),
            "tokens": (self.directory / "tokens.pub", self.directory / "tokens.key"),
        }
        private, public = service_account_keys()
        files["tokens"][0].write_bytes(public)
        files["tokens"][1].touch(mode=0o600)
        files["tokens"][1].write_bytes(private)
        return files

    def _process(self, name: str, **flags: object) -> Process:
        return self._process_with(name, [f"--{flag.replace('_', '-')}={value}" for flag, value in flags.items()])

    def _process_with(self, name: str, flags: Sequence[str], log: str = "") -> Process:
        return Process([str(self._programs[name]), *flags], self.directory / f"{log or name}.log")

    def _etcd_process(self, port: int, peer_port: int) -> Process:
        client, peer = f"http://{LOOPBACK}:{port}", f"http://{LOOPBACK}:{peer_port}"
        return self._process(
            "etcd",
            data_dir=self.directory / "etcd",
            listen_client_urls=client,
            advertise_client_urls=client,
            listen_peer_urls=peer,
            initial_advertise_peer_urls=peer,
            initial_cluster=f"default={peer}",
            unsafe_no_fsync="true",  # the machine's crash is the one thing these data need not survive
        )

    def _apiserver_process(self, port: int | None = None, log: str = "") -> Process:
        ca, (certificate, key) = self._files["ca"][0], self._files["serving"]
        public, private = self._files["tokens"]
        flags = {
            "etcd-servers": f"http://{LOOPBACK}:{self._etcd_port}",
            "bind-address": LOOPBACK,
            "advertise-address": LOOPBACK,  # else it looks for a default route, which a sealed machine lacks
            "endpoint-reconciler-type": "none",  # a loopback address is no endpoint
            "secure-port": port or self.port,
            "tls-cert-file": certificate,
            "tls-private-key-file": key,
            "client-ca-file": ca,
            "service-account-key-file": public,
            "service-account-signing-key-file": private,
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-cluster-ip-range": SERVICES,
            "authorization-mode": "RBAC",
            "shutdown-delay-duration": "0s",
        }
        return self._process_with(
            "kube-apiserver", [*(f"--{name}={value}" for name, value in flags.items()), *self._apiserver_flags], log
        )

    def _controller_processes(self) -> list[Process]:
        common = {"kubeconfig": self.kubeconfig, "leader_elect": "false", "secure_port": 0}  # port 0: none
        ca_certificate, ca_key = self._files["ca"]
        return [
            self._process(
                "kube-controller-manager",
                **common,
                service_account_private_key_file=self._files["tokens"][1],
                root_ca_file=ca_certificate,
                cluster_signing_cert_file=ca_certificate,
                cluster_signing_key_file=ca_key,
                horizontal_pod_autoscaler_sync_period="1s",  # by default every 15 s
                kube_api_qps=200,  # the default of 20 makes every test wait
                kube_api_burst=400,
            ),
            self._process("kube-scheduler", **common, kube_api_qps=200, kube_api_burst=400),
            self._kwok_process(),
        ]

    def _kwok_process(self) -> Process:
        return self._process(
            "kwok",
            kubeconfig=self.kubeconfig,
            config=STAGES,
            manage_all_nodes="true",
            node_lease_duration_seconds=40,  # as a kubelet: without a lease the node becomes NotReady
        )


def free_ports(count: int) -> list[int]:
    """Find ports nobody listens on. Somebody may a moment later: whoever binds them must be ready to ask again."""
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise StartFailed(f"fewer than {count} free ports in {PORTS}")


def _logs(reason: str, processes: Sequence[Process]) -> str:
    return "\n".join([reason, *(f"--- the end of {process.log}:\n{process.log_tail()}" for process in processes)])


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
