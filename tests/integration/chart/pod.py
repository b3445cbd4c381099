"""A container of a Deployment, run on this machine: its arguments, environment and files, and its account's rights."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from integration.controlplane.access import Cluster
from integration.controlplane.kubeconfig import with_token
from integration.kdm_process import KdmProcess

__all__ = ["client", "files", "running", "secret", "service_account_kubeconfig"]

LOCALLY: Final = {"HOST": "127.0.0.1", "OPS_HOST": "127.0.0.1", "PORT": "0", "OPS_PORT": "0"}

Object = dict[str, Any]


@contextmanager
def running(cluster: Cluster, namespace: str, name: str, root: Path) -> Iterator[KdmProcess]:
    """Run what a Deployment's Pods would run, as far as a process can, until it is ready; leaving ends it.

    What differs from a Pod: the addresses, the place of the files, and that the token comes by a kubeconfig.

    Args:
        cluster: Where the Deployment is, and whose Deployments kdm serves.
        namespace: The Deployment's.
        name: The Deployment's.
        root: An empty directory, to be the container's file system.
    """
    pod = json.loads(cluster.kubectl("get", "deployment", name, f"--namespace={namespace}", "-ojson"))["spec"][
        "template"
    ]
    container = pod["spec"]["containers"][0]
    files(cluster, namespace, pod["spec"], container, root)
    settings = {
        variable.removeprefix("KDM_"): str(root) + value if value.startswith("/etc/kdm/") else value
        for source in container["envFrom"]
        for variable, value in _get(cluster, namespace, "configmap", source["configMapRef"]["name"])["data"].items()
    }
    kubeconfig = service_account_kubeconfig(cluster, namespace, pod["spec"]["serviceAccountName"], root)
    process = KdmProcess({**settings, **LOCALLY, "KUBECONFIG": str(kubeconfig)}, root / "log", container["args"])
    with process as kdm:
        kdm.wait_ready()
        yield kdm


def files(cluster: Cluster, namespace: str, spec: Object, container: Object, root: Path) -> None:
    """Write what a container has mounted of Secrets and ConfigMaps below another root directory."""
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    for volume in spec["volumes"]:
        if "secret" in volume:
            content = secret(cluster, namespace, volume["secret"]["secretName"])
            items = volume["secret"].get("items")
        else:
            config_map = _get(cluster, namespace, "configmap", volume["configMap"]["name"])
            content = {key: text.encode() for key, text in config_map["data"].items()}
            items = volume["configMap"].get("items")
        directory = root / mounts[volume["name"]].lstrip("/")
        directory.mkdir(parents=True)
        for item in items or [{"key": key, "path": key} for key in content]:
            (directory / item["path"]).write_bytes(content[item["key"]])


def secret(cluster: Cluster, namespace: str, name: str) -> dict[str, bytes]:
    """Read a Secret."""
    return {key: base64.b64decode(value) for key, value in _get(cluster, namespace, "secret", name)["data"].items()}


def service_account_kubeconfig(cluster: Cluster, namespace: str, account: str, directory: Path) -> Path:
    """Write a kubeconfig with a token of a service account that exists, and with nothing else."""
    token = cluster.kubectl("create", "token", account, f"--namespace={namespace}", "--duration=3600s")
    return with_token(directory / "kubeconfig", cluster.kubeconfig, token.strip())


@contextmanager
def client(kdm: KdmProcess, directory: Path) -> Iterator[httpx.Client]:
    """A client with the certificate in a directory, strict about the server's as Python 3.13 is by default."""
    context = ssl.create_default_context(cafile=str(directory / "ca.crt"))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    with httpx.Client(base_url=kdm.url, verify=context, trust_env=False, timeout=30) as http:
        yield http


def _get(cluster: Cluster, namespace: str, kind: str, name: str) -> Object:
    found: Object = json.loads(cluster.kubectl("get", kind, name, f"--namespace={namespace}", "-ojson"))
    return found
