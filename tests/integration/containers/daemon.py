"""A Docker daemon of the tests' own, for machines where none runs: needs root, leaves nothing behind.

It lives in PID and mount namespaces of its own, so that with it everything ends that it started: containerd, its shims,
the containers, their mounts. Its one network is a bridge between this machine and containers that ask for it; beyond
the machine they reach nothing, for no packet filter and no setting of the machine is touched.

It runs privileged containers, too, where the machine itself lacks a privilege: see `runtime`.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from integration.controlplane.process import Process
from integration.kdm_process import wait_until

from . import runtime
from .distribution import Unavailable, programs

__all__ = ["NETWORK", "daemon", "live_engines"]

NETWORK = "kind"  # kind looks for it by this name

START_TIMEOUT_S = 60.0
DATA_BYTES = 8 * 2**30  # a base image and a few builds on it, each step kept; or three nodes of a cluster
ROOTS = Path("/var/tmp")  # noqa: S108 - on a disk: an image is too large for a /tmp that is memory
PREFIX = "kdm-docker-"
CGROUPS = Path("/sys/fs/cgroup")
GROUPS_END_S = 10.0


@contextmanager
def daemon(*, in_memory: bool = True) -> Iterator[str]:
    """Run a daemon.

    Args:
        in_memory: Whether it may keep what it has in memory, where there is plenty of it.

    Yields:
        Its address, as `DOCKER_HOST` wants it.

    Raises:
        Unavailable: It cannot run here; the message says why.
    """
    if os.geteuid() != 0:
        raise Unavailable("no Docker daemon that can be used answers, and only root can start one")
    found = programs({"dockerd": "docker.io", "docker": "docker.io", "runc": "docker.io", "unshare": "util-linux"})
    with _directory() as directory:
        host = f"unix://{directory}/docker.sock"
        docker = [found["docker"], f"--host={host}"]
        (directory / "daemon.json").write_text(json.dumps(_runtime(found["runc"])), encoding="utf-8")
        namespaces = [found["unshare"], "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
        places = [f"--data-root={directory}/data", f"--exec-root={directory}/exec", f"--pidfile={directory}/pid"]
        groups = ["--exec-opt=native.cgroupdriver=cgroupfs", f"--cgroup-parent=/{directory.name}"]
        networks = ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]
        settings = [f"--host={host}", f"--config-file={directory}/daemon.json", *places, *groups, *networks]
        process = Process(
            [*namespaces, *(_in_memory(directory / "data") if in_memory else ()), found["dockerd"], *settings],
            directory / "log",
        )
        process.start()
        try:
            _wait(process, [*docker, "version"])
            bridge = f"--opt=com.docker.network.bridge.name={_bridge(directory)}"
            subprocess.run([*docker, "network", "create", bridge, NETWORK], capture_output=True, check=True)
            yield host
        finally:
            _stop(process, docker)


def live_engines() -> list[tuple[str, str]]:
    """Return the names of all such daemons that run on this machine: each one's directory, and its bridge."""
    live = []
    for directory in ROOTS.glob(f"{PREFIX}*"):
        try:
            with _locked(directory):
                pass
        except BlockingIOError:
            live.append((directory.name, _bridge(directory)))
        except FileNotFoundError:
            continue
    return live


def _runtime(runc: str) -> dict[str, object]:
    """Configure what runs containers: runc alone, where this machine may give them all that they ask for."""
    if not runtime.lacks_sys_resource():
        return {}
    wrapped = {"path": sys.executable, "runtimeArgs": ["-IS", runtime.__file__, runc]}
    return {"runtimes": {"wrapped": wrapped}, "default-runtime": "wrapped"}


def _in_memory(directory: Path) -> list[str]:
    """Begin a command that keeps a directory in memory, if there is plenty: deleting from a disk takes half a minute.

    The mount is the namespace's alone and ends with it.
    """
    directory.mkdir()
    facts = dict(line.split(":") for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    if int(facts["MemAvailable"].removesuffix("kB")) * 1024 < 2 * DATA_BYTES:
        return []
    mount = f'mount -t tmpfs -o size={DATA_BYTES} tmpfs "$0" && exec "$@"'
    return ["sh", "-c", mount, str(directory)]


def _wait(process: Process, question: list[str]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while subprocess.run(question, capture_output=True, check=False).returncode:
        if not process.running:
            raise Unavailable(f"dockerd ended at its start:\n{process.log_tail()}")
        if time.monotonic() > deadline:
            raise Unavailable(f"dockerd did not answer within {START_TIMEOUT_S:g} s:\n{process.log_tail()}")
        time.sleep(0.05)  # dockerd tells nobody that it is ready


def _stop(process: Process, docker: list[str]) -> None:
    """Remove the containers, for their control groups are the machine's; then end everything at once."""
    listed = subprocess.run([*docker, "ps", "--all", "--quiet"], capture_output=True, text=True, check=False)
    if containers := listed.stdout.split():
        subprocess.run([*docker, "rm", "--force", *containers], capture_output=True, check=False)
    if process.pid is not None:
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split():
            os.kill(int(child), signal.SIGKILL)  # a PID namespace's first process ends after every other one in it
    process.stop()


@contextmanager
def _directory() -> Iterator[Path]:
    """A directory for a daemon's gigabytes, deleted afterwards; so are those of test runs that were killed."""
    for left in ROOTS.glob(f"{PREFIX}*"):
        with contextlib.suppress(BlockingIOError, FileNotFoundError), _locked(left):
            delete(left)
    directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=ROOTS))
    with _locked(directory):
        try:
            yield directory
        finally:
            delete(directory)


def _bridge(directory: Path) -> str:
    return f"kdm-{directory.name.removeprefix(PREFIX)}"


def delete(directory: Path) -> None:
    """Delete a daemon's directory, and what it left elsewhere: its bridge and its control groups, all empty now."""
    if Path("/sys/class/net", _bridge(directory)).exists():
        ip = programs({"ip": "iproute2"})["ip"]
        subprocess.run([ip, "link", "delete", _bridge(directory)], capture_output=True, check=False)
    for group in (*CGROUPS.glob(directory.name), *CGROUPS.glob(f"*/{directory.name}")):  # version 2, version 1
        _end_all_in(group)
        wait_until(functools.partial(_removed, group), GROUPS_END_S)
    shutil.rmtree(directory, ignore_errors=True)


def _end_all_in(group: Path) -> None:
    """End what is left in a control group: a runtime that was killed may leave frozen processes, which do not end."""
    for path, _, _ in os.walk(group):
        with contextlib.suppress(OSError):  # version 2 has no such file, and its kill ends what is frozen, too
            Path(path, "freezer.state").write_text("THAWED", encoding="ascii")
        for pid in Path(path, "cgroup.procs").read_text(encoding="ascii").split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def _removed(group: Path) -> bool:
    try:
        for path, _, _ in os.walk(group, topdown=False):
            Path(path).rmdir()
    except OSError:  # what was killed takes a moment to end
        return False
    return True


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold a directory, unless somebody else does: then BlockingIOError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
