"""One installation of kdm for all tests here, on the session's cluster."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from integration.controlplane import binaries
from integration.operate import prometheus

from . import operators
from .cluster import KindCluster
from .installation import Installation

_REPORT = pytest.StashKey[list[str]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build now what the tests will need: inside a test it would count as the test's own time."""
    needed = {fixture for item in session.items for fixture in getattr(item, "fixturenames", ())}
    if session.config.option.collectonly or "scraping" not in needed:
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        try:
            prometheus.programs()
            operators.program()
        except binaries.BuildFailed as exc:
            pytest.exit(f"nothing to scrape kdm with: {exc}", returncode=1)


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
