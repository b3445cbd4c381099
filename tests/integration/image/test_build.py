"""`make build`, and what it says where it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from integration.controlplane import binaries

REPOSITORY = Path(__file__).parents[3]
HADOLINT = REPOSITORY / "requirements" / "hadolint.txt"


def test_without_docker_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "python3").symlink_to(sys.executable)
    answer = _make_build({"PATH": str(tmp_path)})
    assert answer.returncode != 0
    assert "make build: 'docker' is not on the PATH" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_without_a_daemon_it_says_so(tmp_path: Path) -> None:
    answer = _make_build({"DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"})
    assert answer.returncode != 0
    assert "make build: no Docker daemon answers" in answer.stderr


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = binaries.environment("hadolint", HADOLINT).parent / "hadolint"
    done = subprocess.run([hadolint, REPOSITORY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def _make_build(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    make = shutil.which("make")
    assert make, "make is what this is about"
    command = [make, "--no-print-directory", "build", "SHELL=/bin/sh"]
    return subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
