"""`make deploy`: kdm on a local kind cluster, made if it is missing, upgraded to this checkout if not."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys

from integration.controlplane.binaries import BuildFailed

from .cluster import KindCluster, KindFailed, check_privileged
from .installation import REPOSITORY, build_image, install, program


def main(argv: list[str]) -> int:
    """Deploy.

    Returns:
        0; 1, with the reason on standard error, where it could not be done.
    """
    parser = argparse.ArgumentParser(prog="make deploy", description=__doc__)
    parser.add_argument("--cluster", default="kdm", help="its name [kdm]")
    parser.add_argument("--node-image", default="", help="the nodes' image [kind's own]")
    parser.add_argument("options", nargs="*", help="of deploy/image/build.py")
    arguments = parser.parse_args(argv)
    kubeconfig = REPOSITORY / ".kind" / f"{arguments.cluster}.kubeconfig"
    try:
        _check_docker()
        image = build_image(os.environ, *arguments.options)
        cluster = KindCluster(program("kind"), arguments.cluster, kubeconfig, os.environ)
        kubeconfig.parent.mkdir(exist_ok=True)
        if cluster.exists():
            cluster.connect()
        else:
            check_privileged(os.environ, image)
            cluster.create(arguments.node_image)
        told = install(cluster, image)
    except (BuildFailed, KindFailed) as exc:
        print(f"make deploy: {exc}", file=sys.stderr)
        return 1
    print(f"{told}\nFirst, in every terminal:\n\n  export KUBECONFIG={kubeconfig}\n")
    print(f"To remove it all: {program('kind')} delete cluster --name {arguments.cluster}")
    return 0


def _check_docker() -> None:
    if not shutil.which("docker"):
        raise KindFailed("'docker' is not on the PATH: install Docker (Debian: apt install docker.io)")
    answer = subprocess.run(["docker", "version"], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise KindFailed(f"no Docker daemon answers: {answer.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
