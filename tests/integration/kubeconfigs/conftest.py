"""The oracle, for all tests of kubeconfigs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from integration.controlplane import binaries

from . import pki
from .case import Case
from .running import Oracle, Worker


@pytest.fixture(scope="session")
def kubectl() -> Path:
    """The kubectl of the test control plane."""
    return binaries.find("kubectl")["kubectl"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def worker() -> AsyncIterator[Worker]:
    """The process that forks kdm."""
    async with Worker.running() as worker:
        yield worker


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the certificates of `pki`."""
    directory = tmp_path_factory.mktemp("pki")
    pki.write(directory)
    return directory


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def oracle(
    request: pytest.FixtureRequest,
    kubectl: Path,
    worker: Worker,
    certificates: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Oracle:
    """The oracle. The cases of the selected tests are being run."""
    oracle = Oracle(kubectl, worker, certificates, tmp_path_factory.mktemp("homes"))
    selected = [item.callspec.params.get("case") for item in request.session.items if hasattr(item, "callspec")]
    oracle.start(case for case in selected if isinstance(case, Case))
    return oracle
