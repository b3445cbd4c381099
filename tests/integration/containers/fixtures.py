"""Fixtures for tests with containers: an engine, a base image, and kdm's image, once per session."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.unavailable import unavailable

from . import base_image as bases
from .engine import BUILD_TIMEOUT_S, Engine, EngineFailed, Unavailable, running_engine

__all__ = ["base_image", "build_kdm", "builder_image", "checkout", "engine", "kdm_image"]

REPOSITORY = Path(__file__).parents[3]
IMAGE = "kdm-test/kdm"


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The engine `docker` talks to, else one of the tests' own. Where none can be had: a skip, and in CI a failure."""
    try:
        with running_engine() as engine:
            yield engine
    except Unavailable as exc:
        unavailable(f"no container engine: {exc}")


@pytest.fixture(scope="session")
def base_image(engine: Engine) -> str:
    """The tag of a Debian with Python 3.11 and nothing of this host in it."""
    try:
        return bases.base_image(engine)
    except Unavailable as exc:
        unavailable(f"no container engine: {exc}")


@pytest.fixture(scope="session")
def builder_image(engine: Engine, base_image: str) -> str:
    """The tag of the same image, in which pip reaches the package index."""
    return bases.builder_image(engine, base_image)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the image is made of: whatever is edited meanwhile, every build of a session is of this."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md"):
        shutil.copyfile(REPOSITORY / name, copy / name)
    for name in ("deploy/image", "requirements", "src"):
        shutil.copytree(REPOSITORY / name, copy / name, copy_function=shutil.copyfile)
    return copy


@pytest.fixture(scope="session")
def kdm_image(engine: Engine, checkout: Path, base_image: str, builder_image: str) -> str:
    """The tag of kdm's image, made as `make build` makes it."""
    return build_kdm(engine, checkout, IMAGE, builder_image, base_image)


def build_kdm(engine: Engine, checkout: Path, tag: str, builder: str, base: str, *options: str) -> str:
    """Build kdm's image as `make build` does.

    Args:
        engine: Where.
        checkout: Of what.
        tag: What to call it.
        builder: The image to build in.
        base: The image to stand on.
        options: More of `docker build`.

    Returns:
        The tag.
    """
    arguments = [
        f"--tag={tag}",
        f"--context={checkout}",
        f"--base={builder}",
        "--",
        f"--build-arg=RUNTIME={base}",
        "--network=host",
        *options,
    ]
    command = [sys.executable, str(REPOSITORY / "deploy" / "image" / "build.py"), *arguments]
    done = subprocess.run(
        command, env=engine.environment, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise EngineFailed(f"{' '.join(command)}:\n{done.stdout[-6000:]}{done.stderr[-6000:]}")
    return tag
