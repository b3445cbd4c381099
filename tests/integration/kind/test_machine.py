"""A cluster leaves nothing of itself on the machine."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from integration.containers.engine import Engine, Unavailable, engine_here, running_engine
from integration.controlplane import binaries
from integration.controlplane.access import Cluster
from integration.unavailable import unavailable

from .cluster import KindCluster
from .deploy import DIRECTORY, ENGINE, NAMESPACE
from .helm import Release
from .machine import Machine
from .making import REPOSITORY, nodes_image

pytestmark = [pytest.mark.own_kind_cluster, pytest.mark.nightly]  # the session's own end is looked at for every change

DEPLOYED = "kdm-test-deploy"
SESSION = """
import signal
from integration.containers.engine import running_engine
from integration.kind.making import nodes_image

with running_engine(privileged=True) as engine:
    engine.run(nodes_image(engine), options=["--privileged", "--network=kind"])
    print(engine.environment["DOCKER_HOST"], flush=True)
    signal.pause()
"""


@contextmanager
def an_engine() -> Iterator[Engine]:
    try:
        with running_engine(privileged=True) as engine:
            yield engine
    except Unavailable as exc:
        unavailable(f"no kind cluster: {exc}")


def deploy(*arguments: str) -> str:
    """Run what `make deploy` runs, and return its standard output."""
    command = [sys.executable, "-m", "integration.kind.deploy", f"--cluster={DEPLOYED}", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY / "tests", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_make_deploy_runs_kdm_and_make_undeploy_leaves_the_machine_as_it_was(tmp_path: Path) -> None:
    with an_engine():  # where none can be, this is where it is told
        machine = Machine(engine_here(privileged=True))
    before = machine.picture()
    try:
        told = deploy()
        if ENGINE.exists():
            machine.expect_end_of(ENGINE.read_text())
        kubeconfig = DIRECTORY / DEPLOYED / "kubeconfig"
        assert f"export KUBECONFIG={kubeconfig}" in told
        cluster = Cluster(kubeconfig, binaries.find("kubectl")["kubectl"], tmp_path)
        assert "/health: 200" in Release(cluster, NAMESPACE, {}).helm("test", "kdm", "--logs")
        assert machine.changes(before)
    finally:
        deploy("--delete")
    assert machine.lasting_changes(before) == []
    assert not (DIRECTORY / DEPLOYED).exists()


def test_two_sessions_in_a_row_leave_the_machine_as_it_was(tmp_path: Path) -> None:
    """Processes, mounts, interfaces, routes, packet filters, control groups and the kernel's settings."""
    machine = Machine(engine_here(privileged=True))
    before = machine.picture()
    for _ in range(2):
        with an_engine() as engine:
            machine.expect_end_of(engine.environment.get("DOCKER_HOST", ""))
            cluster = KindCluster(engine, "kdm-test-machine", tmp_path / "kubeconfig")
            cluster.create(nodes_image(engine))
            assert machine.changes(before)
            cluster.delete()
        assert machine.lasting_changes(before) == []


def test_what_a_killed_session_left_is_removed_by_the_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")  # so that the session has an engine of its own
    machine = Machine(None)
    before = machine.picture()
    with an_engine():  # where none can be, this is where it is told
        pass
    command = [sys.executable, "-c", SESSION]
    with subprocess.Popen(command, cwd=REPOSITORY / "tests", stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout is not None
        address = session.stdout.readline().strip()
        assert address
        machine.expect_end_of(address)
        session.send_signal(signal.SIGKILL)
    with an_engine():
        pass
    assert machine.lasting_changes(before) == []
