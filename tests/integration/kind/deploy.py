"""`make deploy`: kdm on a local kind cluster, made if it is missing, upgraded to this checkout if not; `make undeploy`.

The cluster runs in the Docker that answers here. Where none does, or none that runs a node, root gets an engine for it
alone, which lives until `make undeploy`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from integration.chart.helm import HelmFailed
from integration.containers.daemon import daemon
from integration.containers.engine import Engine, EngineFailed, Unavailable, engine_here
from integration.controlplane import binaries
from integration.controlplane.access import KubectlFailed
from integration.kdm_process import wait_until

from .cluster import KindCluster, KindFailed
from .helm import Release
from .making import REPOSITORY, build_image, make, prepare

DIRECTORY: Final = REPOSITORY / ".kind"
ENGINE: Final = DIRECTORY / "engine"
"""The process that keeps an engine of our own, and the engine's address."""
LOG: Final = DIRECTORY / "engine.log"
NAMESPACE: Final = "kdm"
END_TIMEOUT_S: Final = 300.0  # it deletes gigabytes
FAILURES: Final = (binaries.BuildFailed, EngineFailed, HelmFailed, KindFailed, KubectlFailed, Unavailable)


def main(argv: list[str]) -> int:
    """Deploy, or undo it.

    Returns:
        0; 1, with the reason on standard error, where it could not be done.
    """
    parser = argparse.ArgumentParser(prog="make deploy", description=__doc__)
    parser.add_argument("--cluster", default="kdm", help="its name [kdm]")
    parser.add_argument("--delete", action="store_true", help="delete it, and the engine that was started for it")
    parser.add_argument("--keep-engine", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    directory = DIRECTORY / arguments.cluster
    try:
        if arguments.keep_engine:
            _keep_engine()
        elif arguments.delete:
            _delete(directory)
            print(f"{arguments.cluster} is deleted")
        else:
            _deploy(directory)
    except FAILURES as exc:
        print(f"make {'undeploy' if arguments.delete else 'deploy'}: {exc}", file=sys.stderr)
        return 1
    return 0


def _deploy(directory: Path) -> None:
    prepare()
    engine = _kept_engine() or engine_here(privileged=True) or _start_engine()
    directory.mkdir(parents=True, exist_ok=True)
    cluster = KindCluster(engine, directory.name, directory / "kubeconfig")
    if cluster.exists():
        cluster.connect()
        image = build_image(engine)
        cluster.load(image)
    else:
        try:
            image = make(engine, cluster, workers=0)
        except BaseException:
            _delete(directory)
            raise
    repository, _, tag = image.rpartition(":")
    values = {"image": {"repository": repository, "tag": tag}, "trial": {"enabled": True}}
    told = Release(cluster.access, NAMESPACE, values).upgrade()
    print(f"{told}\nFirst, in every terminal:\n\n  export KUBECONFIG={cluster.kubeconfig}")
    if missing := [name for name in ("kubectl", "helm") if not shutil.which(name)]:
        print(f"  export PATH={':'.join(str(binaries.find(name)[name].parent) for name in missing)}:$PATH")
    print("\nTo remove it all: make undeploy")


def _delete(directory: Path) -> None:
    kept = _kept_engine()
    if engine := kept or engine_here():
        cluster = KindCluster(engine, directory.name, directory / "kubeconfig")
        cluster.delete()
        if kept and not cluster.names():
            _end_kept_engine()
    shutil.rmtree(directory, ignore_errors=True)
    with contextlib.suppress(OSError):  # there is another cluster, or there never was one
        DIRECTORY.rmdir()


def _end_kept_engine() -> None:
    pid = int(ENGINE.read_text().split()[0])
    os.kill(pid, signal.SIGTERM)
    try:
        wait_until(lambda: not ENGINE.exists(), END_TIMEOUT_S)
    except TimeoutError:
        raise Unavailable(f"the engine kept by process {pid} did not end within {END_TIMEOUT_S:g} s") from None
    LOG.unlink()


def _kept_engine() -> Engine | None:
    """The engine that an earlier `make deploy` started, if it still runs and DOCKER_HOST names no other."""
    if os.environ.get("DOCKER_HOST"):
        return None
    try:
        _, host = ENGINE.read_text().split()
    except FileNotFoundError:
        return None
    engine = Engine(host, own=True)
    if engine.answers():
        return engine
    ENGINE.unlink()  # the machine was restarted since
    return None


def _start_engine() -> Engine:
    """Start an engine that outlives this process."""
    DIRECTORY.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "integration.kind.deploy", "--keep-engine"]
    with LOG.open("wb") as log:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    while child.poll() is None:
        if engine := _kept_engine():
            return engine
        time.sleep(0.1)  # it tells by a file alone
    reason = LOG.read_text().strip().removeprefix("make deploy: ")
    shutil.rmtree(DIRECTORY)
    raise Unavailable(reason)


def _keep_engine() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with daemon(in_memory=False) as host:
        unfinished = ENGINE.with_suffix(".new")
        unfinished.write_text(f"{os.getpid()} {host}")
        unfinished.rename(ENGINE)
        signal.sigwait({signal.SIGTERM})
    ENGINE.unlink()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
