"""A release of kdm's chart on a cluster."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from integration.controlplane import binaries
from integration.controlplane.access import Cluster

__all__ = ["CHART", "HelmFailed", "Release"]

CHART: Final = Path(__file__).parents[3] / "deploy" / "helm" / "kdm"
TIMEOUT_S: Final = 120


class HelmFailed(Exception):
    """helm ended with an error; the message is what it wrote."""


class Release:
    """One release in one namespace, called `kdm`, as are its Deployment and its Service."""

    name: Final = "kdm"

    def __init__(self, cluster: Cluster, namespace: str, values: Mapping[str, Any]) -> None:
        """Describe a release; `upgrade` installs it.

        Args:
            cluster: Where.
            namespace: Made if it is missing.
            values: The chart's.
        """
        self.namespace = namespace
        self.values: Final[dict[str, Any]] = dict(values)
        self._cluster = cluster
        self._program = binaries.find("helm")["helm"]

    def upgrade(self, **changes: Any) -> str:
        """Install the release or upgrade it, and wait until its Pods are Ready.

        Args:
            changes: Values in place of those it was described with, by their first-level names.

        Returns:
            What helm tells the operator to do next.
        """
        file = self._cluster.directory / f"values-{self.namespace}.json"
        file.write_text(json.dumps({**self.values, **changes}))
        command = ("upgrade", "--install", "--create-namespace", self.name, str(CHART), f"--values={file}")
        return self.helm(*command, "--wait", f"--timeout={TIMEOUT_S}s")

    def rollback(self) -> None:
        """Go back to the revision before, and wait until its Pods are Ready."""
        self.helm("rollback", self.name, "--wait", f"--timeout={TIMEOUT_S}s")

    def uninstall(self) -> None:
        """Remove it and wait until it is gone."""
        self.helm("uninstall", self.name, "--wait", f"--timeout={TIMEOUT_S}s")

    def helm(self, *args: str) -> str:
        """Run helm in the release's namespace and return its standard output.

        Raises:
            HelmFailed: It ended with an error.
        """
        command = [str(self._program), *args, f"--namespace={self.namespace}"]
        # Whatever the developer's own helm keeps or is told, it is not asked.
        own = {name: value for name, value in os.environ.items() if not name.startswith("HELM_")}
        homes = {f"HELM_{each}_HOME": str(self._cluster.directory / "helm") for each in ("CACHE", "CONFIG", "DATA")}
        environment = {**own, **homes, "KUBECONFIG": str(self._cluster.kubeconfig)}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT_S + 30
        )
        if done.returncode:
            raise HelmFailed(f"helm {' '.join(args)}: {done.stdout}{done.stderr}".strip())
        return done.stdout
