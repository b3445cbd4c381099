"""`nox -s release`: builds what a release consists of into a directory, checks it, and publishes nothing.

The version is pyproject.toml's. The wheel, the chart and the image's tag must all have it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Final

import yaml

from integration.chart.helm import CHART, VERSIONS, Helm, HelmFailed
from integration.controlplane import binaries

REPOSITORY: Final = Path(__file__).parents[2]
PACKAGES: Final = ("kdm_core", "kdm_adapters", "kdm_http", "kdm_cli")


class NotReleasable(Exception):
    """A part of the release is wrong; the message says which and how."""


def main(argv: list[str]) -> int:
    """Build and check everything.

    Returns:
        1, with the reason on standard error, where something is wrong.
    """
    parser = argparse.ArgumentParser(description="Build and check a release; publish nothing.")
    parser.add_argument("--directory", type=Path, default=REPOSITORY / "dist", help="where to [dist]")
    directory: Path = parser.parse_args(argv).directory
    directory.mkdir(parents=True, exist_ok=True)
    try:
        version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
        made = [build_wheel(directory, version), package_chart(directory, version)]
        image = image_command(version)
    except (NotReleasable, HelmFailed, binaries.BuildFailed) as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    for path in made:
        print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}")
    print(f"image: {image}")
    print(f"release: {version} is complete; nothing was published")
    return 0


def build_wheel(directory: Path, version: str) -> Path:
    """Build the wheel twice, which must give the same bytes, and check its name, content and metadata."""
    wheel = directory / f"kdm_service-{version}-py3-none-any.whl"
    with tempfile.TemporaryDirectory() as again:
        for place in (directory, Path(again)):
            _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place))
        if not wheel.is_file():
            raise NotReleasable(f"the build made no {wheel.name}")
        if wheel.read_bytes() != (Path(again) / wheel.name).read_bytes():
            raise NotReleasable(f"two builds of {wheel.name} differ")
    check_content(wheel, version)
    _run(sys.executable, "-m", "twine", "check", "--strict", str(wheel))
    return wheel


def check_content(wheel: Path, version: str) -> None:
    """Check that a wheel holds src, all of it and nothing else, and the command.

    Raises:
        NotReleasable: It does not.
    """
    with zipfile.ZipFile(wheel) as archive:
        information = f"kdm_service-{version}.dist-info"
        held = {name for name in archive.namelist() if not name.startswith(f"{information}/")}
        scripts = archive.read(f"{information}/entry_points.txt").decode()
        metadata = archive.read(f"{information}/METADATA").decode()
    tracked = _run("git", "ls-files", "--", *(f"src/{each}" for each in PACKAGES)).splitlines()
    wanted = {each.removeprefix("src/") for each in tracked}
    if held != wanted:
        raise NotReleasable(f"{wheel.name} and src differ in {', '.join(sorted(held ^ wanted))}")
    if "kdm = kdm_cli.__main__:main" not in scripts:
        raise NotReleasable(f"{wheel.name} lacks the command kdm")
    if f"\nVersion: {version}\n" not in metadata:
        raise NotReleasable(f"{wheel.name} has another version than {version}")
    always = re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", metadata, re.MULTILINE)
    if always != ["attrs"]:
        raise NotReleasable(f"{wheel.name} requires {', '.join(always)} without an extra, not attrs alone")


def package_chart(directory: Path, version: str) -> Path:
    """Package the chart, and check that what is in the package installs the image of this version."""
    with tempfile.TemporaryDirectory() as home:
        helm = Helm(binaries.find("helm")["helm"], Path(home))
        helm.run("lint", "--strict", str(CHART), "--kube-version", VERSIONS[-1], "--set", "trial.enabled=true")
        helm.run("package", str(CHART), "--destination", str(directory))
        package = directory / f"kdm-{version}.tgz"
        if not package.is_file():
            raise NotReleasable(f"Chart.yaml has another version than pyproject.toml's {version}")
        rendered = helm.run(
            "template", "kdm", str(package), "--kube-version", VERSIONS[-1], "--set", "trial.enabled=true"
        )
    images = {
        container["image"]
        for each in yaml.safe_load_all(rendered)
        if each and each["kind"] == "Deployment"
        for container in each["spec"]["template"]["spec"]["containers"]
    }
    if images != {f"kdm:{version}"}:
        raise NotReleasable(f"the chart installs {', '.join(sorted(images)) or 'no image'}, not kdm:{version}")
    return package


def image_command(version: str) -> str:
    """Return the command that would build the image; its tag and its label have the version.

    Raises:
        NotReleasable: They have not.
    """
    shown = _run(sys.executable, "deploy/image/build.py", "--dry-run", "--tag", f"kdm:{version}").strip()
    missing = {f"--tag=kdm:{version}", f"--label=org.opencontainers.image.version={version}"} - {*shlex.split(shown)}
    if missing:
        raise NotReleasable(f"the image lacks {', '.join(sorted(missing))}")
    if "-dirty" in shown:
        raise NotReleasable("the checkout has changes that are not committed: nobody could build this again")
    return shown


def _run(*command: str) -> str:
    epoch = (
        os.environ.get("SOURCE_DATE_EPOCH")
        or subprocess.run(
            ["git", "log", "-1", "--format=%ct"], cwd=REPOSITORY, capture_output=True, text=True, check=True
        ).stdout.strip()
    )
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotReleasable(
            f"{shlex.join(command[:6])} ended with {done.returncode}: {done.stdout}{done.stderr}".strip()
        )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
