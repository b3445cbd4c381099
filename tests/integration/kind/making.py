"""What a kind cluster for kdm is made of: a node's image and kdm's own, each made while the other is."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from integration.containers import base_image
from integration.containers.engine import Engine, Unavailable, engine_here
from integration.controlplane import binaries

from .cluster import KindCluster, KindFailed
from .node_image import PROGRAMS, node_image, root_archive

__all__ = ["REPOSITORY", "build_image", "make", "nodes_image", "prepare"]

REPOSITORY: Final = Path(__file__).parents[3]


def prepare() -> None:
    """Make what images are made of, where nobody did yet: the first time on a machine it takes minutes.

    No effect where there can be no engine: who wants one is told why.
    """
    try:
        if os.geteuid() != 0 and not engine_here():
            return
        own = not engine_here(privileged=True)
        with ThreadPoolExecutor(max_workers=1) as beside:
            base = beside.submit(base_image.root_archive) if own else None
            for name in PROGRAMS:
                binaries.built(name)
            binaries.find("helm", "kubectl")
            if base:
                root_archive()
                base.result()
    except Unavailable:
        return


def make(engine: Engine, cluster: KindCluster, workers: int) -> str:
    """Make a cluster whose nodes have kdm's image.

    Args:
        engine: Where.
        cluster: Which; it does not exist.
        workers: How many nodes it has beside the control plane.

    Returns:
        The image's tag.

    Raises:
        BuildFailed: A program could not be built.
        EngineFailed: Docker could not do something.
        KindFailed: The image or the cluster could not be made; nothing is left of the latter.
    """
    with ThreadPoolExecutor(max_workers=1) as beside:
        image = beside.submit(build_image, engine)
        cluster.create(nodes_image(engine), workers)
    try:
        cluster.load(image.result())
    except BaseException:
        cluster.delete()
        raise
    return image.result()


def build_image(engine: Engine) -> str:
    """Build kdm's image as `make build` does: on the caller's BASE, or what Dockerfile says, if it can be pulled.

    Returns:
        A tag of this very image and no other: a release that is upgraded to it rolls out.

    Raises:
        KindFailed: It could not be built; the message has the builder's words.
    """
    command = [sys.executable, str(REPOSITORY / "deploy" / "image" / "build.py"), "--tag=kdm:dev", *_bases(engine)]
    done = subprocess.run(command, env=engine.environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise KindFailed(f"the image could not be built:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    layers = "".join(engine.inspect("kdm:dev")["RootFS"]["Layers"])
    tag = f"kdm:dev-{binaries.digest(layers.encode())[:12]}"
    engine.docker("tag", "kdm:dev", tag)
    return tag


def _bases(engine: Engine) -> list[str]:
    if base := os.environ.get("BASE"):
        return [f"--base={base}"]
    if not engine.own:
        return []
    base = base_image.base_image(engine)
    builder = base_image.builder_image(engine, base)
    return [f"--base={builder}", "--", f"--build-arg=RUNTIME={base}", "--network=host"]


def nodes_image(engine: Engine) -> str:
    """KIND_IMAGE names the nodes' image. Without it kind's own is pulled, but not by an engine of the tests' own."""
    if named := os.environ.get("KIND_IMAGE"):
        return named
    return node_image(engine) if engine.own else ""
