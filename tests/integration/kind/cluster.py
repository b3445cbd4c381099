"""A kind cluster: made, loaded with images and deleted by the real `kind`, whose failures are told in words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from integration.containers.engine import Engine
from integration.controlplane import binaries
from integration.controlplane.access import Cluster, KubectlFailed
from integration.kdm_process import wait_until

__all__ = ["KindCluster", "KindFailed"]

READY_WITHIN_S: Final = 300
FORWARDED_FROM: Final = 20000
"""The first port of those that a node forwards to Pods: above what it listens on, below NodePorts."""
API_SERVER: Final = "/etc/kubernetes/manifests/kube-apiserver.yaml"
API_SERVER_ASIDE: Final = "/etc/kubernetes/kube-apiserver.yaml"
_NAT: Final = ("iptables", "-t", "nat", "-A")

# What kind or Docker says -> what it means.
REASONS: Final = {
    "unable to apply caps": "this machine's Docker may not run privileged containers, and kind's nodes are such: "
    "it lacks a capability itself (CAP_SYS_RESOURCE, as a rule), being a container without it",
    "failed to pull image": "kind's node image could not be pulled; KIND_IMAGE=... names one that is there",
    "No space left on device": "the disk is full",
    "could not find a log line that matches": "the node started and its systemd did not come up",
}

KUBELET: Final = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "failCgroupV1": False,  # kind runs on both
    # How often a Pod's Secrets and ConfigMaps are compared with its volumes: tests wait for it. They are asked for:
    # watches come back half a minute after an API server that was away.
    "syncFrequency": "2s",
    "configMapAndSecretChangeDetectionStrategy": "Get",
    "fileCheckFrequency": "1s",  # a static Pod's manifest, where nothing tells of its change
    "nodeLeaseDurationSeconds": 12,  # renewed each quarter of it
}
# Tests wait for a node to be missed (after 50 s by default), and for an autoscaler (15 s, and 5 minutes to scale down).
CONTROLLERS: Final = {
    "node-monitor-grace-period": "20s",
    "horizontal-pod-autoscaler-sync-period": "2s",
    "horizontal-pod-autoscaler-downscale-stabilization": "1s",
}
KUBEADM: Final = {
    "apiVersion": "kubeadm.k8s.io/v1beta4",
    "kind": "ClusterConfiguration",
    "controllerManager": {"extraArgs": [{"name": name, "value": value} for name, value in CONTROLLERS.items()]},
}


class KindFailed(Exception):
    """kind, or Docker under it, could not; the message says what that means and ends with their own words."""


class KindCluster:
    """A cluster by its name. What it keeps is a Docker container of each node, and a kubeconfig file.

    Attributes:
        access: For kubectl, and for whoever asks the API server.
    """

    def __init__(self, engine: Engine, name: str, kubeconfig: Path) -> None:
        """Describe it; nothing is made yet.

        Args:
            engine: Where its nodes run.
            name: Of the cluster.
            kubeconfig: Where its administrator's kubeconfig is written; the user's own stays as it is.
        """
        self.name = name
        self.access = Cluster(kubeconfig, binaries.find("kubectl")["kubectl"], kubeconfig.parent)
        self._engine = engine
        self._forwarded: dict[tuple[str, int], int] = {}

    @property
    def kubeconfig(self) -> Path:
        """Its administrator's kubeconfig."""
        return self.access.kubeconfig

    def exists(self) -> bool:
        return self.name in self.names()

    def names(self) -> list[str]:
        """Return the names of all kind clusters that its engine has."""
        return self._kind("get", "clusters").splitlines()

    def create(self, image: str = "", workers: int = 0) -> None:
        """Make it and wait until its nodes are Ready and Services' names can be looked up. A failure leaves nothing.

        Args:
            image: The nodes'; kind's own default if empty.
            workers: How many nodes it has beside the control plane.

        Raises:
            KindFailed: It could not be made.
        """
        options = [f"--image={image}"] if image else []
        roles = ["control-plane", *["worker"] * workers]
        config = {
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "kind": "Cluster",
            "nodes": [{"role": role} for role in roles],
            "kubeadmConfigPatches": [json.dumps(KUBELET), json.dumps(KUBEADM)],
        }
        try:
            self._kind("create", "cluster", *self._place(), "--config=-", *options, stdin=json.dumps(config))
            self._wait_ready()
        except BaseException:
            self.delete()
            raise

    def connect(self) -> None:
        """Write the kubeconfig of a cluster that exists."""
        self._kind("export", "kubeconfig", *self._place())

    def load(self, image: str, *nodes: str) -> None:
        """Give an image to these nodes, or to all, which then need not pull it."""
        self._kind("load", "docker-image", image, f"--name={self.name}", *(f"--nodes={node}" for node in nodes))

    def delete(self) -> None:
        """Delete it and its kubeconfig, whether it exists or not."""
        self._kind("delete", "cluster", *self._place())
        for leftover in (self.kubeconfig, self.kubeconfig.with_name(f"{self.kubeconfig.name}.lock")):
            leftover.unlink(missing_ok=True)

    def nodes(self) -> dict[str, str]:
        """Return its nodes' addresses, which this machine reaches, by their names: the control plane's first."""
        names = sorted(self._kind("get", "nodes", f"--name={self.name}").split())
        address = "--format={{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return {name: self._engine.docker("container", "inspect", address, name).strip() for name in names}

    def run(self, node: str, *command: str) -> str:
        """Run a command on a node and return its standard output.

        Raises:
            EngineFailed: It ended with an error.
        """
        return self._engine.docker("exec", node, *command)

    def forward(self, address: str, port: int) -> tuple[str, int]:
        """Have the control plane's node forward connections to a Pod, whatever becomes of the API server.

        Args:
            address: The Pod's.
            port: Its TCP port.

        Returns:
            An address and a port that this machine reaches.
        """
        node, via = next(iter(self.nodes().items()))
        if (address, port) not in self._forwarded:
            local = FORWARDED_FROM + len(self._forwarded)
            tcp = ("-p", "tcp", "--dport")
            self.run(node, *_NAT, "PREROUTING", "-d", via, *tcp, str(local), "-j", "DNAT", f"--to={address}:{port}")
            # The answer has to come back this way.
            self.run(
                node,
                *_NAT,
                "POSTROUTING",
                "-d",
                address,
                *tcp,
                str(port),
                "-m",
                "conntrack",
                "--ctorigdst",
                via,
                "-j",
                "MASQUERADE",
            )
            self._forwarded[address, port] = local
        return via, self._forwarded[address, port]

    def stop(self, node: str) -> None:
        """Take a node's power away. Nothing on it is told, and nobody gets a last packet from it."""
        self.run(node, "ip", "link", "set", "eth0", "down")
        self._engine.docker("kill", node)

    def start(self, node: str) -> None:
        """Boot a node that was stopped."""
        self._engine.docker("start", node)

    def kill(self, node: str, container: str) -> None:
        """Kill what runs in one container, as a crash does, and wait until it is gone: its port takes no connection.

        Args:
            node: Where it runs.
            container: As a Pod's status names it: `containerd://...`.
        """
        inspect = ("crictl", "inspect", "--output=go-template", "--template={{.info.pid}}")
        pid = self.run(node, *inspect, container.removeprefix("containerd://")).strip()
        gone = f"kill -9 {pid} && while kill -0 {pid} 2>/dev/null; do sleep 0.01; done"
        self.run(node, "timeout", "10", "sh", "-c", gone)

    def stop_api_server(self) -> None:
        """Kill the API server, and keep it from being started again."""
        node = next(iter(self.nodes()))
        self.run(node, "mv", API_SERVER, API_SERVER_ASIDE)
        self.run(node, "pkill", "-KILL", "kube-apiserver")

    def start_api_server(self) -> None:
        """Have it run again, and wait until it is ready; no effect if it was not stopped."""
        node = next(iter(self.nodes()))
        self.run(node, "sh", "-c", f"if [ -e {API_SERVER_ASIDE} ]; then mv {API_SERVER_ASIDE} {API_SERVER}; fi")
        wait_until(self._api_server_answers, READY_WITHIN_S)

    def _api_server_answers(self) -> bool:
        try:
            self.access.kubectl("get", "--raw=/readyz")
        except KubectlFailed:
            return False
        return True

    def _wait_ready(self) -> None:
        within = f"--timeout={READY_WITHIN_S}s"
        self.access.kubectl("wait", "node", "--all", "--for=condition=Ready", within, timeout_s=READY_WITHIN_S + 10)
        for kind in ("daemonset", "deployment"):
            listed = self.access.kubectl("get", kind, "--namespace=kube-system", "--output=name").split()
            for name in listed:
                rollout = ("rollout", "status", name, "--namespace=kube-system", within)
                self.access.kubectl(*rollout, timeout_s=READY_WITHIN_S + 10)

    def _place(self) -> list[str]:
        return [f"--name={self.name}", f"--kubeconfig={self.kubeconfig}"]

    def _kind(self, *args: str, stdin: str = "") -> str:
        """Run kind, showing what it says as it says it, and return its standard output."""
        child = subprocess.Popen(
            [binaries.built("kind"), *args],
            env=self._engine.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        with child:
            child.stdin.write(stdin)
            child.stdin.close()
            said = []
            for line in child.stderr:  # a page of standard output at most, which fits the pipe
                said.append(line)
                print(f"kind: {line}", end="", file=sys.stderr, flush=True)
            output = child.stdout.read()
        if child.returncode:
            raise KindFailed(_explain("".join(said)))
        return output


def _explain(words: str) -> str:
    words = words.strip()
    last = next((line for line in reversed(words.splitlines()) if "rror" in line), words)
    return next((f"{reason}\n({last})" for sign, reason in REASONS.items() if sign in words), words)
