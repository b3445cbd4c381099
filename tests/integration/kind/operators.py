"""What the operators that the chart has objects for say themselves, as far as Go modules carry them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from integration.controlplane import binaries

__all__ = ["definitions", "of_service_monitors", "program"]

MODULES: Final = Path(__file__).parent / "modules"
SOURCES: Final = {
    "cert-manager": ("github.com/cert-manager/cert-manager", "deploy/crds"),
    "prometheus-operator": ("github.com/prometheus-operator/prometheus-operator", "example/prometheus-operator-crd"),
}


def definitions(kinds: Iterable[str]) -> list[Path]:
    """Return the CustomResourceDefinitions of kinds, by their plural names, in the operators' source."""
    wanted = set(kinds)
    return [
        file
        for module, (path, directory) in SOURCES.items()
        for file in (binaries.source(MODULES / module, path) / directory).iterdir()
        if file.stem.rpartition("_")[2] in wanted
    ]


@cache
def program() -> Path:
    """Build what asks the Prometheus operator's code; the first time on a machine it takes minutes."""
    return binaries.build(MODULES / "prometheus-operator", {"scrape-configuration": "."}) / "scrape-configuration"


def of_service_monitors(listed: str, namespace: str) -> str:
    """Return the configuration that the Prometheus operator makes of ServiceMonitors.

    Args:
        listed: As `kubectl get --output=json` writes them.
        namespace: The Prometheus'.
    """
    done = subprocess.run([program(), namespace], input=listed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Variables that the operator's sidecar replaces, of the first Pod of the first shard.
    return done.stdout.replace("$(SHARD)", "0").replace("$(POD_NAME)", "prometheus")
