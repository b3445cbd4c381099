"""Which credentials kdm has for the cluster now, and when to renew them."""
# kubernetes is not typed:
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Final, Literal

from attrs import frozen

from kdm_adapters.kubernetes.config import minting
from kdm_adapters.kubernetes.config.access import Access, Plan, minted_access, plan_kubeconfig, plan_service_account
from kdm_adapters.kubernetes.config.exec_plugin import PluginError
from kdm_adapters.kubernetes.config.fields import InvalidClusterConfig
from kdm_adapters.kubernetes.config.file_thread import FileThread
from kdm_adapters.kubernetes.config.in_cluster import (
    SERVICE_CERT_FILENAME,
    SERVICE_HOST_ENV_NAME,
    SERVICE_PORT_ENV_NAME,
    SERVICE_TOKEN_FILENAME,
    ConfigException,
    InClusterConfigLoader,
)
from kdm_adapters.kubernetes.config.kubeconfig import Cluster, Kubeconfig, User, kubeconfig_paths, load_kubeconfig
from kdm_adapters.kubernetes.config.minting import Minting
from kdm_adapters.kubernetes.config.redaction import Redactor
from kdm_adapters.side_thread import Stalled
from kdm_core import regular_file
from kdm_core.copyable import Copyable

__all__ = ["ClusterConfig", "Credentials", "CredentialsError", "InvalidClusterConfig"]

Source = Literal["auto", "kubeconfig", "in-cluster"]

READ_S: Final = 10.0
"""How long the files may take to be read, in seconds: a network file system may not answer for as long as it likes."""

LOOK_S: Final = 1.0
"""How long a request waits, in seconds, to learn whether they have changed. Once that was too short, requests go on
with what was read last, at once, until the file system answers again."""

_STALLED: Final = f"it, or a file that it names, cannot be read: the file system did not answer within {READ_S:g} s"


@frozen
class ClusterConfig:
    """Which cluster, as which identity.

    Attributes:
        source: "kubeconfig", "in-cluster", or "auto": the kubeconfig named here or by ``KUBECONFIG``, else
            ``~/.kube/config`` where it has a current context, else, in a Pod, its service account.
        kubeconfig: Path of a kubeconfig file, or several joined as in ``KUBECONFIG``, which are merged; None for those
            of ``KUBECONFIG``, or else for ``~/.kube/config``.
        context: The kubeconfig's context; None for its current one.
    """

    source: Source = "auto"
    kubeconfig: str | Path | None = None
    context: str | None = None


class CredentialsError(Copyable):
    """There are no new credentials at this moment. The text is safe for everybody.

    Attributes:
        detail: More of it, for the log; redacted.
    """

    def __init__(self, what: str, detail: str) -> None:
        super().__init__(f"kdm's credentials for the cluster cannot be renewed: {what}")
        self.detail = detail


@frozen
class _Pinned:
    """What was chosen at the start. A kubeconfig that changes later renews credentials; it does not choose again."""

    context: str
    cluster: str
    user: str


class Credentials:
    """Loads a :class:`ClusterConfig` and knows when to load it again. One load at a time.

    Files are looked at and read on a thread: a file system that hangs holds up no event loop.

    Args:
        config: Which cluster, as which identity.
        environ: The environment.
        now: Seconds since the epoch, for expiries.
        clock: Monotonic seconds, for pauses.

    Raises:
        InvalidClusterConfig: There is no such configuration, it makes no sense, or its files cannot be read within
            :data:`READ_S`, which is how long the caller may have to wait.
    """

    def __init__(
        self,
        config: ClusterConfig,
        *,
        environ: Mapping[str, str] = os.environ,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._environ = environ
        self._now = now
        self._clock = clock
        self._files: dict[str, tuple[int, ...]] = {}  # as they were when they were read
        self._changed = False  # since then, when they were last looked at
        self._minting = Minting(now, clock)
        self._loaded_at = -math.inf
        self._refused = self._failed = self._awaited = False
        self._used: tuple[str, ...] = ()  # the secrets of what was loaded last: requests under way may still show them
        self._named = _named(config, environ)
        self._thread = FileThread()
        try:
            self.redact = Redactor(self._thread.call(functools.partial(self._choose, config), READ_S).secrets)
        except Stalled:
            raise InvalidClusterConfig(f"{self._named}: {_STALLED}") from None
        self._redact_plugins = self.redact  # until there is one

    def _choose(self, config: ClusterConfig) -> Plan:
        self._paths = kubeconfig_paths(config.kubeconfig, self._environ)
        self._in_cluster = _is_in_cluster(config, self._paths, self._environ)
        self._pinned = _Pinned("", "", "") if self._in_cluster else _pin(config.context, self._paths)
        return self._plan(self._files)

    async def is_outdated(self) -> bool:
        """Whether to load again: a file changed, what a plugin gave expires soon, or the cluster refused it."""
        files = self._files
        with suppress(Stalled):
            found = await self._thread.wait(lambda: _fingerprints(files), LOOK_S)
            if files is self._files:
                self._changed = files != found
        if self._failed:
            return self._clock() - self._loaded_at >= minting.RENEW_PAUSE_S
        return self._refused or self._minting.is_due() or self._changed

    def is_usable(self) -> bool:
        """Whether what was loaded last is good for now, as far as is known, even if it is time to load again."""
        return not (self._awaited or self._refused or self._minting.is_expired() or self._changed)

    def refuse(self) -> None:
        """The cluster did not accept the credentials: have them renewed, but not at every refusal."""
        if self._clock() - self._loaded_at >= minting.RENEW_PAUSE_S:
            self._refused = True

    async def load(self) -> Access:
        """Read everything again, and run the plugin if there is one and it is due.

        Raises:
            CredentialsError: That is not possible at this moment.
        """
        self._awaited = not self.is_usable()  # until it ends, whatever else is noted meanwhile
        refused, self._refused = self._refused, False
        self._failed = True
        try:
            access = await self._load(again=refused)
        except InvalidClusterConfig as error:
            raise CredentialsError("their configuration cannot be used", self.redact(str(error))) from None
        except PluginError as error:
            detail = self._redact_plugins(f"the login plugin failed: {error.what}. {error.detail}")
            raise CredentialsError(f"the login plugin failed: {error.what}", detail) from None
        finally:
            self._loaded_at = self._clock()
            self._awaited = False
        self._failed = False
        return access

    async def _load(self, *, again: bool) -> Access:
        files = dict(self._files)
        try:
            plan = await self._thread.wait(lambda: self._plan(files), READ_S)
        except Stalled:
            raise InvalidClusterConfig(f"{self._named}: {_STALLED}") from None
        except InvalidClusterConfig:
            self._files, self._changed = files, False
            raise
        self._files, self._changed = files, False
        access, secrets = plan.access, plan.secrets
        self.redact = Redactor((*secrets, *self._used))
        if plan.plugin is not None:
            self._redact_plugins = Redactor((*secrets, *self._used, *plan.plugin_secrets))
            minted = await self._minting.mint(plan, self._environ, again=again)
            secrets = (*secrets, minted.token, minted.key)
            self.redact = Redactor((*secrets, *self._used))
            try:
                access = minted_access(plan, minted)
            except InvalidClusterConfig as error:
                raise self._minting.reject(str(error)) from None
        self._used = secrets
        return access

    def _plan(self, files: dict[str, tuple[int, ...]]) -> Plan:
        """Read the configuration and what it names. Notes the files, so that a later change is noticed."""
        read = _fingerprints((SERVICE_TOKEN_FILENAME, SERVICE_CERT_FILENAME) if self._in_cluster else self._paths)
        files.update(read)
        if self._in_cluster:
            return _service_account(self._environ)
        cluster, user = _select(load_kubeconfig(self._paths), self._pinned, self._paths)
        named = (cluster.certificate_authority, user.client_certificate, user.client_key, user.token_file)
        read |= _fingerprints(each for each in named if each)
        files.clear()
        files.update(read)
        return plan_kubeconfig(cluster, user, self._environ)


def _is_in_cluster(config: ClusterConfig, paths: tuple[str, ...], environ: Mapping[str, str]) -> bool:
    """Whether the service account is used. As kubectl, a Pod's process prefers a kubeconfig that has a context."""
    if config.source != "auto":
        return config.source == "in-cluster"
    if config.kubeconfig or config.context or environ.get("KUBECONFIG"):
        return False
    in_pod = environ.get(SERVICE_HOST_ENV_NAME) and environ.get(SERVICE_PORT_ENV_NAME)
    return bool(in_pod) and Path(SERVICE_TOKEN_FILENAME).is_file() and not load_kubeconfig(paths).current_context


def _service_account(environ: Mapping[str, str]) -> Plan:
    found = SimpleNamespace(api_key={})
    for path in (SERVICE_TOKEN_FILENAME, SERVICE_CERT_FILENAME):
        with suppress(FileNotFoundError):  # the official client has words for that
            _regular(path)
    try:
        InClusterConfigLoader(
            SERVICE_TOKEN_FILENAME, SERVICE_CERT_FILENAME, try_refresh_token=False, environ=environ
        ).load_and_set(found)
        bundle = _regular(SERVICE_CERT_FILENAME)
    except (ConfigException, OSError, UnicodeDecodeError) as error:
        text = str(error) if isinstance(error, ConfigException) else f"{type(error).__name__}"
        raise InvalidClusterConfig(f"the Pod's service account cannot be used: {text}") from None
    token = found.api_key["BearerToken"].partition(" ")[2]
    return plan_service_account(found.host, token, bundle, environ)


def _regular(path: str) -> bytes:
    """Read a file of the service account.

    Raises:
        InvalidClusterConfig: It is there, and cannot be read or is no regular file.
    """
    try:
        return regular_file.read(Path(path)).data
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InvalidClusterConfig(
            f"the Pod's service account cannot be used: {path} cannot be read: {error.strerror}"
        ) from None


def _named(config: ClusterConfig, environ: Mapping[str, str]) -> str:
    if config.source == "in-cluster":
        return "the Pod's service account"
    return f"kubeconfig {config.kubeconfig or environ.get('KUBECONFIG') or '~/.kube/config'}"


def _pin(context: str | None, paths: tuple[str, ...]) -> _Pinned:
    kubeconfig = load_kubeconfig(paths)
    listed = os.pathsep.join(paths)
    if not any(Path(each).exists() for each in paths):
        raise InvalidClusterConfig(f"no kubeconfig at {listed}")
    name = context or kubeconfig.current_context
    found = kubeconfig.contexts.get(name)
    if found is None and not name:
        raise InvalidClusterConfig(f"kubeconfig {listed}: current-context is not set: set it, or name a context")
    if found is None:
        raise InvalidClusterConfig(f"kubeconfig {listed}: there is no context {name!r}")
    return _Pinned(name, found.cluster, found.user)


def _select(kubeconfig: Kubeconfig, pinned: _Pinned, paths: tuple[str, ...]) -> tuple[Cluster, User]:
    where = f"kubeconfig {os.pathsep.join(paths)}"
    context = kubeconfig.contexts.get(pinned.context)
    if context is None:
        raise InvalidClusterConfig(f"{where}: context {pinned.context!r} is gone")
    where = f"{where}: context {pinned.context!r}"
    if (context.cluster, context.user) != (pinned.cluster, pinned.user):
        raise InvalidClusterConfig(f"{where} names another cluster or user than at the start: restart kdm to follow it")
    cluster, user = kubeconfig.clusters.get(context.cluster), kubeconfig.users.get(context.user)
    if cluster is None and not context.cluster:
        raise InvalidClusterConfig(f"{where} names no cluster")
    if cluster is None:
        raise InvalidClusterConfig(f"{where} names cluster {context.cluster!r}, which is not there")
    if user is None and context.user:
        raise InvalidClusterConfig(f"{where} names user {context.user!r}, who is not there")
    return cluster, user or User("", context.origin)


def _fingerprints(paths: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return what tells one content of each file from another. Follows the links that Kubernetes swaps in volumes."""
    found: dict[str, tuple[int, ...]] = {}
    for path in paths:
        found[path] = ()
        with suppress(OSError, ValueError):
            stat = os.stat(path)  # noqa: PTH116 - before every request: ten times as quick as Path.stat
            found[path] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    return found
