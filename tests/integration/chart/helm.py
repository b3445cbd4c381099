"""Helm, run as a user runs it, with nothing of the user's own: no repositories, plugins or kubeconfig."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from integration.controlplane.access import Cluster

__all__ = ["CHART", "VALUES", "VERSIONS", "Helm", "HelmFailed", "releasable_namespace"]

CHART: Final = Path(__file__).parents[3] / "deploy" / "helm" / "kdm"
VALUES: Final = {path.stem: path for path in sorted((Path(__file__).parent / "values").glob("*.yaml"))}
VERSIONS: Final = ("1.34.0", "1.35.0", "1.36.0", "1.37.0")
"""The versions of Kubernetes that the chart is for."""

Object = dict[str, Any]


class HelmFailed(Exception):
    """Helm ended with an error; the message is what it wrote."""


class Helm:
    """The program, and the cluster it talks to.

    Args:
        program: Helm.
        directory: Where it may keep files.
        kubeconfig: Of the cluster; None for `template` and `lint` alone.
    """

    def __init__(self, program: Path, directory: Path, kubeconfig: Path | None = None) -> None:
        self._program = program
        self._directory = directory
        self._kubeconfig = kubeconfig

    def run(self, *args: str, values: Mapping[str, Any] | None = None, timeout_s: float = 120) -> str:
        """Run a command, with values if there are any, and return its standard output.

        Raises:
            HelmFailed: It ended with an error.
        """
        homes = {f"HELM_{name}_HOME": str(self._directory / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        environment = {"PATH": os.environ["PATH"], "HOME": str(self._directory), **homes}
        if self._kubeconfig is not None:
            environment["KUBECONFIG"] = str(self._kubeconfig)
        command = [str(self._program), *args, *(["--values", "-"] if values else [])]
        done = subprocess.run(
            command,
            env=environment,
            input=json.dumps(values) if values else None,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            raise HelmFailed(f"{done.stderr}{done.stdout}".strip())
        return done.stdout

    def template(
        self,
        values: Mapping[str, Any] | Path | None = None,
        *args: str,
        namespace: str = "team",
        version: str = VERSIONS[-1],
        release: str = "demo",
    ) -> str:
        """Render the chart as a release."""
        given = yaml.safe_load(values.read_text()) if isinstance(values, Path) else values
        options = (f"--namespace={namespace}", f"--kube-version={version}", *args)
        return self.run("template", release, str(CHART), *options, values=given)

    def objects(
        self, values: Mapping[str, Any] | Path | None = None, *, version: str = VERSIONS[-1]
    ) -> dict[str, Object]:
        """Render the chart as the release `demo` in the namespace `team`; each object by `Kind/name`."""
        return by_name(self.template(values, version=version))


def by_name(manifests: str) -> dict[str, Object]:
    """Read objects from YAML documents, by `Kind/name`.

    Raises:
        yaml.YAMLError: They cannot be read, or a key is there twice: Kubernetes takes the last, others the first.
    """
    objects = [each for each in yaml.load_all(manifests, Loader=_Strict) if each]
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in objects}


class _Strict(yaml.SafeLoader):
    """Refuses a key that is there twice, which YAML forbids and PyYAML lets pass."""


def _mapping(loader: _Strict, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    if twice := sorted({str(key) for key in keys if keys.count(key) > 1}):
        raise yaml.constructor.ConstructorError(None, None, f"twice: {', '.join(twice)}", node.start_mark)
    return {loader.construct_object(key): loader.construct_object(value, deep=True) for key, value in node.value}


_Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


@contextmanager
def releasable_namespace(cluster: Cluster, helm: Helm) -> Iterator[str]:
    """Make a namespace that takes restricted Pods alone; afterwards uninstall what is installed there."""
    with cluster.fresh_namespace("chart") as name:
        cluster.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
        try:
            yield name
        finally:
            for each in helm.run("list", "--all", "--short", f"--namespace={name}").split():
                helm.run("uninstall", each, f"--namespace={name}")
