"""Builds kdm's image: `make build`. Needs Docker and Python, nothing else; arguments after `--` go to docker build."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def main(argv: list[str]) -> int:
    """Build.

    Returns:
        docker build's exit code; 1, with the reason on standard error, where there is no Docker.
    """
    parser = argparse.ArgumentParser(description="Build kdm's container image.")
    parser.add_argument("--tag", default="kdm:dev", help="what to call it [kdm:dev]")
    parser.add_argument("--base", help="the image to build on, best with its digest [the Dockerfile's]")
    parser.add_argument("--context", default=str(REPOSITORY), help="the directory to build [this checkout]")
    parser.add_argument("--dry-run", action="store_true", help="print docker's command; needs no Docker")
    parser.add_argument("options", nargs="*", metavar="-- OPTION", help="more of docker build")
    arguments = parser.parse_args(argv)

    if arguments.dry_run:
        print(shlex.join(_command(arguments)))
        return 0
    if not shutil.which("docker"):
        return _fail("'docker' is not on the PATH: install Docker (Debian: apt install docker.io)")
    if (answer := _run("docker", "version")).returncode:
        return _fail(f"no Docker daemon answers: {answer.stderr.strip()}")

    buildx = _run("docker", "buildx", "version").returncode == 0
    environment = {
        **os.environ,
        "DOCKER_BUILDKIT": "1" if buildx else "0",
        "SOURCE_DATE_EPOCH": str(_epoch()),  # BuildKit's time for the image itself
    }
    if not buildx:
        print(
            "make build: without buildx, so by the daemon's own builder: same layers, other image id", file=sys.stderr
        )
        arguments.options.insert(0, "--force-rm")  # else what failed leaves its container
    return subprocess.run(_command(arguments), env=environment, check=False).returncode


def _command(arguments: argparse.Namespace) -> list[str]:
    options = [f"--tag={arguments.tag}", *(f"--label=org.opencontainers.image.{each}" for each in _labels())]
    if arguments.base:
        options.append(f"--build-arg=BASE={arguments.base}")
    # Docker passes a proxy's variables on by name and keeps them out of the image.
    options += [
        f"--build-arg={name}" for name in os.environ if name.lower() in {"http_proxy", "https_proxy", "no_proxy"}
    ]
    return ["docker", "build", *options, *arguments.options, arguments.context]


def _labels() -> list[str]:
    """What of the OCI's annotations (image-spec, annotations.md) is known: nothing is made up."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    created = dt.datetime.fromtimestamp(_epoch(), dt.UTC).isoformat()
    known = {
        "version": project["version"],
        "created": created,
        "revision": _revision(),
        "source": re.sub("//[^/@]*@", "//", _git("config", "--get", "remote.origin.url")),  # no credentials
        "licenses": project.get("license"),
    }
    return [f"{name}={value}" for name, value in known.items() if value]


def _epoch() -> int:
    """The time of what is built, seconds since 1970: reproducible-builds.org's SOURCE_DATE_EPOCH, or the commit's."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct") or 0)


def _revision() -> str:
    revision = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--", "Dockerfile", "deploy/image", "pyproject.toml", "requirements", "src")
    return f"{revision}-dirty" if revision and changed else revision


def _git(*arguments: str) -> str:
    """Ask git; nothing where this is no checkout or git is missing."""
    return _run("git", "-C", str(REPOSITORY), *arguments).stdout.strip() if shutil.which("git") else ""


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _fail(reason: str) -> int:
    print(f"make build: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
