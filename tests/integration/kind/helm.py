"""A release of kdm's chart on a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from integration.chart.helm import CHART, Helm
from integration.controlplane import binaries
from integration.controlplane.access import Cluster

__all__ = ["Release"]

TIMEOUT_S: Final = 120
WAIT: Final = ("--wait", f"--timeout={TIMEOUT_S}s")


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
        self._helm = Helm(binaries.find("helm")["helm"], cluster.directory / "helm", cluster.kubeconfig)

    def upgrade(self, *options: str, **changes: Any) -> str:
        """Install the release or upgrade it, and wait until its Pods are Ready.

        Args:
            options: More of helm's.
            changes: Values in place of those it was described with, by their first-level names.

        Returns:
            What helm tells the operator to do next.
        """
        command = ("upgrade", "--install", "--create-namespace", self.name, str(CHART))
        return self.helm(*command, *WAIT, *options, values={**self.values, **changes})

    def rollback(self) -> None:
        """Go back to the revision before, and wait until its Pods are Ready."""
        self.helm("rollback", self.name, *WAIT)

    def uninstall(self) -> None:
        """Remove it and wait until it is gone."""
        self.helm("uninstall", self.name, *WAIT)

    def helm(self, *args: str, values: Mapping[str, Any] | None = None) -> str:
        """Run helm in the release's namespace and return its standard output.

        Raises:
            HelmFailed: It ended with an error.
        """
        return self._helm.run(*args, f"--namespace={self.namespace}", values=values, timeout_s=TIMEOUT_S + 30)
