"""Which cluster the integration tests run against.

`KDM_TEST_KUBECONFIG` names the kubeconfig of an existing one; no other environment variable and no default kubeconfig
leads to somebody's cluster. With `--kind` it is a kind cluster, made for the tests and deleted afterwards. Otherwise a
control plane of our own is started, from the programs in `KUBEBUILDER_ASSETS` and, where these are not set or not
enough, from programs built here. A test that gets no cluster fails.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .containers.fixtures import base_image, builder_image, checkout, engine, kdm_image  # noqa: F401 - fixtures for every test
from .controlplane import binaries
from .controlplane.access import Cluster
from .controlplane.cluster import ControlPlane
from .kind import making
from .kind.cluster import KindCluster
from .kind.fixtures import _kind, kind_cluster, kind_engine, kind_image  # noqa: F401
from .proxy import Proxy


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--kind`."""
    parser.addoption("--kind", action="store_true", help="run on a kind cluster, made for the tests and deleted")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give the first test that wants kdm's image, or a cluster with it, the time to build it.

    Those that make clusters of their own come first: there is not the memory for two.
    """
    items.sort(key=lambda item: item.get_closest_marker("own_kind_cluster") is None)
    slow = {"engine", "kind_engine", *(["cluster"] if config.option.kind else [])}
    for item in items:
        makes = item.get_closest_marker("own_kind_cluster")
        if makes or not slow.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.timeout(1200))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build now what the tests will need: inside a test it would count as the test's own time."""
    needed = {fixture for item in session.items for fixture in getattr(item, "fixturenames", ())}
    some, kind = "cluster" in needed and not _existing(), session.config.option.kind
    own = not {"_own_control_plane", "kubectl"}.isdisjoint(needed) or (some and not kind)
    makes = any(item.get_closest_marker("own_kind_cluster") for item in session.items)
    kind = makes or "kind_cluster" in needed or (some and kind)
    if session.config.option.collectonly or not (own or kind):
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        try:
            if own:
                binaries.find(*binaries.CONTROL_PLANE)
            if kind:
                making.prepare()
        except binaries.BuildFailed as exc:
            pytest.exit(f"no control plane to test against: {exc}", returncode=1)


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster in which Deployments get Pods. It may be anybody's: a test may not assume that it is alone in it."""
    directory = tmp_path_factory.mktemp("cluster")
    if existing := _existing():
        kubectl = shutil.which("kubectl") or binaries.find("kubectl")["kubectl"]
        found = Cluster(existing, Path(kubectl), directory)
        found.kubectl("get", "--raw=/readyz")
        yield found
    elif request.config.option.kind:
        kind: KindCluster = request.getfixturevalue("kind_cluster")
        yield kind.access
    else:
        with ControlPlane(controllers=True, directory=directory) as plane:
            yield plane


@pytest.fixture
def kubeconfig(cluster: Cluster) -> Path:
    """The kubeconfig of a cluster's administrator: all that most tests need to know."""
    return cluster.kubeconfig


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace for this test alone."""
    with cluster.fresh_namespace() as name:
        yield name


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[Proxy]:
    """A proxy to the cluster, passing everything until it is told otherwise; see `Proxy.kubeconfig`."""
    with Proxy.to(cluster.kubeconfig) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def _own_control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(directory=tmp_path_factory.mktemp("control-plane")) as plane:
        yield plane


@pytest.fixture
def control_plane(_own_control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """A control plane to kill, freeze and restart: always our own, never the `cluster`, and without controllers.

    It is mended after the test. The objects stay: use `control_plane.fresh_namespace()`.
    """
    yield _own_control_plane
    _own_control_plane.restore()


def _existing() -> Path | None:
    path = os.environ.get("KDM_TEST_KUBECONFIG")
    return Path(path).absolute() if path else None
