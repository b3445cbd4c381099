"""What tests do with a Kubernetes cluster of which they know a kubeconfig and nothing else."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from prometheus_client.parser import text_string_to_metric_families

from . import kubeconfig

__all__ = ["Cluster", "KubectlFailed", "Request"]


class KubectlFailed(Exception):
    """kubectl ended with an error; the message is what it wrote to standard error."""


class Request(NamedTuple):
    """A kind of request, as the API server's metrics name it: `Request("LIST", "deployments", "")`."""

    verb: str
    resource: str
    subresource: str = ""


class Cluster:
    """Any cluster, reached as its administrator. Its methods block, and may be called from any thread."""

    def __init__(self, kubeconfig: Path, kubectl: Path, directory: Path) -> None:
        """Describe a cluster; nothing is connected to yet.

        Args:
            kubeconfig: The administrator's.
            kubectl: The program.
            directory: Where files may be written: other users' kubeconfigs and kubectl's cache.
        """
        self.kubeconfig = kubeconfig
        self.directory = directory
        self.kubectl_program = kubectl

    def kubectl(self, *args: str, input: str | None = None, timeout_s: float = 60) -> str:  # noqa: A002 - as subprocess
        """Run kubectl as the administrator and return its standard output.

        Raises:
            KubectlFailed: It ended with an error, or not within `timeout_s` seconds.
        """
        options = (f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.directory / 'kubectl-cache'}")
        command = [str(self.kubectl_program), *args[:1], *options, *args[1:]]
        try:
            done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired as exc:
            raise KubectlFailed(f"kubectl {' '.join(args)} did not end within {timeout_s} s") from exc
        if done.returncode:
            raise KubectlFailed(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    @contextmanager
    def fresh_namespace(self, prefix: str = "kdm-test") -> Iterator[str]:
        """Make a namespace of a name nobody uses; afterwards delete it.

        The Deployments in it are gone when this returns; the namespace itself goes when the cluster gets to it.
        """
        name = f"{prefix}-{uuid4().hex[:10]}"
        self.kubectl("create", "namespace", name)
        try:
            yield name
        finally:
            self.kubectl("delete", "deployments", f"--namespace={name}", "--all", "--wait=false", timeout_s=300)
            self.kubectl("delete", "namespace", name, "--wait=false")

    def service_account_kubeconfig(self, namespace: str, name: str, valid_s: int = 3600) -> Path:
        """Make a service account, unless it exists, and a kubeconfig with a token for it from the TokenRequest API.

        It may do nothing until a role is bound to it.

        Args:
            namespace: Where the account is.
            name: Its name.
            valid_s: How long the token lives, in seconds. API servers refuse less than 600.
        """
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
        self.kubectl("apply", "-f", "-", input=json.dumps(account))
        token = self.kubectl("create", "token", name, f"--namespace={namespace}", f"--duration={valid_s}s")
        path = self.directory / f"serviceaccount-{namespace}-{name}-{uuid4().hex[:6]}.kubeconfig"
        return kubeconfig.with_token(path, self.kubeconfig, token.strip())

    def request_counts(self) -> Counter[Request]:
        """Read how many requests of each kind the API server has completed since it started.

        Subtract two readings to learn what happened between. A WATCH counts when it ends: see `open_watches` for the
        others. The reading itself, a GET of `/metrics`, has no resource.
        """
        counts: Counter[Request] = Counter()
        for labels, value in self._metric("apiserver_request_total"):
            counts[Request(labels["verb"], labels["resource"], labels["subresource"])] += int(value)
        return counts

    def open_watches(self, resource: str) -> int:
        """Read how many watches of a resource (`deployments`) are open at the API server, ours or not."""
        return sum(
            int(value)
            for labels, value in self._metric("apiserver_longrunning_requests")
            if labels["verb"] == "WATCH" and labels["resource"] == resource
        )

    def _metric(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        # The whole page is megabytes, and the parser is Python.
        lines = [line for line in self.kubectl("get", "--raw=/metrics").splitlines() if line.startswith(f"{name}{{")]
        for family in text_string_to_metric_families("\n".join(lines) + "\n"):
            for sample in family.samples:
                yield sample.labels, sample.value
