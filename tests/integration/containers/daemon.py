"""A Docker daemon of the tests' own, for machines where none runs: needs root, leaves nothing behind.

It lives in PID and mount namespaces of its own, so that with it everything ends that it started: containerd, its shims,
the containers, their mounts. It has no network but the host's and touches no packet filter.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from integration.controlplane.process import Process

from .distribution import Unavailable, programs

__all__ = ["daemon"]

START_TIMEOUT_S = 60.0
DATA_BYTES = 6 * 2**30  # a base image and a few builds on it, each step kept
ROOTS = Path("/var/tmp")  # noqa: S108 - on a disk: an image is too large for a /tmp that is memory
PREFIX = "kdm-docker-"


@contextmanager
def daemon() -> Iterator[str]:
    """Run a daemon.

    Yields:
        Its address, as `DOCKER_HOST` wants it.

    Raises:
        Unavailable: It cannot run here; the message says why.
    """
    if os.geteuid() != 0:
        raise Unavailable("no Docker daemon answers, and only root can start one")
    found = programs({"dockerd": "docker.io", "docker": "docker.io", "unshare": "util-linux"})
    with _directory() as directory:
        host = f"unix://{directory}/docker.sock"
        namespaces = [found["unshare"], "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
        places = [f"--data-root={directory}/data", f"--exec-root={directory}/exec", f"--pidfile={directory}/pid"]
        networks = ["--bridge=none", "--iptables=false", "--ip6tables=false"]
        command = [*namespaces, *_in_memory(directory / "data"), found["dockerd"], f"--host={host}", *places, *networks]
        process = Process(command, directory / "log")
        process.start()
        try:
            _wait(process, [found["docker"], f"--host={host}", "version"])
            yield host
        finally:
            _stop(process, [found["docker"], f"--host={host}"])


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
    """A directory for a daemon's gigabyte, deleted afterwards; so are those of test runs that were killed."""
    for left in ROOTS.glob(f"{PREFIX}*"):
        with contextlib.suppress(BlockingIOError, FileNotFoundError), _locked(left):
            shutil.rmtree(left, ignore_errors=True)
    directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=ROOTS))
    with _locked(directory):
        try:
            yield directory
        finally:
            shutil.rmtree(directory)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold a directory, unless somebody else does: then BlockingIOError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
