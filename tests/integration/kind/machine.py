"""What a cluster may change about the machine that it runs on, as one picture to compare with another."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from integration.containers.daemon import live_engines
from integration.containers.distribution import programs
from integration.containers.engine import Engine
from integration.kdm_process import wait_until

__all__ = ["Machine"]

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

PLACES: Final = ("etc/cni/*", "run/*", "sys/fs/cgroup/**/kdm-*", "var/lib/*", "var/log/*", "var/tmp/kdm-*")
COUNTERS: Final = re.compile(r" *\[\d+:\d+]")
ENGINE: Final = re.compile(r"containerd|docker-|dockerd|runc")
PROGRAMS: Final = re.compile(rf"{ENGINE.pattern}|coredns|etcd|kube|systemd")
PROC: Final = Path("/proc")
NETWORK: Final = Path("/sys/class/net")


class Machine:
    """The machine, without the clusters that others run on it meanwhile.

    Args:
        engine: One that outlives the cluster in question; what it has belongs to the machine.
    """

    def __init__(self, engine: Engine | None) -> None:
        self._engine = engine
        self._ours: list[str] = []
        self._others: list[tuple[str, str]] = []

    def expect_end_of(self, address: str) -> None:
        """Take an engine at this address, and all that it starts, for what has to be gone: it is not others'."""
        self._ours.append(address)

    def changes(self, before: dict[str, list[str]]) -> list[str]:
        """Tell what is other than in a picture of before: nothing, after a cluster."""
        now = self.picture()
        new = [f"new of the {what}: {each}" for what in before for each in now[what] if each not in before[what]]
        return new + [
            f"gone of the {what}: {each}" for what in before for each in before[what] if each not in now[what]
        ]

    def lasting_changes(self, before: dict[str, list[str]]) -> list[str]:
        """Return what is still other after a while: what is killed takes a moment to be gone."""
        with suppress(TimeoutError):
            wait_until(lambda: self.changes(before) == [])
        return self.changes(before)

    def picture(self) -> dict[str, list[str]]:
        """Describe everything that must be after a cluster as it was before."""
        self._others = [each for each in live_engines() if not any(each[0] in address for address in self._ours)]
        sysctl = PROC / "sys"
        interfaces = [path.name for path in NETWORK.iterdir() if not self._of_others([path.name, _master(path)])]
        mounts = [line.split(" ", 4)[4] for line in (PROC / "self/mountinfo").read_text().splitlines()]
        mounts = [mount for mount in mounts if "/pytest-of-" not in mount]  # another session's tests have some there
        files = [str(path) for place in PLACES for path in Path("/").glob(place)]
        found = {
            "settings": [f"{name} = {(sysctl / name).read_text()}" for name in SETTINGS if (sysctl / name).exists()],
            "interfaces": interfaces,
            "routes": [line for line in (PROC / "net/route").read_text().splitlines() if line.split()[0] in interfaces],
            "packet filter": list(_rules()),
            "mounts": mounts,
            "processes": list(self._processes()),
            "files": [name for name in files if not self._of_others([name])],
        }
        if self._engine:
            for what in ("container", "network", "volume"):
                found[f"Docker's {what}s"] = self._engine.docker(what, "ls", "--quiet").split()
        return {what: sorted(those) for what, those in found.items()}

    def _of_others(self, texts: Iterable[str]) -> bool:
        return any(name in text for text in texts for names in self._others for name in names)

    def _processes(self) -> Iterator[str]:
        """Return what a cluster consists of, and nothing of what else is done on the machine.

        What an engine starts is in the engine's PID namespace, or in a container's and in the engine's control group.
        """
        facts = {}
        for path in PROC.glob("[0-9]*"):
            try:
                told = [(path / name).read_text(errors="replace") for name in ("comm", "cmdline", "cgroup")]
                facts[path.name] = (told[0].strip(), told[1:], (path / "ns/pid").readlink())
            except OSError:  # it has just ended
                continue
        mine = PROC.joinpath("self/ns/pid").readlink()
        namespaces = {space for _, told, space in facts.values() if space != mine and self._of_others(told)}
        for pid, (name, told, space) in facts.items():
            wanted = ENGINE if space == mine else PROGRAMS
            if wanted.match(name) and space not in namespaces and not self._of_others(told):
                yield f"{pid} {name}"


def _master(interface: Path) -> str:
    """Return the bridge that an interface belongs to; nothing if none."""
    try:
        return (interface / "master").readlink().name
    except OSError:
        return ""


def _rules() -> Iterator[str]:
    """Return both packet filters' rules, without comments and counters."""
    for program, path in programs({"iptables-save": "iptables", "ip6tables-save": "iptables"}).items():
        saved = subprocess.run([path], capture_output=True, text=True, check=False).stdout
        yield from (f"{program} {COUNTERS.sub('', line)}" for line in saved.splitlines() if line[0] != "#")
