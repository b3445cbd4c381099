"""A kind cluster: made, loaded with images and deleted by the real `kind`, whose failures are told in words."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["KindCluster", "KindFailed", "check_privileged"]

READY_WITHIN: Final = "180s"

# What kind or Docker says -> what it means.
REASONS: Final = {
    "unable to apply caps": "this machine's Docker may not run privileged containers, and kind's nodes are such: "
    "it lacks a capability itself (CAP_SYS_RESOURCE, as a rule), being a container without it",
    "failed to pull image": "kind's node image could not be pulled; KIND_IMAGE=... names one that is there",
    "No space left on device": "the disk is full",
    "could not find a log line that matches": "the node started and its systemd did not come up",
}


class KindFailed(Exception):
    """kind, or Docker under it, could not; the message says what that means and ends with their own words."""


def check_privileged(environment: Mapping[str, str], image: str) -> None:
    """Find out whether Docker runs privileged containers, as root like a node, before anything large is pulled.

    Args:
        environment: Whose `docker` is asked.
        image: Any that is there and has `/opt/kdm/bin/python`.

    Raises:
        KindFailed: It does not.
    """
    command = [
        "docker",
        "run",
        "--rm",
        "--privileged",
        "--user=0",
        "--network=none",
        "--entrypoint=/opt/kdm/bin/python",
        image,
        "-V",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise KindFailed(_explain(done.stderr))


class KindCluster:
    """A cluster by its name. What it keeps is a Docker container of a node, and a kubeconfig file.

    Args:
        program: kind.
        name: Of the cluster.
        kubeconfig: Where its administrator's kubeconfig is written; the user's own stays as it is.
        environment: Whose `docker` is used.
    """

    def __init__(self, program: Path, name: str, kubeconfig: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.kubeconfig = kubeconfig
        self._program = str(program)
        self._environment = environment

    def exists(self) -> bool:
        return self.name in self._run("get", "clusters").splitlines()

    def create(self, image: str = "") -> None:
        """Make it and wait until its node is Ready. Where that fails nothing is left of it.

        Args:
            image: The node's; kind's own default if empty.

        Raises:
            KindFailed: It could not be made.
        """
        options = [f"--image={image}"] if image else []
        try:
            self._run("create", "cluster", *self._place(), f"--wait={READY_WITHIN}", *options)
        except BaseException:
            self.delete()
            raise

    def connect(self) -> None:
        """Write the kubeconfig of a cluster that exists."""
        self._run("export", "kubeconfig", *self._place())

    def load(self, image: str) -> None:
        """Give an image to the nodes, which then need not pull it."""
        self._run("load", "docker-image", image, f"--name={self.name}")

    def delete(self) -> None:
        """Delete it and its kubeconfig, whether it exists or not."""
        self._run("delete", "cluster", *self._place())
        for leftover in (self.kubeconfig, self.kubeconfig.with_name(f"{self.kubeconfig.name}.lock")):
            leftover.unlink(missing_ok=True)

    def _place(self) -> list[str]:
        return [f"--name={self.name}", f"--kubeconfig={self.kubeconfig}"]

    def _run(self, *args: str) -> str:
        """Run kind, showing what it says as it says it, and return its standard output."""
        child = subprocess.Popen(
            [self._program, *args], env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stderr is not None
        with child:
            said = []
            for line in child.stderr:  # a page of standard output at most, which fits the pipe
                said.append(line)
                print(f"kind: {line}", end="", file=sys.stderr, flush=True)
            output = child.stdout.read()
        if child.returncode:
            raise KindFailed(_explain("".join(said)))
        return output


def _explain(words: str) -> str:
    words = words.strip()
    last = next((line for line in reversed(words.splitlines()) if "rror" in line), words)
    return next((f"{reason}\n({last})" for sign, reason in REASONS.items() if sign in words), words)
