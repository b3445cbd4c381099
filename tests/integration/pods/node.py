"""A real node on this machine: kubelet, kube-proxy, a containerd of its own, and the DNS of Pods."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import sys
from pathlib import Path
from typing import Any, Final, Self, TextIO

from integration.controlplane import binaries
from integration.controlplane.access import KubectlFailed
from integration.controlplane.cluster import LOOPBACK, ControlPlane, free_ports
from integration.controlplane.process import Process

from . import machine
from .containerd import Containerd

__all__ = ["Node", "NodeFailed"]

NAME: Final = "node"
DIRECTORY: Final = Path("/var/lib/kdm-test-node")
LOCK: Final = Path("/run/kdm-test-node.lock")
BRIDGE: Final = "kdm-test0"
GATEWAY: Final = "10.77.0.1"
PROGRAMS: Final = ("coredns", "kube-proxy", "kubelet")
PODS: Final = "10.77.0.0/24"
CLUSTER_DOMAIN: Final = "cluster.local"
READY_TIMEOUT_S: Final = 60

_COREFILE: Final = f"""\
{CLUSTER_DOMAIN} {{
    bind {GATEWAY}
    errors
    kubernetes {CLUSTER_DOMAIN} {{
        kubeconfig {DIRECTORY / "coredns.kubeconfig"}
    }}
}}
"""


class NodeFailed(Exception):
    """The node cannot be, or did not become Ready; the message says why."""


class Node:
    """The one real node of a control plane; a context manager that leaves the machine as it was. Needs root.

    A node's parts are the machine's: its packet filter, an interface, control groups. So there is one at a time, and a
    second fails. What a killed run left behind is removed first.

        with Node(logs) as node, ControlPlane(controllers=True, gateway=node.gateway) as plane:
            node.join(plane)

    Attributes:
        gateway: The address of the bridge, which Pods and the machine itself reach.
        containerd: What runs the containers. Load images into it.
        kubelet: Runs once the node has joined.
        kube_proxy: Runs once the node has joined.
        dns: CoreDNS, in which Pods look up Services. Runs once the node has joined.
    """

    gateway: Final = GATEWAY

    def __init__(self, logs: Path) -> None:
        """Describe a node, and build its programs where they are missing, which takes minutes.

        Args:
            logs: The directory of its logs; they stay.
        """
        programs = binaries.find(*PROGRAMS)
        self._lock: TextIO | None = None
        self.containerd = Containerd(DIRECTORY, logs)
        self.kubelet = Process(
            [
                str(programs["kubelet"]),
                f"--config={DIRECTORY / 'kubelet.json'}",
                f"--kubeconfig={DIRECTORY / 'kubelet.kubeconfig'}",
                f"--hostname-override={NAME}",
                f"--node-ip={GATEWAY}",
                f"--root-dir={DIRECTORY / 'kubelet'}",
                f"--cert-dir={DIRECTORY / 'kubelet-pki'}",
            ],
            logs / "kubelet.log",
        )
        self.kube_proxy = Process(
            [str(programs["kube-proxy"]), f"--config={DIRECTORY / 'kube-proxy.json'}"], logs / "kube-proxy.log"
        )

        self.dns = Process([str(programs["coredns"]), f"-conf={DIRECTORY / 'Corefile'}"], logs / "coredns.log")

    def __enter__(self) -> Self:
        if missing := machine.lacking():
            raise NodeFailed(f"this machine cannot run Pods, for it lacks {', '.join(missing)}")
        with contextlib.ExitStack() as failed:
            self._lock = failed.enter_context(LOCK.open("w"))
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise NodeFailed("another run has a node on this machine") from None
            if DIRECTORY.exists():
                print(f"pods: removing what a killed run left in {DIRECTORY}", file=sys.stderr, flush=True)
                self._leave()
            if machine.is_somebodys_node():
                raise NodeFailed("this machine is a Kubernetes node already: there is a KUBE-SERVICES in its iptables")
            failed.callback(self._leave)
            self._begin()
            failed.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._lock
        with self._lock:
            self._leave()

    def join(self, plane: ControlPlane) -> None:
        """Become the node of a control plane whose gateway is this one's, and Ready.

        Raises:
            NodeFailed: It did not.
        """
        shutil.copy(plane.kubeconfig_for(f"system:node:{NAME}", ["system:nodes"]), DIRECTORY / "kubelet.kubeconfig")
        shutil.copy(plane.kubeconfig_for("system:kube-proxy"), DIRECTORY / "kube-proxy.kubeconfig")
        port, health_port, metrics_port = free_ports(3)
        _write("kubelet.json", self._kubelet_configuration(plane, port))
        _write("kube-proxy.json", _kube_proxy_configuration(health_port, metrics_port))
        (DIRECTORY / "Corefile").write_text(_COREFILE)
        shutil.copy(plane.kubeconfig_for("coredns"), DIRECTORY / "coredns.kubeconfig")
        plane.kubectl("create", "clusterrolebinding", "coredns", "--clusterrole=view", "--user=coredns")
        for process in (self.kubelet, self.kube_proxy, self.dns):
            process.start()
        try:
            for condition in ("create", "condition=Ready"):
                timeout = f"--timeout={READY_TIMEOUT_S}s"
                plane.kubectl("wait", f"--for={condition}", f"node/{NAME}", timeout, timeout_s=READY_TIMEOUT_S + 10)
        except KubectlFailed as exc:
            raise NodeFailed(f"{exc}\n--- the end of {self.kubelet.log}:\n{self.kubelet.log_tail()}") from exc

    def _begin(self) -> None:
        DIRECTORY.mkdir(mode=0o700)
        _write("switches.json", machine.read_switches())
        machine.add_bridge(BRIDGE, f"{GATEWAY}/24")
        self.containerd.configure(BRIDGE, PODS)
        self.containerd.start()
        self.containerd.load_pause()

    def _leave(self) -> None:
        """Undo everything, from the last line to the first; each is done whatever became of the others."""
        switches = DIRECTORY / "switches.json"
        before = json.loads(switches.read_text()) if switches.exists() else {}
        with contextlib.ExitStack() as undo:
            undo.callback(shutil.rmtree, DIRECTORY)
            undo.callback(machine.unmount_below, DIRECTORY)
            undo.callback(machine.remove_records, DIRECTORY)
            undo.callback(machine.remove_cgroups)
            undo.callback(machine.restore_switches, before)
            undo.callback(machine.remove_bridge, BRIDGE)
            undo.callback(machine.remove_chains)
            undo.callback(self.dns.kill)
            undo.callback(self.kube_proxy.kill)
            undo.callback(self.containerd.end)
            undo.callback(self.kubelet.kill)

    def _kubelet_configuration(self, plane: ControlPlane, port: int) -> dict[str, Any]:
        ca = DIRECTORY / "ca.crt"
        ca.write_bytes(plane.authority.certificate)
        certificate, key = plane.authority.issue_server([GATEWAY, NAME]).write(DIRECTORY, "kubelet")
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": GATEWAY,
            "port": port,
            "healthzPort": 0,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(ca)},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(certificate),
            "tlsPrivateKeyFile": str(key),
            "containerRuntimeEndpoint": f"unix://{self.containerd.socket}",
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,  # images come from nowhere a second time
            "podLogsDir": str(DIRECTORY / "pod-logs"),
            "volumePluginDir": str(DIRECTORY / "volume-plugins"),
            "clusterDNS": [GATEWAY],
            "clusterDomain": CLUSTER_DOMAIN,
            "resolvConf": "",
            # How often a Pod's Secrets and ConfigMaps are compared with its volumes: tests wait for it.
            "syncFrequency": "2s",
        }


def _kube_proxy_configuration(health_port: int, metrics_port: int) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(DIRECTORY / "kube-proxy.kubeconfig")},
        "hostnameOverride": NAME,
        "mode": "iptables",
        "clusterCIDR": PODS,
        # Pods on one bridge would answer each other past the packet filter, and a FORWARD policy of DROP (Docker's)
        # lets pass what is masqueraded.
        "iptables": {"masqueradeAll": True, "localhostNodePorts": True},
        "nodePortAddresses": ["127.0.0.0/8"],
        "healthzBindAddress": f"{LOOPBACK}:{health_port}",
        "metricsBindAddress": f"{LOOPBACK}:{metrics_port}",
        # Zero leaves the machine's own settings.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def _write(name: str, document: dict[str, Any]) -> None:
    (DIRECTORY / name).write_text(json.dumps(document, indent=2))
