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
    path.write_text(json.dumps(kubeconfig(server, name=name, user=user, cluster=cluster)))
    return path


def kubeconfig(
    server: str, *, name: str = "test", user: object = None, cluster: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Return a kubeconfig. The arguments are those of :func:`write_kubeconfig`."""
    return {
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "clusters": [{"name": name, "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": name, "user": {"token": "let-me-in"} if user is None else user}],
    }
