"""One node, one control plane and one installation of kdm for all tests here.

A machine that cannot run Pods is a skip that says why, and where CI is set a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from integration.containers.engine import Engine
from integration.controlplane import binaries
from integration.controlplane.cluster import ControlPlane
from integration.unavailable import unavailable

from . import machine
from .installation import Installation
from .node import PROGRAMS, Node

_REPORT = pytest.StashKey[list[str]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build now what the tests will need: inside a test it would count as the test's own time."""
    needed = {fixture for item in session.items for fixture in getattr(item, "fixturenames", ())}
    if session.config.option.collectonly or "node" not in needed or machine.lacking():
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        try:
            binaries.find(*binaries.CONTROL_PLANE, *PROGRAMS, "helm")
        except binaries.BuildFailed as exc:
            pytest.exit(f"no cluster to test on: {exc}", returncode=1)


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
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that no control plane has yet."""
    if missing := machine.lacking():
        unavailable(f"no Pods here: this machine lacks {', '.join(missing)}")
    with Node(tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture(scope="session")
def plane(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane whose one node is real."""
    directory = tmp_path_factory.mktemp("plane")
    with ControlPlane(controllers=True, gateway=node.gateway, directory=directory) as plane:
        node.join(plane)
        yield plane


@pytest.fixture(scope="session")
def image(engine: Engine, kdm_image: str, node: Node, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Kdm's image with its tag; the node has it."""
    tag = f"{kdm_image}:pods"
    engine.docker("tag", kdm_image, tag)
    archive = engine.save(tag, tmp_path_factory.mktemp("image") / "kdm.tar")
    node.containerd.load(archive)
    archive.unlink()
    return tag


@pytest.fixture(scope="session")
def _installation(plane: ControlPlane, image: str) -> Installation:
    installation = Installation(plane, image)
    installation.install()
    return installation


@pytest.fixture
def kdm(_installation: Installation) -> Installation:
    """Two Pods of kdm that serve, and none that ends."""
    _installation.wait_settled()
    return _installation
