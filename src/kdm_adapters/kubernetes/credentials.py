"""Where the cluster is and how kdm proves who it is: kubeconfig or in-cluster, read anew whenever it changes.

Reads through kubernetes.aio's loaders. What they lack is added here: ``tokenFile`` is read anew and wins over
``token``, an exec plugin's failure is an error and not an anonymous request, its client certificates are renewed, it
can neither hang nor block, and it is told about the cluster where it asks for that.
"""
# kubernetes is typed in part only:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from attrs import frozen

from kdm_adapters.kubernetes.official import (
    SERVICE_CERT_FILENAME,
    SERVICE_HOST_ENV_NAME,
    SERVICE_TOKEN_FILENAME,
    ConfigException,
    Configuration,
    InClusterConfigLoader,
    KubeConfigLoader,
    KubeConfigMerger,
    parse_rfc3339,
)
from kdm_core.errors import ClusterUnreachable, InvalidInput

Source = Literal["auto", "kubeconfig", "in-cluster"]

EXPIRY_MARGIN_S: Final = 60.0
"""Credentials are renewed this long before they expire, in seconds."""

EXEC_TIMEOUT_S: Final = 30.0
"""How long an exec plugin may take, in seconds."""

RENEW_PAUSE_S: Final = 10.0
"""A refused credential is renewed at most this often, in seconds, and a failed renewal tried again as rarely: no plugin
must be run by every request."""


class InvalidClusterConfig(InvalidInput):
    """The configuration that says how to reach the cluster cannot be used."""


@frozen
class ClusterConfig:
    """Which cluster, as which identity.

    Attributes:
        source: "kubeconfig", "in-cluster", or "auto": the kubeconfig named here or by ``KUBECONFIG``; else, in a Pod,
            its service account; else ``~/.kube/config``.
        kubeconfig: Path of a kubeconfig file; None for ``KUBECONFIG`` (several files are merged) or ``~/.kube/config``.
        context: The kubeconfig's context; None for its current one.
    """

    source: Source = "auto"
    kubeconfig: str | Path | None = None
    context: str | None = None


class Credentials:
    """Loads a :class:`ClusterConfig` and knows when to load it again.

    Args:
        config: Which cluster, as which identity.
        environ: The environment.
        now: Seconds since the epoch.

    Raises:
        InvalidClusterConfig: There is no such configuration, or it makes no sense.
    """

    def __init__(
        self, config: ClusterConfig, *, environ: Mapping[str, str] = os.environ, now: Callable[[], float] = time.time
    ) -> None:
        self._config = config
        self._environ = environ
        self._now = now
        self._files: dict[str, tuple[int, ...]] = {}
        self._expires_at = float("inf")
        self._renewed_at = float("-inf")
        self._failed_at = float("-inf")
        self._refused = False
        self._in_cluster = self._is_in_cluster()
        with _explained():
            if self._in_cluster:
                self._in_cluster_loader()
            else:
                self._kubeconfig_loader()

    def is_outdated(self) -> bool:
        """Whether to load again: a file changed, the credential is about to expire, or the cluster refused it."""
        if self._now() - self._failed_at < RENEW_PAUSE_S:
            return False
        return self._refused or self._now() >= self._expires_at or self._files != _fingerprints(self._files)

    def refuse(self) -> None:
        """The cluster did not accept the credential: have it renewed, but not at every refusal."""
        if self._now() - self._renewed_at >= RENEW_PAUSE_S:
            self._refused = True

    async def load(self) -> Configuration:
        """Read it all anew.

        Raises:
            ClusterUnreachable: It cannot be used at this moment.
        """
        self._refused = False
        self._renewed_at = self._now()
        try:
            with _explained():
                return await (self._load_in_cluster() if self._in_cluster else self._load_kubeconfig())
        except InvalidClusterConfig as error:
            self._failed_at = self._now()
            raise ClusterUnreachable(str(error)) from error

    def _is_in_cluster(self) -> bool:
        if self._config.source != "auto":
            return self._config.source == "in-cluster"
        if self._config.kubeconfig or self._environ.get("KUBECONFIG"):
            return False
        return SERVICE_HOST_ENV_NAME in self._environ and Path(SERVICE_TOKEN_FILENAME).exists()

    def _in_cluster_loader(self) -> InClusterConfigLoader:
        loader = InClusterConfigLoader(
            SERVICE_TOKEN_FILENAME, SERVICE_CERT_FILENAME, try_refresh_token=False, environ=self._environ
        )
        loader._load_config()  # noqa: SLF001 - load_and_set() reads the files a second time otherwise
        return loader

    async def _load_in_cluster(self) -> Configuration:
        files = _fingerprints((SERVICE_TOKEN_FILENAME, SERVICE_CERT_FILENAME))
        configuration = Configuration()
        self._in_cluster_loader().load_and_set(configuration)
        self._files = files
        return _stripped(configuration)

    def _kubeconfig_loader(self) -> _Loader:
        paths = str(self._config.kubeconfig or self._environ.get("KUBECONFIG") or "~/.kube/config")
        merger = KubeConfigMerger(paths)
        if merger.config is None:
            raise ConfigException(f"no kubeconfig at {paths}")
        return _Loader(
            merger.config, active_context=self._config.context, config_base_path=None, paths=tuple(merger.paths)
        )

    async def _load_kubeconfig(self) -> Configuration:
        loader = self._kubeconfig_loader()
        files = _fingerprints(loader.files())
        configuration = Configuration()
        await loader.load_and_set(configuration)
        self._files = files
        self._expires_at = loader.expires_at - EXPIRY_MARGIN_S
        return _stripped(configuration)


class _Loader(KubeConfigLoader):
    """kubernetes.aio's loader with the gaps closed."""

    _user: Any
    _cluster: Any

    def __init__(self, config_dict: Any, *, paths: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(config_dict, **kwargs)
        self._paths = paths
        self.expires_at = float("inf")
        if self._user is None:
            self._user = _NoUser()
        if "as" in self._user:
            raise ConfigException("impersonation (a user's 'as') is not supported")
        if not self._cluster.safe_get("server"):
            raise ConfigException("the cluster has no server")

    def files(self) -> Iterator[str]:
        """Return the files this configuration is read from."""
        yield from self._paths
        for section, keys in (
            (self._cluster, ("certificate-authority",)),
            (self._user, ("tokenFile", "client-certificate", "client-key")),
        ):
            for key in keys:
                if path := section.safe_get(key):
                    yield str(Path(self._get_base_path(section.path), path))

    def _load_user_token(self) -> bool | None:
        path = self._user.safe_get("tokenFile")
        if not path:
            return bool(super()._load_user_token())
        token = Path(self._get_base_path(self._user.path), path).read_text().strip()
        if not token:
            raise ConfigException(f"the token file {path} is empty")
        self.token = f"Bearer {token}"
        return True

    async def load_from_exec_plugin(self) -> bool:
        """Run the user's exec plugin (KEP-541) and take over what it answers."""
        status = await self._run_exec_plugin(self._user["exec"])
        if expiry := status.get("expirationTimestamp"):
            self.expires_at = parse_rfc3339(expiry).timestamp()
        certificate, key = status.get("clientCertificateData"), status.get("clientKeyData")
        if bool(certificate) != bool(key) or not (certificate or status.get("token")):
            raise ConfigException("exec: the plugin gave neither a token nor a client certificate with its key")
        if token := status.get("token"):
            self.token = f"Bearer {token}"
        if certificate and key:
            self.cert_file = self.key_file = _private_file(f"{certificate}\n{key}")
        return True

    async def _run_exec_plugin(self, plugin: Any) -> dict[str, Any]:
        version, command = plugin["apiVersion"], plugin["command"]
        if "/" in command:  # relative to the kubeconfig, as kubectl has it; a bare name is looked up in PATH
            command = str(Path(self._get_base_path(self._user.path), command))
        spec: dict[str, Any] = {"interactive": False}
        if plugin.safe_get("provideClusterInfo"):
            spec["cluster"] = {
                ours: self._cluster.safe_get(theirs)
                for ours, theirs in _CLUSTER_INFO
                if self._cluster.safe_get(theirs) is not None
            }
        info = {"apiVersion": version, "kind": "ExecCredential", "spec": spec}
        variables = {item["name"]: item["value"] for item in plugin.safe_get("env") or ()}
        process = await asyncio.create_subprocess_exec(
            command,
            *(plugin.safe_get("args") or ()),
            env={**os.environ, **variables, "KUBERNETES_EXEC_INFO": json.dumps(info)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(EXEC_TIMEOUT_S):
                out, err = await process.communicate()
        except TimeoutError as error:
            raise ConfigException(f"exec: {command} took more than {EXEC_TIMEOUT_S:.0f} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            hint = plugin.safe_get("installHint") if process.returncode == _NOT_FOUND else ""
            raise ConfigException(
                f"exec: {command} failed with {process.returncode}: {err[-500:].decode(errors='replace').strip()}"
                + (f"\n{hint}" if hint else "")
            )
        answer = json.loads(out)
        if not isinstance(answer, dict) or answer.get("apiVersion") != version:
            raise ConfigException(f"exec: {command} did not answer with an ExecCredential of {version}")
        return dict(answer.get("status") or {})


_NOT_FOUND: Final = 127
_CLUSTER_INFO: Final = (
    ("server", "server"),
    ("tls-server-name", "tls-server-name"),
    ("insecure-skip-tls-verify", "insecure-skip-tls-verify"),
    ("certificate-authority-data", "certificate-authority-data"),
    ("proxy-url", "proxy-url"),
)


class _NoUser(dict[str, Any]):
    """The user of a context that names none."""

    path = None

    def safe_get(self, key: str) -> None:
        """Nothing is set."""


def _private_file(content: str) -> str:
    """Write a file that only this user can read. Whoever loads it into a TLS context deletes it."""
    descriptor, path = tempfile.mkstemp(prefix="kdm-exec-", suffix=".pem")
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    return path


def discard_private_file(configuration: Configuration) -> None:
    """Delete what an exec plugin gave, once it is loaded into a TLS context: no key stays on the disk."""
    if configuration.cert_file and Path(configuration.cert_file).name.startswith("kdm-exec-"):
        Path(configuration.cert_file).unlink(missing_ok=True)


def _stripped(configuration: Configuration) -> Configuration:
    """Drop the white space around a token: a trailing line feed would be an invalid header."""
    for name, value in configuration.api_key.items():
        configuration.api_key[name] = value.strip()
    return configuration


def _fingerprints(paths: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return what tells one content of each file from another. Follows the links that Kubernetes swaps in volumes."""
    found: dict[str, tuple[int, ...]] = {}
    for path in paths:
        found[path] = ()
        with suppress(OSError):
            stat = os.stat(path)  # noqa: PTH116 - before every request: ten times as quick as Path.stat
            found[path] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    return found


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (ConfigException, OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise InvalidClusterConfig(f"the configuration of the cluster cannot be used: {error}") from error
