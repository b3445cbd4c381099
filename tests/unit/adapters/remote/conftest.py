"""What most tests of the remote adapter start from: a kdm that can be made to fail, and who may call it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from unit.adapters.remote.harness import Gated, gated
from unit.http.credentials import Credentials


@pytest.fixture(scope="module")
def credentials() -> Credentials:
    return Credentials()


@pytest.fixture(scope="module")
def kdm(tmp_path_factory: pytest.TempPathFactory, credentials: Credentials) -> Iterator[Gated]:
    with gated(tmp_path_factory.mktemp("kdm"), credentials=credentials) as running:
        yield running
