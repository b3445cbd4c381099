"""Fixtures of a kind cluster, made once per session. All integration tests run on it if pytest is told `--kind`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from integration.containers.engine import Engine, Unavailable, running_engine
from integration.unavailable import unavailable

from .cluster import KindCluster
from .machine import Machine
from .making import make

__all__ = ["WORKERS", "_kind", "kind_cluster", "kind_engine", "kind_image"]

WORKERS = 2


@pytest.fixture(scope="session")
def kind_engine() -> Iterator[Engine]:
    """An engine that runs privileged containers. Where none can be had: a skip that says why, and in CI a failure.

    One of our own, and all that ran in it, leaves the machine as it was: else the session's last test has an error.
    """
    machine = Machine(None)
    try:
        with running_engine(privileged=True) as engine:
            before = machine.picture() if engine.own else {}  # in it is nothing of an engine
            machine.expect_end_of(engine.environment.get("DOCKER_HOST", ""))
            yield engine
    except Unavailable as exc:
        unavailable(f"no kind cluster: {exc}")
    assert not before or machine.lasting_changes(before) == []


@pytest.fixture(scope="session")
def _kind(kind_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KindCluster, str]]:
    name = f"kdm-test-{uuid.uuid4().hex[:8]}"
    cluster = KindCluster(kind_engine, name, tmp_path_factory.mktemp("kind") / "kubeconfig")
    try:
        yield cluster, make(kind_engine, cluster, WORKERS)
    finally:
        cluster.delete()


@pytest.fixture(scope="session")
def kind_cluster(_kind: tuple[KindCluster, str]) -> KindCluster:
    """A control plane and two workers."""
    return _kind[0]


@pytest.fixture(scope="session")
def kind_image(_kind: tuple[KindCluster, str]) -> str:
    """Kdm's image with its tag; every node has it."""
    return _kind[1]
