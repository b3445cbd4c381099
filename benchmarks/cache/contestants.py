"""Who is measured: each reader's name and command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from integration.controlplane import binaries

__all__ = ["KDM", "PLAIN", "READERS", "TRANSFORMED", "command"]

KDM = "kdm"
PLAIN = "client-go"
TRANSFORMED = "client-go, transformed"
IN_JSON = "client-go, JSON"
CLIENT_GO = Path(__file__).parents[1] / "peers" / "clientgo"

MODULES = {
    KDM: "benchmarks.cache.readers.kdm",
    "kubernetes.informer": "benchmarks.cache.readers.kubernetes_informer",
    "lightkube": "benchmarks.cache.readers.lightkube_watch",
}
FLAGS = {PLAIN: [], TRANSFORMED: ["--transform"], IN_JSON: ["--json"]}
READERS = (KDM, *FLAGS, *(name for name in MODULES if name != KDM))


def command(reader: str, kubeconfig: Path) -> Sequence[str]:
    """Return the command line that runs a reader, after building it where that is needed.

    Raises:
        integration.controlplane.binaries.BuildFailed: It cannot be built.
    """
    options = ["--kubeconfig", str(kubeconfig)]
    if module := MODULES.get(reader):
        return [sys.executable, "-m", module, *options]
    program = binaries.build(CLIENT_GO, {"clientgo": "."}) / "clientgo"
    return [str(program), *options, *FLAGS[reader]]
