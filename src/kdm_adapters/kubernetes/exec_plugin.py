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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, Final

from attrs import field, frozen

from kdm_adapters.kubernetes.fields import Fields, InvalidClusterConfig
from kdm_adapters.kubernetes.go_yaml import Json, read_yaml
from kdm_adapters.kubernetes.kubeconfig import Cluster, Exec

EXEC_TIMEOUT_S: Final = 30.0
"""How long an exec plugin may take, in seconds."""

END_TIMEOUT_S: Final = 0.5
"""How long to wait for a plugin that was killed, in seconds: a child that left its session may hold its pipe."""

MAX_ANSWER_BYTES: Final = 1024 * 1024
MAX_COMPLAINT_BYTES: Final = 4096

API_VERSIONS: Final = frozenset({"client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"})
"""What client-go accepts; v1alpha1 is gone since 1.24."""

_ANSI: Final = re.compile(r"[^\t-\r\x20-\x7e\u00a0-\uffff]")
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([.,]\d+)?(Z|[-+]\d\d:\d\d)")
_ZERO_TIME: Final = "0001-01-01T00:00:00Z"  # Go's way to say that there is none


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
        cluster: The cluster, told only to a plugin that asks for it.
        server: The cluster's URL as client-go writes it.
        authorities: The certificates that the cluster's proof must lead to, in PEM; empty for the system's.
    """
    spec: dict[str, Json] = {}
    if plugin.provide_cluster_info:
        told = {
            "server": server,
            "tls-server-name": cluster.tls_server_name,
            "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
            "certificate-authority-data": base64.b64encode(authorities).decode(),
            "proxy-url": cluster.proxy_url,
            "disable-compression": cluster.disable_compression,
        }
        spec["cluster"] = {key: value for key, value in told.items() if value or key == "server"}
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
    with _complaints() as (descriptor, complaints):
        try:
            process = await asyncio.create_subprocess_exec(
                command,
                *plugin.args,
                env={**environ, **own, "KUBERNETES_EXEC_INFO": info},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=descriptor,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise PluginError("it cannot be started", f"{type(error).__name__}: {error}") from None
        finished = False
        try:
            async with asyncio.timeout(EXEC_TIMEOUT_S):
                answer = await _whole(process)
                code = await process.wait()
                finished = True
        except TimeoutError:
            raise PluginError(f"it took more than {EXEC_TIMEOUT_S:g} s", complaints()) from None
        finally:
            await _end(process, kill=not finished)
        if code:
            raise PluginError(f"it failed with exit code {code}", complaints())
    return _minted(answer, plugin)


def _find(plugin: Exec, environ: Mapping[str, str]) -> str:
    """Return the program, looked up in kdm's PATH, as Go's ``exec.LookPath`` does, and not in the plugin's own."""
    if "/" in plugin.command:
        return plugin.command
    found = shutil.which(plugin.command, path=environ.get("PATH") or os.devnull)
    if found is None or not os.path.isabs(found):  # noqa: PTH117 - never what lies in the working directory
        hint = _ANSI.sub(" ", plugin.install_hint)
        raise PluginError("its program is not in PATH", f"{plugin.command} was not found. {hint}")
    return found


async def _whole(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    answer = bytearray()
    while chunk := await process.stdout.read(65536):
        answer += chunk
        if len(answer) > MAX_ANSWER_BYTES:
            raise PluginError(f"it printed more than {MAX_ANSWER_BYTES} bytes")
    return bytes(answer)


async def _end(process: asyncio.subprocess.Process, *, kill: bool) -> None:
    """Close what belongs to a plugin. One that has not ended by itself is ended, with its children."""
    if kill:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(TimeoutError):
            async with asyncio.timeout(END_TIMEOUT_S):
                await process.wait()
    process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - nothing else closes its pipes


@contextmanager
def _complaints() -> Iterator[tuple[int, Any]]:
    """Make a pipe for standard error. A child that outlives the plugin may keep it open, and nobody waits for that."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    loop = asyncio.get_running_loop()
    kept = bytearray()

    def take() -> None:
        with suppress(BlockingIOError):
            chunk = os.read(reading, 65536)
            if not chunk:
                loop.remove_reader(reading)
            kept.extend(chunk)
            del kept[:-MAX_COMPLAINT_BYTES]

    def text() -> str:
        take()
        return kept.decode(errors="replace")

    loop.add_reader(reading, take)
    try:
        yield writing, text
    finally:
        loop.remove_reader(reading)
        os.close(reading)
        os.close(writing)


def _minted(answer: bytes, plugin: Exec) -> Minted:
    try:
        content = json.loads(answer) if answer.lstrip().startswith(b"{") else read_yaml(answer)
    except ValueError:
        raise PluginError("its answer is not JSON") from None
    try:
        top = Fields("its answer", content)
        if top.text("kind") not in {"", "ExecCredential"} or top.text("apiVersion") != plugin.api_version:
            raise PluginError(f"its answer is not an ExecCredential of {plugin.api_version}")
        status = top.fields("status")
        token = status.text("token")
        certificate, key = status.text("clientCertificateData"), status.text("clientKeyData")
        expiry = status.text("expirationTimestamp") if status.has("expirationTimestamp") else _ZERO_TIME
    except InvalidClusterConfig as error:
        raise PluginError(str(error)) from None
    if not (token or certificate or key):
        raise PluginError("its answer has neither a token nor a client certificate")
    if bool(certificate) != bool(key):
        raise PluginError("its answer has a client certificate without its key, or a key without its certificate")
    return Minted(token, certificate, key, _epoch(expiry))


def _epoch(timestamp: str) -> float:
    if timestamp == _ZERO_TIME:
        return math.inf
    try:
        if _RFC3339.fullmatch(timestamp):
            return datetime.fromisoformat(timestamp).timestamp()
    except ValueError:
        pass
    raise PluginError("its answer's expirationTimestamp is not a time as RFC 3339 writes it")
