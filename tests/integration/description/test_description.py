"""kdm's own description, read by others: Redocly's linter, and a generated TypeScript client on a round trip."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.kdm_process import CERTS, KdmProcess

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def kdm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KdmProcess]:
    with KdmProcess({}, tmp_path_factory.mktemp("kdm") / "log") as kdm:
        kdm.wait_ready()
        yield kdm


@pytest.fixture(scope="module")
def project(kdm: KdmProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the locked programs, the description as the service gives it, and a program that uses it."""
    directory = tmp_path_factory.mktemp("project")
    for name in ("package.json", "package-lock.json", "round_trip.ts"):
        shutil.copy(HERE / name, directory / name)
    run(directory, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
    with kdm.client() as client:
        (directory / "openapi.json").write_bytes(client.get("/api/v2/openapi.json").content)
    return directory


def run(directory: Path, *command: str) -> str:
    """Run a program and return what it printed."""
    quiet = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "NO_COLOR": "1"}
    ran = subprocess.run(
        command, cwd=directory, env=os.environ | quiet, capture_output=True, text=True, check=False, timeout=240
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-4000:]
    return ran.stdout + ran.stderr


def test_redocly_finds_no_error(project: Path) -> None:
    """Nor a warning, but that there is no licence to name."""
    shown = run(project, "npx", "redocly", "lint", "--skip-rule=info-license", "openapi.json")
    assert "Your API description is valid" in shown
    assert "warning" not in shown.replace("Deprecation warning", "")


def test_a_generated_typescript_client_compiles_and_makes_a_round_trip(project: Path, kdm: KdmProcess) -> None:
    run(project, "npx", "openapi-typescript", "openapi.json", "--output=kdm.ts", "--default-non-nullable=false")
    options = ("--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext")
    run(project, "npx", "tsc", *options, "round_trip.ts")
    shown = run(project, "node", "round_trip.js", kdm.url, str(CERTS))
    assert shown.split() == ["7", "done", "out-of-bounds", "false"]
