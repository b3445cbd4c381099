"""What a node changes about the machine it runs on, and how that is undone."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from .containerd import CNI_PLUGINS

__all__ = [
    "CommandFailed",
    "add_bridge",
    "is_somebodys_node",
    "lacking",
    "read_switches",
    "remove_bridge",
    "remove_cgroups",
    "remove_chains",
    "remove_records",
    "restore_switches",
    "run",
    "unmount_below",
]

TOOLS: Final = {
    "containerd": "docker.io",
    "ctr": "docker.io",
    "runc": "docker.io",
    "gcc": "gcc and libc6-dev",
    "ip": "iproute2",
    "iptables": "iptables",
}
"""Programs a node needs, and the Debian packages they are in."""

SYSCTL: Final = Path("/proc/sys")
SWITCHES: Final = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
"""The kernel's settings that the kubelet, kube-proxy and the bridge plugin change."""

_JUMP: Final = re.compile(r"-A (?!KUBE-).* -j KUBE-").match
COMMAND_TIMEOUT_S: Final = 60.0


class CommandFailed(Exception):
    """A command failed; the message carries its own words."""


def lacking() -> list[str]:
    """Say what a node would lack on this machine; nothing when it can run."""
    if sys.platform != "linux":
        return ["Linux"]
    found = [] if os.geteuid() == 0 else ["root's rights"]
    found += [f"{tool} (Debian: {package})" for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if CNI_PLUGINS is None:
        found.append("the CNI plugins (Debian: containernetworking-plugins)")
    return found


def is_somebodys_node() -> bool:
    """Whether there is a kube-proxy's work in the machine's packet filter: two would undo each other's."""
    return ":KUBE-SERVICES " in run("iptables-save", "--table=nat")


def read_switches() -> dict[str, str]:
    """Read those settings of the kernel that a node changes, as far as this kernel has them."""
    return {name: (SYSCTL / name).read_text().strip() for name in SWITCHES if (SYSCTL / name).exists()}


def restore_switches(before: Mapping[str, str]) -> None:
    """Set them back to what `read_switches` found."""
    now = read_switches()
    for name, value in before.items():
        if now.get(name) != value:
            (SYSCTL / name).write_text(value)


def add_bridge(name: str, address: str) -> None:
    """Make a bridge and bring it up.

    Args:
        name: Of the interface.
        address: With its prefix length: `10.77.0.1/24`.
    """
    run("ip", "link", "add", name, "type", "bridge")
    run("ip", "address", "add", address, "dev", name)
    run("ip", "link", "set", name, "up")


def remove_bridge(name: str) -> None:
    """Remove a bridge, if it is there."""
    if Path("/sys/class/net", name).exists():
        run("ip", "link", "delete", name)


def unmount_below(directory: Path) -> None:
    """Unmount everything below a directory, the innermost first. A mount that somebody uses goes with its last user."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    below = [point for point in points if point.startswith(f"{directory}/")]
    for point in reversed(below):
        run("umount", "--lazy", point)


def remove_cgroups() -> None:
    """Remove the kubelet's control groups, with either version of them."""
    root = Path("/sys/fs/cgroup")
    for top in (*root.glob("kubepods"), *root.glob("*/kubepods")):
        for directory, _, _ in os.walk(top, topdown=False):
            Path(directory).rmdir()


def remove_records(directory: Path) -> None:
    """Remove what the kubelet and the network plugins keep about Pods outside of their node's directory."""
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(directory):
            link.unlink()
    for record in Path("/var/lib/cni/results").glob("*"):
        if str(directory) in record.read_text():
            record.unlink()
    plugins = Path("/var/lib/kubelet/device-plugins")  # the kubelet has no setting for it
    (plugins / "kubelet.sock").unlink(missing_ok=True)
    for empty in (plugins, plugins.parent):
        with contextlib.suppress(OSError):
            empty.rmdir()


def remove_chains() -> None:
    """Remove what the kubelet and kube-proxy put into the packet filter, each table at once."""
    for family in ("iptables", "ip6tables"):
        for table, rules in _tables(run(f"{family}-save")):
            chains = [rule.split()[0][1:] for rule in rules if rule.startswith(":KUBE-")]
            # Rules in these chains go with them; "-A" of a rule that jumps to one becomes "-D".
            jumps = [rule.replace("-A", "-D", 1) for rule in rules if _JUMP(rule)]
            declared = [f":{chain} - [0:0]" for chain in chains]  # which empties it
            deleted = [f"-X {chain}" for chain in chains]
            if chains:
                change = "\n".join([f"*{table}", *declared, *jumps, *deleted, "COMMIT", ""])
                run(f"{family}-restore", "--noflush", stdin=change)


def _tables(saved: str) -> Iterator[tuple[str, list[str]]]:
    for part in re.split(r"^\*", saved, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        yield lines[0], lines[1:]


def run(*command: str, stdin: str = "") -> str:
    """Run a command and return its standard output.

    Raises:
        CommandFailed: It ended with an error, or not in time.
    """
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=False, timeout=COMMAND_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as exc:
        raise CommandFailed(f"{' '.join(command)} did not end within {COMMAND_TIMEOUT_S:g} s") from exc
    if done.returncode:
        raise CommandFailed(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
