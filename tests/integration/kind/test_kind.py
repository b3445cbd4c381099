"""What happens up to a kind node's start, with the real kind: a node starts only where Docker may privilege it.

The node images here are no nodes, so that no cluster comes up wherever these tests run.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from integration.containers.engine import Engine

from .cluster import KindCluster, KindFailed, check_privileged
from .installation import REPOSITORY, program

TESTS = REPOSITORY / "tests"
CAPABLE = "this machine's Docker may not run privileged containers"
# What becomes of a "node" that ends at once, where it may start at all.
NO_NODE = f"{CAPABLE}|the node started and its systemd did not come up"


@pytest.fixture(scope="module")
def no_node(engine: Engine, base_image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    context = tmp_path_factory.mktemp("no-node")
    (context / "Dockerfile").write_text(f'FROM {base_image}\nENTRYPOINT ["/bin/true"]\n', encoding="utf-8")
    return engine.build(context, "kdm-test/no-node:1")


@pytest.fixture(autouse=True)
def _nothing_is_left(engine: Engine) -> Iterator[None]:
    before = engine.docker("ps", "--all", "--quiet")
    yield
    assert engine.docker("ps", "--all", "--quiet") == before


def test_a_cluster_that_cannot_be_made_leaves_nothing(engine: Engine, no_node: str, tmp_path: Path) -> None:
    cluster = KindCluster(program("kind"), "kdm-no-node", tmp_path / "kubeconfig", engine.environment)
    with pytest.raises(KindFailed, match=NO_NODE):
        cluster.create(no_node)
    assert not cluster.exists()
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_cannot_be_pulled_is_told(engine: Engine, tmp_path: Path) -> None:
    cluster = KindCluster(program("kind"), "kdm-no-image", tmp_path / "kubeconfig", engine.environment)
    with pytest.raises(KindFailed, match="kind's node image could not be pulled; KIND_IMAGE="):
        cluster.create("localhost:1/nobody/has:this")
    assert list(tmp_path.iterdir()) == []


def test_whether_a_node_may_start_is_known_before_one_is_pulled(
    engine: Engine, base_image: str, kdm_image: str
) -> None:
    """The check says what Docker itself does with a privileged container."""
    command = ["docker", "run", "--rm", "--privileged", "--network=none", base_image, "true"]
    if subprocess.run(command, env=engine.environment, capture_output=True, check=False).returncode:
        with pytest.raises(KindFailed, match=CAPABLE):
            check_privileged(engine.environment, kdm_image)
    else:
        check_privileged(engine.environment, kdm_image)


def test_the_session_fails_with_the_reason(engine: Engine, builder_image: str, no_node: str) -> None:
    """`nox -s kind` where no cluster comes up: an exit code, a reason, and Docker as it was."""
    networks = engine.docker("network", "ls", "--quiet")
    ended = _run("session", {**engine.environment, "BASE": builder_image, "KIND_IMAGE": no_node})
    assert ended.returncode == 1
    assert "kind: nothing was tested: " in ended.stderr
    assert ("Creating cluster" in ended.stderr) != (CAPABLE in ended.stderr), "what cannot start is not begun"
    assert CAPABLE in ended.stderr or "the node started" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert engine.docker("network", "ls", "--quiet") == networks


def test_deploy_fails_with_the_reason(engine: Engine, builder_image: str, no_node: str) -> None:
    environment = {**engine.environment, "PYTHONPATH": str(TESTS)}
    name = "kdm-test-deploy"
    ended = _run("deploy", environment, "--cluster", name, "--node-image", no_node, "--", "--base", builder_image)
    assert ended.returncode == 1
    assert "make deploy: " in ended.stderr
    assert CAPABLE in ended.stderr or "the node started" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (REPOSITORY / ".kind" / f"{name}.kubeconfig").exists()


def test_deploy_without_a_daemon_says_so(engine: Engine, tmp_path: Path) -> None:
    ended = _run("deploy", {**engine.environment, "DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"})
    assert ended.returncode == 1
    assert "make deploy: no Docker daemon answers" in ended.stderr


def _run(module: str, environment: Mapping[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"integration.kind.{module}", *args]
    return subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True, timeout=600, check=False)
