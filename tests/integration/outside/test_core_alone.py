"""kdm without extras: the wheel, in an environment that has attrs and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

REPOSITORY: Final = Path(__file__).parents[3]
REQUIREMENTS: Final = REPOSITORY / "requirements" / "core.txt"
POLICY: Final = 'version = 1\n[[grant]]\nanyone = true\nverbs = ["read"]\nnamespaces = ["*"]\n'
EXAMPLE: Final = """
import asyncio, sys
from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import DeploymentRef

async def main():
    async with MemoryDeploymentRepository() as repository:
        repository.cluster.create(DeploymentRef("shop", "web"), replicas=3)
        print(repository.get(DeploymentRef("shop", "web")).replicas.desired)

asyncio.run(main())
"""


class Environment:
    """A virtual environment with kdm's wheel, as ``pip install kdm-service`` makes it.

    Args:
        directory: Where to make it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._checked(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory), cwd=REPOSITORY)
        (wheel,) = directory.glob("*.whl")
        self._checked(sys.executable, "-m", "venv", str(directory / "environment"))
        self.bin = directory / "environment" / "bin"
        pip = (str(self.bin / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
        self._checked(*pip, "--require-hashes", "--requirement", str(REQUIREMENTS))
        self._checked(*pip, "--no-index", str(wheel))  # pip finds the wheel's own requirements satisfied, or fails

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment."""
        return subprocess.run(
            [self.bin / program, *arguments],
            cwd=self.directory, env=_clean(), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def _checked(self, *command: str, cwd: Path | None = None) -> None:
        done = subprocess.run(
            command, cwd=cwd or self.directory, env=_clean(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "KDM_"))}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("core"))


def test_it_needs_attrs_alone(environment: Environment) -> None:
    listed = environment.run("python", "-m", "pip", "list", "--format=freeze").stdout
    names = {line.partition("==")[0].lower().replace("_", "-") for line in listed.splitlines()}
    assert names - {"pip", "setuptools"} == {"attrs", "kdm-service"}  # what venv itself brings differs by Python


def test_the_core_and_the_memory_adapter_work(environment: Environment) -> None:
    done = environment.run("python", "-W", "error", "-c", EXAMPLE)
    assert (done.stdout, done.stderr) == ("3\n", "")


@pytest.mark.parametrize("arguments", [["serve"], ["serve", "--dev"], ["certs", "init", "tls"]], ids=" ".join)
def test_a_command_that_needs_an_extra_says_in_one_line_what_to_install(
    environment: Environment, arguments: list[str]
) -> None:
    done = environment.run("kdm", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert f"kdm: {arguments[0]} needs kdm's extra server: pip install 'kdm-service[server]' (" in done.stderr


def test_policies_are_checked_and_help_is_given(environment: Environment) -> None:
    (environment.directory / "policy.toml").write_text(POLICY)
    assert environment.run("kdm", "policy", "check", "policy.toml").stdout == "policy.toml: valid: 1 grant\n"
    assert "--repository" in environment.run("kdm", "serve", "--help").stdout
    assert environment.run("kdm", "--version").stdout.startswith("kdm ")
