"""Runs an exec credential plugin (KEP-541) as client-go v0.36.3 does, but never without an end.

A plugin has no terminal and no standard input. It runs in a session of its own, so that it can be ended together with
its children. What it prints to standard error is for the log alone.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import os
import re
import shutil
import signal
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Final, Self

from attrs import field, frozen

from kdm_adapters.kubernetes.config.fields import Fields, InvalidClusterConfig
from kdm_adapters.kubernetes.config.go_yaml import Json, read_yaml
from kdm_adapters.kubernetes.config.kubeconfig import Cluster, Exec

EXEC_TIMEOUT_S: Final = 30.0
"""How long an exec plugin may take, in seconds."""

MAX_ANSWER_BYTES: Final = 1024 * 1024
MAX_COMPLAINT_BYTES: Final = 4096

API_VERSIONS: Final = frozenset({"client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"})
"""What client-go accepts; v1alpha1 is gone since 1.24."""

_ANSI: Final = re.compile(r"[^\t-\r\x20-\x7e\u00a0-\uffff]")
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([.,]\d+)?(Z|[-+]\d\d:\d\d)")
_ZERO_TIME: Final = -62135596800.0
"""0001-01-01T00:00:00Z, in seconds since the epoch: Go's and .NET's way to say that there is no time."""


@frozen
class Minted:
    """What a plugin gave. ``expires_at`` is in seconds since the epoch; infinite where it said nothing."""

    token: str = field(repr=False)
    certificate: str = field(repr=False)
    key: str = field(repr=False)
    expires_at: float


class PluginError(Exception):
    """A plugin gave nothing that can be used.

    Attributes:
        what: What happened, in words that anybody may read.
        detail: More of it, for the log, not yet redacted.
    """

    def __init__(self, what: str, detail: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.detail = detail


def exec_info(plugin: Exec, cluster: Cluster, server: str, authorities: bytes) -> str:
    """Return what a plugin finds in ``KUBERNETES_EXEC_INFO``.

    Args:
        plugin: The plugin.
        cluster: The cluster, given only to a plugin that asks for it.
        server: The cluster's URL as client-go writes it.
        authorities: The certificates that the cluster's proof must lead to, in PEM; empty for the system's.
    """
    spec: dict[str, Json] = {}
    if plugin.provide_cluster_info:
        given = {
            "server": server,
            "tls-server-name": cluster.tls_server_name,
            "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
            "certificate-authority-data": base64.b64encode(authorities).decode(),
            "proxy-url": cluster.proxy_url,
            "disable-compression": cluster.disable_compression,
        }
        spec["cluster"] = {key: value for key, value in given.items() if value or key == "server"}
        spec["cluster"]["config"] = cluster.exec_config
    spec["interactive"] = False
    info = {"kind": "ExecCredential", "apiVersion": plugin.api_version, "spec": spec}
    return json.dumps(info, separators=(",", ":"), ensure_ascii=False) + "\n"


async def run_plugin(plugin: Exec, info: str, environ: Mapping[str, str]) -> Minted:
    """Run a plugin. Cancelling ends it and its children.

    Args:
        plugin: The plugin.
        info: Its ``KUBERNETES_EXEC_INFO``.
        environ: The environment that it is found in and inherits.

    Raises:
        PluginError: It failed, took too long, or its answer makes no sense.
    """
    own = dict(f"{name}={value}".partition("=")[::2] for name, value in plugin.env)
    command = _find(plugin, environ)
    with _Output(MAX_ANSWER_BYTES) as answer, _Output(MAX_COMPLAINT_BYTES) as complaint:
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                command,
                *plugin.args,
                env={**environ, **own, "KUBERNETES_EXEC_INFO": info},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=answer.writing,
                stderr=complaint.writing,
                start_new_session=True,
            )
        )
        try:
            async with asyncio.timeout(EXEC_TIMEOUT_S):
                process = await asyncio.shield(starting)
                code = await process.wait()
        except (asyncio.CancelledError, TimeoutError) as error:
            await _kill(await starting)  # it may have begun to run before it counts as started
            if isinstance(error, TimeoutError):
                raise PluginError(f"it took more than {EXEC_TIMEOUT_S:g} s", complaint.text()) from None
            raise
        except (OSError, ValueError) as error:
            raise PluginError("it cannot be started", f"{type(error).__name__}: {error}") from None
        if code:
            raise PluginError(f"it failed with exit code {code}", complaint.text())
        printed = answer.take()
    if len(printed) > MAX_ANSWER_BYTES:
        raise PluginError(f"it printed more than {MAX_ANSWER_BYTES} bytes")
    return _minted(printed, plugin)


def _find(plugin: Exec, environ: Mapping[str, str]) -> str:
    """Return the program, looked up in kdm's PATH, as Go's ``exec.LookPath`` does, and not in the plugin's own."""
    if "/" in plugin.command:
        return plugin.command
    found = shutil.which(plugin.command, path=environ.get("PATH") or os.devnull)
    if found is None or not os.path.isabs(found):  # noqa: PTH117 - never what lies in the working directory
        hint = _ANSI.sub(" ", plugin.install_hint)
        raise PluginError("its program is not in PATH", f"{plugin.command} was not found. {hint}")
    return found


async def _kill(process: asyncio.subprocess.Process) -> None:
    """End a plugin that has not ended by itself, and its children."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


class _Output:
    """A pipe that a plugin writes to, read as it comes.

    The event loops' own would be closed only when every child has closed it (uvloop hands each a second copy), but a
    plugin may leave an agent behind. So what counts as its answer is what is there when it ends.

    Args:
        limit: How many bytes are kept, and one more to show that there were.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()

    def __enter__(self) -> Self:
        self._reading, self.writing = os.pipe()
        os.set_blocking(self._reading, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._reading, self.take)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._reading)
        os.close(self._reading)
        os.close(self.writing)

    def take(self) -> bytes:
        """Read what is there, and return all that was kept."""
        with suppress(BlockingIOError):
            while chunk := os.read(self._reading, 65536):
                self._kept += chunk[: self._limit + 1 - len(self._kept)]
        return bytes(self._kept)

    def text(self) -> str:
        """Return what was kept as text."""
        return self.take().decode(errors="replace")


def _minted(answer: bytes, plugin: Exec) -> Minted:
    try:
        content = json.loads(answer) if answer.lstrip().startswith(b"{") else read_yaml(answer)
    except (ValueError, RecursionError):
        raise PluginError("its answer is not JSON") from None
    try:
        top = Fields("its answer", content)
        if top.text("kind") not in {"", "ExecCredential"} or top.text("apiVersion") != plugin.api_version:
            raise PluginError(f"its answer is not an ExecCredential of {plugin.api_version}")
        status = top.fields("status")
        token = status.text("token")
        certificate, key = status.text("clientCertificateData"), status.text("clientKeyData")
        expiry = status.text("expirationTimestamp") if status.has("expirationTimestamp") else None
        f"{token}{certificate}{key}".encode()
    except InvalidClusterConfig as error:
        raise PluginError(str(error)) from None
    except UnicodeEncodeError:
        raise PluginError("its answer holds half of a surrogate pair") from None
    if not (token or certificate or key):
        raise PluginError("its answer has neither a token nor a client certificate")
    if bool(certificate) != bool(key):
        raise PluginError("its answer has a client certificate without its key, or a key without its certificate")
    return Minted(token, certificate, key, _epoch(expiry))


def _epoch(timestamp: str | None) -> float:
    if timestamp is None:
        return math.inf
    try:
        if _RFC3339.fullmatch(timestamp):
            epoch = datetime.fromisoformat(timestamp).timestamp()
            return math.inf if epoch == _ZERO_TIME else epoch
    except ValueError:
        pass
    raise PluginError("its answer's expirationTimestamp is not a time as RFC 3339 writes it")
