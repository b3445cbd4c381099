"""The API's description, as others use it: Redocly judges it, and clients in TypeScript and Python are made of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
from attrs import frozen

from integration.clients import node
from integration.controlplane import binaries
from integration.kdm_process import CERTS, KdmProcess

REPOSITORY: Final = Path(__file__).parents[3]
REQUIREMENTS: Final = REPOSITORY / "requirements" / "clients.txt"
PAGE: Final = REPOSITORY / "docs" / "api" / "clients.md"
HERE: Final = Path(__file__).parent
PROJECT: Final = HERE / "project"

SHOWN: Final = {
    "scale": re.findall(r"^```text\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)[-1],
    "rfds": """\
RFD 001: nginx-deployment 3, redis-deployment 1, report-generator 0, session-store 2
set: 4
get: 4
health: healthy
RFD 156: nginx-deployment 4, redis-deployment 1, report-generator 0, session-store 2
set: Replica count updated successfully.
get: 3
health: healthy
""",
    "refused": """\
404 deployment-not-found: Deployment 'shop/nowhere' not found
431: the request's header is larger than 16384 bytes or has more than 100 fields
404: Deployment 'nowhere' not found in any namespace
""",
}
"""What each program prints. They leave the counts as they found them."""


@frozen
class Client:
    """A program's directory, with a client that was generated into it.

    Attributes:
        directory: Where it is run.
        command: What runs a program, whose name takes the place of ``{}``.
        environment: The environment it is run in.
    """

    directory: Path
    command: tuple[str, ...]
    environment: Mapping[str, str]

    def run(self, program: str, url: str) -> str:
        """Run a program against a kdm, and return what it prints."""
        command = [each.format(program) for each in self.command]
        return output([*command, url, str(CERTS)], self.directory, self.environment)


def output(command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> str:
    """Run a command, and return what it prints. It must succeed."""
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def kdm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KdmProcess]:
    with KdmProcess({}, tmp_path_factory.mktemp("kdm") / "log") as process:
        process.wait_ready()
        yield process


@pytest.fixture(scope="module")
def description(kdm: KdmProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("description") / "openapi.json"
    with kdm.client() as client:
        path.write_bytes(client.get("/api/v2/openapi.json").raise_for_status().content)
    return path


@pytest.fixture(scope="module")
def modules() -> Path:
    return node.modules()


@pytest.fixture(scope="module")
def typescript(modules: Path, description: Path, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """A client by openapi-typescript and openapi-fetch, compiled as strictly as tsc can."""
    directory = _project(tmp_path_factory.mktemp("typescript"), "*.ts", "tsconfig.json")
    shutil.copy(HERE / "package.json", directory)
    (directory / "node_modules").symlink_to(modules)
    environment = _clean() | node.environment()
    generate = [str(modules / ".bin" / "openapi-typescript"), str(description), "--output", "kdm.ts"]
    output(generate, directory, environment)
    output([str(modules / ".bin" / "tsc"), "--project", "."], directory, environment)
    return Client(directory, ("node", "built/{}.js"), environment)


@pytest.fixture(scope="module")
def python(description: Path, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """A client by openapi-python-client, to which mypy has nothing to say."""
    interpreter = binaries.environment("clients", REQUIREMENTS)
    directory = _project(tmp_path_factory.mktemp("python"), "*.py")
    tools = f"{interpreter.parent}{os.pathsep}{os.environ['PATH']}"  # the generator calls ruff
    environment = _clean() | {"PATH": tools, "PYTHONPATH": "kdm-client", "MYPYPATH": "kdm-client"}
    generate = [str(interpreter), "-m", "openapi_python_client", "generate", "--fail-on-warning", "--path"]
    output([*generate, str(description)], directory, environment)
    output([str(interpreter), "-m", "mypy", "--strict", "."], directory, environment)
    return Client(directory, (str(interpreter), "-W", "error", "{}.py"), environment)


def test_redocly_finds_nothing_wrong_with_the_description(modules: Path, description: Path) -> None:
    done = _lint(modules, description)
    assert done.returncode == 0, done.stdout + done.stderr


def test_redocly_would_say_what_is_wrong(modules: Path, description: Path, tmp_path: Path) -> None:
    """Of a description without the security scheme: the check above is not empty."""
    document = json.loads(description.read_bytes())
    del document["security"]
    worse = tmp_path / "openapi.json"
    worse.write_text(json.dumps(document))
    done = _lint(modules, worse)
    assert done.returncode == 1
    assert "security-defined" in done.stdout


@pytest.mark.parametrize("program", SHOWN)
def test_a_generated_typescript_client_makes_a_round_trip(typescript: Client, kdm: KdmProcess, program: str) -> None:
    assert typescript.run(program, kdm.url) == SHOWN[program]


@pytest.mark.parametrize("program", SHOWN)
def test_a_generated_python_client_makes_a_round_trip(python: Client, kdm: KdmProcess, program: str) -> None:
    assert python.run(program, kdm.url) == SHOWN[program]


def _lint(modules: Path, description: Path) -> subprocess.CompletedProcess[str]:
    command = [str(modules / ".bin" / "redocly"), "lint", f"--config={HERE / 'redocly.yaml'}", str(description)]
    environment = _clean() | node.environment()
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def _project(directory: Path, *patterns: str) -> Path:
    for pattern in patterns:
        for each in PROJECT.glob(pattern):
            shutil.copy(each, directory)
    return directory


def _clean() -> dict[str, str]:
    """Return the environment without what changes where a client connects to, or what Python finds."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KDM_", "MYPY", "PYTHON"))}
    return {name: value for name, value in kept.items() if not name.lower().endswith("_proxy")}
