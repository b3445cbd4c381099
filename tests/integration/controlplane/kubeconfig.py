"""Kubeconfig files: written for a client certificate or a token, or pointed at another address."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from .pki import KeyPair

__all__ = ["redirect", "server_address", "with_certificate", "with_token"]


def with_certificate(path: Path, server: str, ca: bytes, identity: KeyPair) -> Path:
    """Write a kubeconfig whose user presents a client certificate."""
    user = {"client-certificate-data": _base64(identity.certificate), "client-key-data": _base64(identity.key)}
    return _write(path, {"server": server, "certificate-authority-data": _base64(ca)}, user)


def with_token(path: Path, like: Path, token: str) -> Path:
    """Write a kubeconfig for the cluster of another one, whose user presents a bearer token."""
    return _write(path, _current_cluster(like), {"token": token})


def redirect(path: Path, like: Path, host: str, port: int) -> Path:
    """Write a copy of a kubeconfig that connects to another address and still expects the original's certificate.

    Args:
        path: Where to write it.
        like: The kubeconfig to copy: its user, and its cluster but for the address.
        host: Where to connect.
        port: Where to connect.

    Returns:
        `path`.
    """
    original = urlsplit(_current_cluster(like)["server"])
    expects = {} if original.hostname == host else {"tls-server-name": original.hostname}
    # What the copied cluster says about its certificate's name itself wins.
    cluster = {**expects, **_current_cluster(like), "server": f"https://{host}:{port}{original.path}"}
    return _write(path, cluster, _current(like, "user"))


def server_address(path: Path) -> tuple[str, int]:
    """Return host and port of the current context's API server."""
    address = urlsplit(_current_cluster(path)["server"])
    if not address.hostname:
        raise ValueError(f"{path} names no host: {address.geturl()}")
    return address.hostname, address.port or 443


def _current_cluster(path: Path) -> dict[str, Any]:
    return _current(path, "cluster")


def _current(path: Path, kind: str) -> dict[str, Any]:
    """Read the current context's cluster or user; file names in it become absolute."""
    document = yaml.safe_load(path.read_text())
    context = _named(document["contexts"], document["current-context"])["context"]
    entry: dict[str, Any] = dict(_named(document[f"{kind}s"], context[kind])[kind])
    for key in ("certificate-authority", "client-certificate", "client-key", "tokenFile"):
        if key in entry:
            entry[key] = str(path.parent / entry[key])
    return entry


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _write(path: Path, cluster: dict[str, Any], user: dict[str, Any]) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    path.touch(mode=0o600)  # it holds a private key
    path.write_text(yaml.safe_dump(document))
    return path


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
