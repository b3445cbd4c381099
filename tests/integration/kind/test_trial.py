"""A trial, as `make deploy` introduces it: what it tells whoever installs it works as it stands there."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Final

import pytest

from integration.containers.distribution import programs
from integration.containers.engine import Engine
from integration.controlplane import binaries
from integration.kdm_process import wait_until

from . import deploy
from .cluster import KindCluster
from .helm import Release
from .installation import SHOP, Installation

NAMESPACE: Final = "trial"
TIMEOUT_S: Final = 60


class Reader:
    """Somebody at a shell who follows what they read.

    Args:
        directory: Where the shell is.
        kubeconfig: Of the cluster.
        port: A free port of this machine, in place of the one that is named and may be taken.
    """

    def __init__(self, directory: Path, kubeconfig: Path, port: int) -> None:
        self._directory = directory
        self._port = port
        found = [Path(programs({"curl": "curl"})["curl"]), *binaries.find("kubectl", "helm").values()]
        path = ":".join([*(str(each.parent) for each in found), os.environ["PATH"]])
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "PATH": path}

    def follow(self, command: str) -> str:
        """Run a command and return what it prints."""
        shell = self._shell(command)
        output, errors = shell.communicate(timeout=TIMEOUT_S)
        assert shell.returncode == 0, f"{command}: {output}{errors}"
        return output

    def _shell(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["sh", "-c", f"exec {re.sub('8443', str(self._port), command)}"],
            cwd=self._directory,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def in_another_terminal(self, command: str) -> subprocess.Popen[str]:
        """Start a command that runs on, and wait until it listens."""
        shell = self._shell(command)

        def listens() -> bool:
            assert shell.poll() is None, shell.communicate()
            with socket.socket() as tried:
                return tried.connect_ex(("127.0.0.1", self._port)) == 0

        wait_until(listens, TIMEOUT_S)
        return shell


@pytest.fixture
def notes(
    kdm: Installation,
    kind_engine: Engine,
    kind_cluster: KindCluster,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """What `make deploy` prints on the session's cluster."""
    directory = tmp_path_factory.mktemp("deploy")
    monkeypatch.setattr(deploy, "NAMESPACE", NAMESPACE)
    monkeypatch.setattr(deploy, "DIRECTORY", directory)
    monkeypatch.setattr(deploy, "ENGINE", directory / "engine")
    monkeypatch.setattr(deploy, "LOG", directory / "engine.log")
    if kind_engine.own:
        monkeypatch.delenv("DOCKER_HOST", raising=False)
        deploy.ENGINE.write_text(f"{os.getpid()} {kind_engine.environment['DOCKER_HOST']}")
    try:
        with redirect_stdout(StringIO()) as told:
            assert deploy.main([f"--cluster={kind_cluster.name}"]) == 0
        yield told.getvalue()
    finally:
        kdm.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")


def test_a_trial_works_by_the_commands_that_introduce_it_and_leaves_nothing(
    kdm: Installation, notes: str, tmp_path: Path
) -> None:
    """From the certificates to a changed replica count, in both APIs, and to `helm test`."""
    kdm.deploy("tried", scheduled=False)
    notes = notes.replace("NAMESPACE'", f"{SHOP}'").replace("/NAME/", "/tried/")
    commands = [line.strip() for line in notes.splitlines() if re.match(r"  (kubectl|curl|helm) ", line)]
    forward = next(each for each in commands if "port-forward" in each)
    curls = [each for each in commands if each.startswith("curl")]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    reader = Reader(tmp_path, kdm.cluster.kubeconfig, port)
    for command in commands[: commands.index(forward)]:
        reader.follow(command)
    assert {each.name for each in tmp_path.iterdir()} == {"client.pem", "client-key.pem", "ca.pem"}

    with reader.in_another_terminal(forward) as forwarding:
        try:
            answers = [json.loads(reader.follow(f"{command} --silent --show-error --fail")) for command in curls]
        finally:
            forwarding.terminate()
    assert answers[0] == {"status": "healthy", "kubernetes": "connected"}
    assert "tried" in json.dumps(answers[1])
    assert "tried" in json.dumps(answers[2])
    assert answers[3:] == [
        {"deploymentName": "tried", "updatedReplicaCount": 2},
        {"message": "Replica count updated successfully."},
    ]
    replicas = "--output=jsonpath={.spec.replicas}"
    assert kdm.cluster.kubectl("get", "deployment/tried", f"--namespace={SHOP}", replicas) == "2"
    assert "without a client certificate: refused" in reader.follow(commands[-1])

    Release(kdm.cluster, NAMESPACE, {}).uninstall()
    kinds = "all,configmap,secret,serviceaccount,role,rolebinding,networkpolicy,poddisruptionbudget"
    remain = {"configmap/kube-root-ca.crt", "serviceaccount/default", "pod/kdm-test"}  # helm keeps what it tested with
    look = ("get", kinds, f"--namespace={NAMESPACE}", "--output=name")
    wait_until(lambda: set(kdm.cluster.kubectl(*look).split()) <= remain, TIMEOUT_S)  # Pods take their time to end
    everywhere = kdm.cluster.kubectl("get", "clusterrole,clusterrolebinding", "--output=name")
    assert f"kdm-{NAMESPACE}" not in everywhere
