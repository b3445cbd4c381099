"""Exec credential plugins (KEP-541) for tests: shell scripts that count their runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

V1 = "client.authentication.k8s.io/v1"


def plugin(path: Path, status: Mapping[str, object] | None = None, script: str = "") -> dict[str, object]:
    """Write a plugin and return the user's entry for it.

    Args:
        path: The program. Beside it stand what it answers, and its runs.
        status: What it answers.
        script: What it does in place of answering.
    """
    answer = json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": status})
    path.with_name(f"{path.name}.answer").write_text(answer)
    path.write_text(f"#!/bin/sh\necho x >> {path}.runs\n{script or f'cat {path}.answer'}\n")
    path.chmod(0o700)
    return {"exec": {"apiVersion": V1, "command": str(path), "interactiveMode": "Never"}}


def runs(path: Path) -> int:
    """Return how often a plugin has run."""
    counted = path.with_name(f"{path.name}.runs")
    return len(counted.read_text().split()) if counted.exists() else 0
