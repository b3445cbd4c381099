"""Node.js packages, installed from a lock and kept where the control plane's programs are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from integration.controlplane import binaries
from integration.unavailable import unavailable

HERE: Final = Path(__file__).parent
NODE_AT_LEAST: Final = (20, 19)  # what Redocly's command needs
_INSTALL: Final = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")


class InstallFailed(Exception):
    """npm could not install the packages; the message has npm's own words."""


def modules(project: Path = HERE) -> Path:
    """Install the locked packages, or find that somebody did.

    Where there is no Node.js that is new enough, the test is skipped; in CI it fails.

    Args:
        project: The directory of ``package.json`` and its lock.

    Returns:
        The directory ``node_modules``.

    Raises:
        InstallFailed: npm refused.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        unavailable(f"packages of Node.js need Node.js and npm, and there is no {'npm' if node else 'node'}")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < NODE_AT_LEAST:
        unavailable(f"npm packages need Node.js {'.'.join(map(str, NODE_AT_LEAST))} or newer, and it is {version}")
    inputs = [project / name for name in (".npmrc", "package-lock.json", "package.json")]

    def install(directory: Path) -> None:
        for each in inputs:
            shutil.copy(each, directory)
        with binaries.progress("installing Node.js packages"):
            done = subprocess.run([npm, *_INSTALL], cwd=directory, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InstallFailed(f"npm {' '.join(_INSTALL)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")

    contents = [each.read_bytes() for each in inputs]
    return binaries.cached(f"npm-{binaries.digest(*contents, version.encode())}", install) / "node_modules"


def environment() -> dict[str, str]:
    """Return an environment in which the programs talk to nobody but whom they are asked to."""
    return os.environ | {"REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "REDOCLY_TELEMETRY": "off"}
