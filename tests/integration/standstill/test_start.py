"""What kdm reads at its start stands still: SIGTERM ends it all the same, also as process 1 of a container."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from integration.kdm_process import CERTS, wait_until
from integration.loops import every_loop

from .outside import UNSHARE, HangingFileSystem, SilentNameServer, hangs_in_a_file_system, seeing

FILES: Final = {
    "policy.toml": CERTS / "dev-policy.toml",
    "server.pem": CERTS / "dev-server.pem",
    "config": CERTS / "dev-policy.toml",  # it is never read to its end
}
SETTINGS: Final = {
    "policy": {"POLICY_FILE": "policy.toml"},
    "certificate": {"TLS_CERT": "server.pem"},
    "kubeconfig": {"REPOSITORY": "kubernetes", "KUBECONFIG": "config"},
}
HOST: Final = "kdm.example.test"
AS_PROCESS_1: Final = (*UNSHARE, "--pid", "--fork", "--kill-child")


@every_loop
@pytest.mark.parametrize("wrap", [(), AS_PROCESS_1], ids=["any", "process-1"])
@pytest.mark.parametrize("what", SETTINGS)
def test_sigterm_ends_a_start_that_a_file_system_holds(
    what: str, wrap: Sequence[str], loop: str, tmp_path: Path
) -> None:
    with HangingFileSystem(tmp_path / "files", FILES) as files:
        paths = {name: str(files.path / value) if value in FILES else value for name, value in SETTINGS[what].items()}
        files.freeze()
        with started({**paths, "LOOP": loop}, wrap) as process:
            pid = process.pid if not wrap else _only_child(process)
            wait_until(lambda: hangs_in_a_file_system(pid))
            os.kill(pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.kill(pid, signal.SIGKILL)
                raise AssertionError("SIGTERM did not end it") from None


def test_a_start_that_a_file_system_holds_ends_with_one_line(tmp_path: Path) -> None:
    """Of the kubeconfig, within ten seconds: what the orchestrator reads says where to look."""
    with HangingFileSystem(tmp_path / "files", FILES) as files:
        files.freeze()
        with started({"REPOSITORY": "kubernetes", "KUBECONFIG": str(files.path / "config")}) as process:
            _, complaint = process.communicate(timeout=60)
    assert process.returncode == 1
    assert complaint.decode().splitlines()[-1] == (
        f"kdm: kubeconfig {files.path}/config: it, or a file that it names, cannot be read: "
        "the file system did not answer within 10 s"
    )


@every_loop
@pytest.mark.parametrize("name", ["HOST", "OPS_HOST"])
def test_a_host_whose_name_nobody_resolves_is_one_line(name: str, loop: str, tmp_path: Path) -> None:
    with SilentNameServer() as silent, started({name: HOST, "LOOP": loop}, asking(silent, tmp_path)) as process:
        assert "kdm" in silent.question()
        _, complaint = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.fullmatch(
        rf"kdm: cannot listen on {HOST}:\d+: no name server answered within 10 s", complaint.decode().splitlines()[-1]
    )


@every_loop
def test_sigterm_ends_a_start_that_a_name_server_holds(loop: str, tmp_path: Path) -> None:
    with SilentNameServer() as silent, started({"HOST": HOST, "LOOP": loop}, asking(silent, tmp_path)) as process:
        assert "kdm" in silent.question()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=8)  # sooner than the name server is given up


def asking(silent: SilentNameServer, directory: Path) -> Sequence[str]:
    """Return what to put before a command so that it asks that name server alone."""
    hosts, resolver = directory / "hosts", directory / "resolv.conf"
    hosts.write_text("127.0.0.1 localhost\n")
    resolver.write_text(f"nameserver {silent.address}\noptions timeout:30 attempts:5\n")
    return seeing({"/etc/hosts": hosts, "/etc/resolv.conf": resolver})


@contextmanager
def started(settings: dict[str, str], wrap: Sequence[str] = ()) -> Iterator[subprocess.Popen[bytes]]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KDM_")}
    ports = {"HOST": "127.0.0.1", "PORT": "0", "OPS_PORT": "0"}
    with subprocess.Popen(
        [*wrap, sys.executable, "-m", "kdm_cli", "serve", "--dev"],
        env=clean | {f"KDM_{name}": value for name, value in (ports | settings).items()},
        cwd=CERTS.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _only_child(process: subprocess.Popen[bytes]) -> int:
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_until(lambda: bool(listed.read_text()))
    return int(listed.read_text())
