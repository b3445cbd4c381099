"""The distribution's own minimal system, as a directory: what images are made of where none can be pulled."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from integration.controlplane import binaries

from .distribution import programs

__all__ = ["SUITE", "install_system", "pack", "run"]

SUITE = "bookworm"  # has the Python 3.11 that kdm's own environment has


def install_system(root: Path, packages: Iterable[str]) -> None:
    """Install a system into an empty directory, in a minute, and leave out what only installing more would need.

    Args:
        root: The directory.
        packages: What is in it beside the essential.

    Raises:
        Unavailable: debootstrap is missing, or cannot run here.
        BuildFailed: It failed.
    """
    debootstrap = programs({"debootstrap": "debootstrap"})["debootstrap"]
    run(debootstrap, "--variant=minbase", f"--include={','.join(packages)}", SUITE, str(root))
    for rubbish in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(root / rubbish)


def pack(root: Path, archive: Path) -> None:
    """Write a system to a tar archive that `docker import` takes."""
    run(programs({"tar": "tar"})["tar"], "-cf", str(archive), "--numeric-owner", "-C", str(root), ".")


def run(*command: str) -> str:
    """Run a command and return its standard output.

    Raises:
        BuildFailed: It ended with an error; the message has the end of what it wrote.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise binaries.BuildFailed(f"{command[0]} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout
