"""What happens where no kind cluster comes up: the reason is told, and nothing is left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from integration.containers import base_image as bases
from integration.containers.engine import Engine

from .cluster import KindCluster, KindFailed
from .deploy import DIRECTORY
from .making import REPOSITORY

TESTS = REPOSITORY / "tests"
NO_SYSTEM = "the node started and its systemd did not come up"


@pytest.fixture(scope="module")
def no_node(kind_engine: Engine, kind_image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image whose containers end at once."""
    context = tmp_path_factory.mktemp("no-node")
    (context / "Dockerfile").write_text(f'FROM {kind_image}\nENTRYPOINT ["kdm", "version"]\n', encoding="utf-8")
    return kind_engine.build(context, "kdm-test/no-node:1")


@pytest.fixture(autouse=True)
def _nothing_is_left(kind_engine: Engine) -> Iterator[None]:
    before = kind_engine.docker("ps", "--all", "--quiet")
    yield
    assert kind_engine.docker("ps", "--all", "--quiet") == before


def test_a_cluster_that_cannot_be_made_leaves_nothing(kind_engine: Engine, no_node: str, tmp_path: Path) -> None:
    cluster = KindCluster(kind_engine, "kdm-no-node", tmp_path / "kubeconfig")
    with pytest.raises(KindFailed, match=NO_SYSTEM):
        cluster.create(no_node)
    assert not cluster.exists()
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_cannot_be_pulled_is_told(kind_engine: Engine, tmp_path: Path) -> None:
    cluster = KindCluster(kind_engine, "kdm-no-image", tmp_path / "kubeconfig")
    with pytest.raises(KindFailed, match="kind's node image could not be pulled; KIND_IMAGE="):
        cluster.create("localhost:1/nobody/has:this")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.nightly
def test_deploy_fails_with_the_reason(kind_engine: Engine, no_node: str) -> None:
    name = "kdm-test-deploy"
    builder = bases.builder_image(kind_engine, bases.base_image(kind_engine))
    ended = _deploy({**kind_engine.environment, "KIND_IMAGE": no_node, "BASE": builder}, "--cluster", name)
    assert ended.returncode == 1
    assert "make deploy: " in ended.stderr
    assert NO_SYSTEM in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (DIRECTORY / name).exists()


def _deploy(environment: Mapping[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "integration.kind.deploy", *args]
    return subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True, timeout=600, check=False)
