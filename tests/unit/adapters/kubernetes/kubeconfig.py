"""Kubeconfigs of one cluster and one user."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


def write_kubeconfig(
    path: Path,
    server: str,
    *,
    name: str = "test",
    user: object = None,
    cluster: Mapping[str, object] | None = None,
) -> Path:
    """Write a kubeconfig and return its path.

    Args:
        path: The file.
        server: The API server's URL.
        name: Of the context, the cluster and the user.
        user: The user's entry; a token by default.
        cluster: What the cluster's entry has besides the URL.
    """
    path.write_text(
        json.dumps(
            {
                "current-context": name,
                "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
                "clusters": [{"name": name, "cluster": {"server": server, **(cluster or {})}}],
                "users": [{"name": name, "user": user or {"token": "let-me-in"}}],
            }
        )
    )
    return path
