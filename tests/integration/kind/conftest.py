"""One installation of kdm for all tests here, on the session's cluster."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .cluster import KindCluster
from .installation import Installation

_REPORT = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tell what was measured, whether tests passed or not."""
    for line in config.stash.get(_REPORT, []):
        terminalreporter.write_line(line)


@pytest.fixture
def tell(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Have a line printed at the end of the run, and kept in the report of `--junit-xml`."""
    lines = request.config.stash.setdefault(_REPORT, [])

    def tell(line: str) -> None:
        lines.append(f"{request.node.name}: {line}")
        record_property("told", line)

    return tell


@pytest.fixture(scope="session")
def _installation(kind_cluster: KindCluster, kind_image: str) -> Installation:
    installation = Installation(kind_cluster, kind_image)
    installation.install()
    return installation


@pytest.fixture
def kdm(_installation: Installation) -> Installation:
    """Two Pods of kdm that serve, and none that ends."""
    _installation.wait_settled()
    return _installation
