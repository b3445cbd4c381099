"""kdm on a kind cluster: the image of this checkout, and the chart as a trial."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from integration.controlplane import binaries

from .cluster import KindCluster, KindFailed

__all__ = ["RELEASE", "build_image", "install", "program"]

REPOSITORY: Final = Path(__file__).parents[3]
CHART: Final = REPOSITORY / "deploy" / "helm" / "kdm"
RELEASE: Final = "kdm"
NAMESPACE: Final = "kdm"
ROLLED_OUT_WITHIN: Final = "180s"


def program(name: str) -> Path:
    """Find `helm`, `kind` or `kubectl`: the user's own, else built from its pinned Go module.

    Raises:
        BuildFailed: There is none and it could not be built.
    """
    found = shutil.which(name)
    return Path(found) if found else binaries.find(name)[name]


def build_image(environment: Mapping[str, str], *options: str) -> str:
    """Build the image as `make build` does.

    Args:
        environment: Whose `docker` builds.
        options: More of deploy/image/build.py.

    Returns:
        A tag of this very image and no other: a release that is upgraded to it rolls out.

    Raises:
        KindFailed: It could not be built; the builder's words have been shown.
    """
    build = [sys.executable, str(REPOSITORY / "deploy" / "image" / "build.py"), "--tag=kdm:dev", *options]
    if subprocess.run(build, env=environment, check=False).returncode:
        raise KindFailed("the image could not be built, see above")
    described = _run(["docker", "image", "inspect", "kdm:dev"], environment)
    layers = "".join(json.loads(described)[0]["RootFS"]["Layers"])
    tag = f"kdm:dev-{binaries.digest(layers.encode())[:12]}"
    _run(["docker", "tag", "kdm:dev", tag], environment)
    return tag


def install(cluster: KindCluster, image: str) -> str:
    """Load an image and install the chart with it, or upgrade: a trial, with its own certificates. Wait until it runs.

    Returns:
        What to do next, as the chart tells it.

    Raises:
        KindFailed: Something could not be done, or kdm was not Ready in time.
    """
    cluster.load(image)
    repository, _, tag = image.rpartition(":")
    values = {"image": {"repository": repository, "tag": tag}, "trial": {"enabled": True}}
    place = [f"--namespace={NAMESPACE}", "--create-namespace", f"--kubeconfig={cluster.kubeconfig}"]
    command = [str(program("helm")), "upgrade", "--install", RELEASE, str(CHART), *place, "--values=-"]
    return _run([*command, "--wait", f"--timeout={ROLLED_OUT_WITHIN}"], os.environ, json.dumps(values))


def smoke_test(cluster: KindCluster) -> None:
    """Run the chart's own test: a Pod that talks to kdm over mutual TLS.

    Raises:
        KindFailed: It failed.
    """
    _run(
        [
            str(program("helm")),
            "test",
            RELEASE,
            f"--namespace={NAMESPACE}",
            f"--kubeconfig={cluster.kubeconfig}",
            "--logs",
        ],
        os.environ,
    )


def _run(command: list[str], environment: Mapping[str, str], stdin: str = "") -> str:
    done = subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise KindFailed(f"{' '.join(command[:3])}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
