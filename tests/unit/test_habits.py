"""What a contributor's and a releaser's habits rest on: one version, and the same checks before a commit as in CI."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
VERSION = PROJECT["project"]["version"]


def nox_commands() -> dict[str, list[str]]:
    """Return what each session of noxfile.py runs with words that stand there: the first two of each command."""
    found: dict[str, list[str]] = {}
    for function in ast.parse((REPOSITORY / "noxfile.py").read_text()).body:
        if isinstance(function, ast.FunctionDef):
            calls = [each for each in ast.walk(function) if isinstance(each, ast.Call)]
            words = [[arg.value for arg in each.args if isinstance(arg, ast.Constant)] for each in calls]
            found[function.name] = [" ".join(map(str, each)) for each in words if each]
    return found


def test_the_chart_has_the_version_of_the_package() -> None:
    """The image's tag is the chart's appVersion, so this holds all three together."""
    chart = yaml.safe_load((REPOSITORY / "deploy" / "helm" / "kdm" / "Chart.yaml").read_text())
    values = yaml.safe_load((REPOSITORY / "deploy" / "helm" / "kdm" / "values.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (VERSION, VERSION)
    assert values["image"]["tag"] == ""


def test_the_image_is_labelled_with_the_version_of_the_package() -> None:
    build = REPOSITORY / "deploy" / "image" / "build.py"
    shown = subprocess.run(
        [sys.executable, build, "--dry-run", "--tag", f"kdm:{VERSION}"], capture_output=True, text=True, check=True
    ).stdout
    command = shlex.split(shown)
    assert f"--tag=kdm:{VERSION}" in command
    assert f"--label=org.opencontainers.image.version={VERSION}" in command


def test_the_changelog_separates_added_changed_and_fixed() -> None:
    """By Keep a Changelog's names, in its order, none empty and none twice."""
    text = (REPOSITORY / "CHANGELOG.md").read_text()
    releases = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert releases
    order = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
    for release in releases:
        title, *sections = re.split(r"^### ", release, flags=re.MULTILINE)
        names = [each.partition("\n")[0] for each in sections]
        assert names == sorted(set(names), key=order.index), title
        assert all(re.search(r"^- ", each, re.MULTILINE) for each in sections), title


def test_a_commit_is_checked_by_what_the_sessions_run() -> None:
    """The hooks fetch nothing, and run ruff, mypy and import-linter as `nox -s lint types imports` does."""
    config = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())
    assert [each["repo"] for each in config["repos"]] == ["local"]
    hooks = {each["id"]: each["entry"].removeprefix(".venv/bin/") for each in config["repos"][0]["hooks"]}
    sessions = nox_commands()
    assert hooks == {
        "ruff-format": "ruff format --force-exclude",
        "ruff-check": "ruff check --force-exclude",
        "mypy": "mypy",
        "lint-imports": "lint-imports",
    }
    assert {"ruff format --check", "ruff check"} <= {*sessions["lint"]}
    assert "mypy" in sessions["types"]
    assert "lint-imports" in sessions["imports"]
    checked = subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-config", ".pre-commit-config.yaml"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_module_of_src_is_longer_than_a_person_reads_at_once() -> None:
    long = {
        path.relative_to(REPOSITORY).as_posix(): lines
        for path in sorted((REPOSITORY / "src").rglob("*.py"))
        if (lines := len(path.read_text().splitlines())) > 350
    }
    assert not long


def test_packages_of_node_are_locked_by_their_hashes_and_by_no_place_they_come_from() -> None:
    """A lock that names a registry's host would send whoever has a mirror to that host."""
    directory = REPOSITORY / "tests" / "integration" / "clients"
    wanted = json.loads((directory / "package.json").read_text())
    lock = json.loads((directory / "package-lock.json").read_text())
    root = lock["packages"].pop("")
    for kind in ("dependencies", "devDependencies"):
        assert root[kind] == wanted[kind]
        assert all(re.fullmatch(r"\d+\.\d+\.\d+", each) for each in wanted[kind].values())
    for name, package in lock["packages"].items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name
        assert not package.get("hasInstallScript"), name
