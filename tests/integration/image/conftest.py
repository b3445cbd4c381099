"""Certificates for the image, made by the image."""

from __future__ import annotations

import pytest

from integration.containers.engine import Engine

from .serving import CONFINED, Pki


@pytest.fixture(scope="session")
def pki(engine: Engine, kdm_image: str, tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """What `kdm certs init` makes in the container, where a directory is mounted that its user may write."""
    directory = tmp_path_factory.mktemp("pki")
    directory.chmod(0o777)
    mounted = (*CONFINED, f"--volume={directory}:/pki")
    engine.output(kdm_image, "certs", "init", "/pki", options=mounted)
    # The keys are their owner's alone, and whoever runs the tests need not be the container's user.
    readable = "import pathlib; [key.chmod(0o644) for key in pathlib.Path('/pki').glob('*-key.pem')]"
    engine.output(kdm_image, "-c", readable, options=(*mounted, "--entrypoint=/opt/kdm/bin/python"))
    return Pki(directory)
