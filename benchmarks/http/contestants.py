"""Who is measured: each service's name and command line, and how it is started."""

from __future__ import annotations

import os
import re
import ssl
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from benchmarks.http.cores import Layout
from benchmarks.http.load import Client
from integration.controlplane import binaries
from integration.controlplane.process import Process
from integration.edge.pki import Pki
from kdm_cli.settings import IGNORED_PREFIXES, PREFIX

__all__ = ["ALL", "BARE", "GO", "INFORMER", "KDM", "RAW", "READS_THROUGH", "Certificates", "Server", "Services"]

KDM = "kdm"
GO = "Go, client-go"
INFORMER = "Litestar, kubernetes.informer"
READS_THROUGH = "Litestar, reads through"
RAW = "raw ASGI"
BARE = "bare TLS"
ALL = (KDM, RAW, GO, INFORMER, READS_THROUGH)
"""The limit next to kdm: what is compared most is measured closest in time."""

ROOT = Path(__file__).parents[2]
GO_SOURCE = ROOT / "benchmarks" / "peers" / "go"
MODULES = {
    BARE: "benchmarks.peers.bare",
    RAW: "benchmarks.peers.raw_asgi",
    INFORMER: "benchmarks.peers.informer",
    READS_THROUGH: "benchmarks.peers.reads_through",
}
START_TIMEOUT_S = 240.0
POLL_S = 0.02

GROUP = "on-call"
POLICY = f"""\
version = 1

[[grant]]
name = "dashboards"
users = ["grafana"]
verbs = ["read"]
namespaces = ["*"]

[[grant]]
name = "on call"
groups = ["{GROUP}"]
verbs = ["read", "scale"]
namespaces = ["*"]
replicas = {{ allow_zero = true }}

[[grant]]
name = "the deployer"
spiffe = ["spiffe://example.org/ns/ci/sa/deployer"]
verbs = ["read", "scale"]
namespaces = ["team-0*"]
replicas = {{ max = 50 }}
"""
UNBOUNDED = {
    "limit-requests-per-s": "1e9",
    "limit-requests-burst": "1000000000",
    "limit-connections-per-identity": "1024",
    "max-replicas": "1000000",
}
"""One client asks more than kdm lets one client ask by default."""


class Certificates:
    """A CA for servers and clients, and kdm's policy for the latter, in a directory."""

    def __init__(self, directory: Path) -> None:
        self._pki = Pki(directory / "pki")
        self._pki.issue("client", GROUP)
        self.certificate, self.key = self._pki.path / "server.pem", self._pki.path / "server-key.pem"
        self.ca, self.crl = self._pki.path / "ca.pem", self._pki.path / "crl.pem"
        self.policy = directory / "policy.toml"
        self.policy.write_text(POLICY)
        self.client = Client(self._pki.path / "client.pem", self._pki.path / "client-key.pem", self.ca)

    def context(self) -> ssl.SSLContext:
        """Make the client's context."""
        return self._pki.context("client")


@dataclass(frozen=True)
class Server:
    """A service that runs.

    Attributes:
        name: Whose.
        address: Its host and port.
        pid: Its process.
        ops_url: Where kdm has its probes.
    """

    name: str
    address: str
    pid: int
    ops_url: str = ""


class Services:
    """Starts services, for one cluster.

    Args:
        kubeconfig: The cluster's.
        layout: Where they run.
        directory: Where their files may be.
    """

    def __init__(self, kubeconfig: Path, layout: Layout, directory: Path) -> None:
        self.certificates = Certificates(directory)
        self._kubeconfig = kubeconfig
        self._layout = layout
        self._directory = directory
        self._started = 0
        for name in [each for each in os.environ if each.startswith(PREFIX) and not each.startswith(IGNORED_PREFIXES)]:
            del os.environ[name]  # kdm is measured as its flags say

    @contextmanager
    def run(self, name: str, kubeconfig: Path | None = None) -> Iterator[Server]:
        """Run a service until the context ends. It accepts connections inside, and may know nothing yet.

        Args:
            name: Which.
            kubeconfig: Another way to the cluster.

        Raises:
            AssertionError: It did not start; the message has the end of its log.
        """
        self._started += 1
        log = self._directory / f"{self._started}.log"
        process = Process(self._layout.under_load(self._command(name, kubeconfig or self._kubeconfig)), log)
        process.start()
        try:
            yield self._server(name, process)
        finally:
            process.stop()

    @contextmanager
    def run_all(self, names: Sequence[str], one: str, objects: int) -> Iterator[Mapping[str, Server]]:
        """Run services side by side; inside, all of them know all Deployments and give the same answers.

        Args:
            names: Which. kdm has to be among them, for the limit answers what it does.
            one: A path of one Deployment.
            objects: How many Deployments there are.
        """
        servers: dict[str, Server] = {}
        with ExitStack() as stack:
            for name in sorted(names, key=lambda each: each != KDM):
                server = servers[name] = stack.enter_context(self.run(name))
                found = self.wait_complete(server, one, objects)
                if name == KDM:
                    self._remember(found)
                elif found != self._remembered():
                    raise AssertionError(f"{name} answers something else than kdm")
            yield {name: servers[name] for name in names}

    def wait_complete(self, server: Server, one: str, objects: int) -> tuple[bytes, bytes]:
        """Wait until a service knows all Deployments; return its answers to the path of one and to that of all."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        with httpx.Client(
            base_url=f"https://{server.address}", verify=self.certificates.context(), trust_env=False, timeout=120
        ) as client:
            while True:
                first = client.get(one)
                if first.status_code == 200:
                    everything = client.get("/api/v1/deployments")
                    if everything.status_code == 200 and len(everything.json()) == objects:
                        return first.content, everything.content
                if time.monotonic() > deadline_s:
                    raise AssertionError(f"{server.name} does not answer for {objects} Deployments: {first.text[:500]}")
                time.sleep(POLL_S)

    def _server(self, name: str, process: Process) -> Server:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while process.running and time.monotonic() < deadline_s:
            told = process.log_tail()
            urls = re.findall(r"https?://[\w.:]+", told)
            api = next((url for url in urls if url.startswith("https:")), "")
            ops = next((url for url in urls if url.startswith("http:")), "")
            if api and (ops or name != KDM):
                assert process.pid is not None
                return Server(name, f"127.0.0.1:{urlsplit(api).port}", process.pid, ops)
            time.sleep(POLL_S)
        raise AssertionError(f"{name} did not start:\n{process.log_tail()}")

    def _command(self, name: str, kubeconfig: Path) -> list[str]:
        own = self.certificates
        if name == KDM:
            options = {
                "repository": "kubernetes", "kubeconfig": kubeconfig, "host": "127.0.0.1", "port": 0, "ops-port": 0,
                "tls-cert": own.certificate, "tls-key": own.key, "tls-client-ca": own.ca, "tls-client-crl": own.crl,
                "policy-file": own.policy, "audit-file": self._directory / "audit.jsonl", "log-format": "json",
                **UNBOUNDED,
            }  # fmt: skip
            # What developers have installed beside it is not kdm's: some libraries load whatever they find.
            python = binaries.environment("runtime", ROOT / "requirements" / "runtime.txt")
            program = ["env", f"PYTHONPATH={ROOT / 'src'}", str(python), "-m", "kdm_cli", "serve"]
            return [*program, *(f"--{key}={value}" for key, value in options.items())]
        options = {"cert": own.certificate, "key": own.key, "client-ca": own.ca}
        if name in {RAW, BARE}:
            options |= {"one": self._directory / "one", "many": self._directory / "many", "client-crl": own.crl}
        else:
            options |= {"kubeconfig": kubeconfig}
        if name == GO:
            program = [str(binaries.build(GO_SOURCE, {"service": "."}) / "service")]
        else:
            program = [sys.executable, "-m", MODULES[name]]
        return [*program, *(f"--{key}={value}" for key, value in options.items())]

    def _remember(self, answers: tuple[bytes, bytes]) -> None:
        for name, content in zip(("one", "many"), answers, strict=True):
            (self._directory / name).write_bytes(content)

    def _remembered(self) -> tuple[bytes, bytes]:
        return (self._directory / "one").read_bytes(), (self._directory / "many").read_bytes()
