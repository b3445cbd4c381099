"""kdm in a program that nobody here wrote: the wheel, installed elsewhere, under two type checkers and pytest."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from integration.controlplane import binaries

REPOSITORY: Final = Path(__file__).parents[3]
REQUIREMENTS: Final = REPOSITORY / "requirements" / "outside.txt"
PROJECT: Final = Path(__file__).with_name("project")
HARNESS: Final = REPOSITORY / "tests" / "unit" / "adapters" / "memory" / "harness.py"


class Outside:
    """A project with an environment of its own, in which kdm is a wheel and nothing of this checkout is to be found.

    Args:
        directory: Where to put it.
    """

    def __init__(self, directory: Path) -> None:
        tools = binaries.environment("outside", REQUIREMENTS)
        wheels = directory / "wheels"
        self._run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels), cwd=REPOSITORY)
        (wheel,) = wheels.iterdir()
        environment = directory / "environment"
        self._run(str(tools), "-m", "venv", str(environment), cwd=directory)
        self.python = str(environment / "bin" / "python")
        self._run(self.python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel), cwd=directory)
        (packages,) = environment.glob("lib/python*/site-packages")
        (others,) = tools.parents[1].glob("lib/python*/site-packages")
        (packages / "others.pth").write_text(f"{others}\n")  # attrs, pytest and the checkers
        self.project = directory / "project"
        shutil.copytree(PROJECT, self.project)
        shutil.copy(HARNESS, self.project / "harness.py")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a module in the project."""
        return subprocess.run(
            [self.python, "-m", *arguments],
            cwd=self.project, capture_output=True, text=True, timeout=280, check=False, env=_clean(),
        )  # fmt: skip

    @staticmethod
    def _run(*command: str, cwd: Path) -> None:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=_clean())
        assert done.returncode == 0, done.stdout + done.stderr


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MYPY"))}


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Outside:
    return Outside(tmp_path_factory.mktemp("outside"))


def test_it_runs(outside: Outside) -> None:
    """And kdm comes from the wheel."""
    done = outside.run("embedding")
    assert done.returncode == 0, done.stderr
    found = subprocess.run(
        [outside.python, "-c", "import kdm_core; print(kdm_core.__file__)"],
        cwd=outside.project, capture_output=True, text=True, check=True, env=_clean(),
    )  # fmt: skip
    assert "environment" in found.stdout


def test_mypy_strict_has_nothing_to_say(outside: Outside) -> None:
    done = outside.run("mypy", "--strict", ".")
    assert done.returncode == 0, done.stdout + done.stderr


def test_basedpyright_has_nothing_to_say(outside: Outside) -> None:
    done = outside.run("basedpyright", "--pythonpath", outside.python, ".")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.nightly
def test_the_contract_suite_passes_an_honest_repository_and_finds_a_lying_one(outside: Outside) -> None:
    honest = outside.run("pytest", "-q", "-p", "no:cacheprovider", "suites.py", "-k", "TestHonest")
    assert honest.returncode == 0, honest.stdout + honest.stderr
    assert int(re.findall(r"(\d+) passed", honest.stdout)[0]) > 50
    lying = outside.run("pytest", "-q", "-p", "no:cacheprovider", "suites.py", "-k", "TestLying")
    assert lying.returncode == 1, lying.stdout + lying.stderr
    assert re.search(r"FAILED .*list", lying.stdout)
