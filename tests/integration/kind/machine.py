"""What a cluster may change about the machine that it runs on, as one picture to compare with another."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from integration.containers.distribution import programs
from integration.containers.engine import Engine

__all__ = ["picture"]

SETTINGS: Final = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "net/ipv4/conf/all/arp_ignore",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
"""What kind's entrypoint, the kubelet, kube-proxy, kube-router, Docker and the CNI plugins set."""

PLACES: Final = ("etc/cni/*", "run/*", "var/lib/*", "var/log/*", "var/tmp/kdm-*")
COUNTERS: Final = re.compile(r" *\[\d+:\d+]")
PROGRAMS: Final = re.compile(r"containerd|crictl|docker|etcd|kube|coredns|runc|systemd")


def picture(engine: Engine | None) -> dict[str, list[str]]:
    """Describe the machine: nothing of it may be other after a cluster than before.

    Args:
        engine: One that is there before and after; what it has belongs to the machine.
    """
    sysctl = Path("/proc/sys")
    found = {
        "settings": [f"{name} = {(sysctl / name).read_text()}" for name in SETTINGS if (sysctl / name).exists()],
        "interfaces": [path.name for path in Path("/sys/class/net").iterdir()],
        "routes": Path("/proc/net/route").read_text().splitlines(),
        "packet filter": list(_rules()),
        "mounts": [line.split(" ", 4)[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()],
        "control groups": [str(path) for path in Path("/sys/fs/cgroup").glob("**/*kdm-*")],
        "processes": list(_processes()),
        "files": [str(path) for place in PLACES for path in Path("/").glob(place)],
    }
    if engine:
        for what in ("container", "network", "volume"):
            found[f"Docker's {what}s"] = engine.docker(what, "ls", "--quiet").split()
    return {what: sorted(those) for what, those in found.items()}


def _rules() -> Iterator[str]:
    """Return both packet filters' rules, without comments and counters."""
    for program, path in programs({"iptables-save": "iptables", "ip6tables-save": "iptables"}).items():
        saved = subprocess.run([path], capture_output=True, text=True, check=False).stdout
        yield from (f"{program} {COUNTERS.sub('', line)}" for line in saved.splitlines() if line[0] != "#")


def _processes() -> Iterator[str]:
    """Return what a cluster consists of, and nothing of what else is done on the machine."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            name = (path / "comm").read_text().strip()
        except OSError:  # it has just ended
            continue
        if PROGRAMS.search(name):
            yield f"{path.name} {name}"
