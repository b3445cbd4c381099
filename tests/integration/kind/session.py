"""`nox -s kind`: the integration tests, and kdm installed by its chart, on a cluster made for them and deleted after.

Arguments go to pytest. The tests know nothing of kind: they get a kubeconfig through KDM_TEST_KUBECONFIG.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from integration.containers import base_image
from integration.containers.engine import Engine, Unavailable, running_engine
from integration.controlplane.binaries import BuildFailed

from .cluster import KindCluster, KindFailed, check_privileged
from .installation import REPOSITORY, build_image, install, program, smoke_test

# They make what they test themselves, whatever cluster there is.
NOT_THERE = ("chart", "image", "kind", "pods")


def main(pytest_args: Sequence[str]) -> int:
    """Create, test, delete.

    Returns:
        pytest's exit code; 1, with the reason on standard error, where no cluster could be made or kdm did not run.
    """
    try:
        with running_engine() as engine, tempfile.TemporaryDirectory(prefix="kdm-kind-") as directory:
            return _test(engine, Path(directory), pytest_args)
    except (BuildFailed, KindFailed, Unavailable) as exc:
        print(f"kind: nothing was tested: {exc}", file=sys.stderr)
        return 1


def _test(engine: Engine, directory: Path, pytest_args: Sequence[str]) -> int:
    image = build_image(engine.environment, *_build_options(engine))
    check_privileged(engine.environment, image)
    networks = _networks(engine)
    name = f"kdm-test-{uuid.uuid4().hex[:8]}"
    cluster = KindCluster(program("kind"), name, directory / "kubeconfig", engine.environment)
    try:
        cluster.create(os.environ.get("KIND_IMAGE", ""))
        install(cluster, image)
        smoke_test(cluster)
        ignored = [f"--ignore=tests/integration/{each}" for each in NOT_THERE]
        command = [sys.executable, "-m", "pytest", "tests/integration", *ignored, *pytest_args]
        environment = {**engine.environment, "KDM_TEST_KUBECONFIG": str(cluster.kubeconfig)}
        return subprocess.run(command, cwd=REPOSITORY, env=environment, check=False).returncode
    finally:
        cluster.delete()
        if "kind" in _networks(engine) - networks:  # kind leaves the one it makes
            engine.docker("network", "rm", "kind")


def _networks(engine: Engine) -> set[str]:
    return set(engine.docker("network", "ls", "--format={{.Name}}").split())


def _build_options(engine: Engine) -> list[str]:
    """What to build on: the caller's BASE, else the Dockerfile's; for an engine of ours one that needs no pulling."""
    if base := os.environ.get("BASE"):
        return [f"--base={base}"]
    if not engine.own:
        return []
    base = base_image.base_image(engine)
    builder = base_image.builder_image(engine, base)
    return [f"--base={builder}", "--", f"--build-arg=RUNTIME={base}", "--network=host"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
