"""Programs that come as packages of the distribution, because no other registry has them: Debian and its children."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

__all__ = ["Unavailable", "programs"]

# Where the distribution puts what root runs; a user's PATH often lacks it.
_SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


class Unavailable(Exception):
    """A program is not there and cannot be got; the message says what would help."""


def programs(packages: Mapping[str, str]) -> dict[str, str]:
    """Find programs, installing the packages of those that are missing: as root, with apt-get, and told on stderr.

    Args:
        packages: A program's name -> the package it comes in.

    Returns:
        The path of each program.

    Raises:
        Unavailable: One is missing and could not be installed.
    """
    missing = sorted({package for name, package in packages.items() if not _find(name)})
    if missing:
        _install(missing)
    found = {name: _find(name) for name in packages}
    if gone := [name for name, path in found.items() if path is None]:
        raise Unavailable(f"{', '.join(gone)} is not on this machine, though {', '.join(missing)} is installed")
    return {name: path for name, path in found.items() if path is not None}


def _find(name: str) -> str | None:
    return shutil.which(name, path=_SEARCH)


def _install(packages: list[str]) -> None:
    wanted = " ".join(packages)
    if not (apt := _find("apt-get")):
        raise Unavailable(f"this machine lacks {wanted}, and apt-get to install it with")
    if os.geteuid() != 0:
        raise Unavailable(f"this machine lacks {wanted}: install it (sudo apt-get install {wanted}), or run as root")
    print(f"containers: installing {wanted} with apt-get ...", file=sys.stderr, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = [apt, "install", "--yes", "--no-install-recommends", *packages]
    for command in ([apt, "update"], install):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode and command is install:  # one stale mirror of many need not matter
            raise Unavailable(f"apt-get could not install {wanted}:\n{done.stderr.strip()}")
