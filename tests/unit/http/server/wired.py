"""A connection without a socket: what a client sends goes straight into it, and what it writes is kept."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from kdm_core import DeploymentRepository, DeploymentService, Policy
from kdm_http.api.app import Api, create_app
from kdm_http.server.connection import Connection
from kdm_http.server.context import ListenerContext
from kdm_http.server.events import ServerEvents
from kdm_http.server.limits import ClientQuota, Limits
from kdm_http.server.serve import TlsFiles
from kdm_http.server.uvicorn_seam import Config, ServerState
from kdm_http.telemetry.request_metrics import RequestMetrics
from kdm_http.tls.certificates import Certificate
from kdm_http.tls.handshake import Handshake
from kdm_http.tls.rejection import Reason
from kdm_http.tls.reload import ServerTls
from kdm_http.tls.trust import Trust
from unit.core.fixtures import ListedAudit
from unit.http.credentials import Credentials, Leaf
from unit.http.running import Clock

DATE = b"date: today\r\n"


class Monotonic:
    """The time that limits count, as a test sets it: behind the real one, so that nothing takes less than no time."""

    def __init__(self) -> None:
        self.at_s = time.monotonic()

    def __call__(self) -> float:
        return self.at_s


class Transport:
    """The other end of a connection."""

    def __init__(self, leaf: Leaf) -> None:
        self.written = b""
        self.closed = False
        der = leaf.certificate.public_bytes(Encoding.DER)
        self._tls = SimpleNamespace(get_unverified_chain=lambda: [der], session_reused=False)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._tls if name == "ssl_object" else default

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, pieces: list[bytes]) -> None:
        self.write(b"".join(pieces))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        """Nothing is read that a test does not send."""

    resume_reading = pause_reading


class World:
    """One listener over a repository: who may do what, the time, the metrics and the audit trail are its own.

    Args:
        repository: What it serves.
        files: Its certificates.
        policy: Who may do what.
        limits: Its limits.
        remembers: Whether it is as in production; otherwise it answers each request from nothing.
    """

    def __init__(
        self,
        repository: DeploymentRepository,
        files: TlsFiles,
        policy: Policy,
        limits: Limits | None = None,
        *,
        remembers: bool = True,
    ) -> None:
        self.files = files
        self.limits = limits or Limits()
        self.clock, self.monotonic, self.audit = Clock(), Monotonic(), ListedAudit()
        self.metrics = RequestMetrics()
        self.service = DeploymentService(repository, policy=policy, audit=self.audit)
        self.app: Api = create_app(
            self.service,
            counter=self.metrics if remembers else None,
            observers=[] if remembers else [self.metrics.count],
        )
        events = ServerEvents()
        self.tls = ServerTls(
            files, minimum_version=ssl.TLSVersion.TLSv1_3, development=False, now=self.clock, events=events
        )
        self.state = ServerState()
        self.context = ListenerContext(
            "api",
            self.limits,
            events,
            self.clock,
            ClientQuota(self.limits, self.monotonic),
            self.state,
            self.tls,
            self.app.answer_at_once,
        )
        self.context.default_head = DATE
        self.state.default_headers = [(b"date", b"today")]
        self._config = Config(self.app, log_config=None, access_log=False, lifespan="off")
        self._config.load()

    def connect(self, leaf: Leaf) -> Wired:
        """Open a connection, past its handshake."""
        connection = Connection(
            self._config,
            self.state,
            {},
            asyncio.get_running_loop(),
            context=self.context,
            handshake=Handshake("127.0.0.1:1"),
            material=self.tls.material,
        )
        return Wired(connection, Transport(leaf))

    async def settle(self) -> None:
        """Wait until every request is answered."""
        while self.state.tasks:
            await asyncio.wait(self.state.tasks)

    def counted(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Return what is exported about the requests, but for how long they took."""
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.metrics.collect()
            for sample in family.samples
            if not sample.name.endswith(("_sum", "_bucket"))
        }


class Wired:
    """One connection and its other end."""

    def __init__(self, connection: Connection, transport: Transport) -> None:
        self.connection = connection
        self.transport = transport
        connection.connection_made(cast("asyncio.Transport", transport))

    def send(self, data: bytes) -> bytes:
        """Send, and return what is written at once."""
        before = len(self.transport.written)
        if not self.transport.closed:
            self.connection.data_received(data)
        return self.transport.written[before:]

    def lose(self) -> None:
        """End the connection."""
        self.connection.connection_lost(None)


def certificates_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have certificates end by a listener's clock: OpenSSL, which is asked, knows the system's alone."""
    by_openssl = Trust.refusal

    def refusal(self: Trust, chain: Sequence[Certificate], now: datetime) -> Reason | None:
        return Reason.EXPIRED if now > chain[0].not_after else by_openssl(self, chain, now)

    monkeypatch.setattr(Trust, "refusal", refusal)


def files_in(directory: Any, credentials: Credentials) -> TlsFiles:
    """Write certificates and a revocation list into a directory."""
    files = TlsFiles(*(directory / name for name in ("server.pem", "key.pem", "ca.pem", "crl.pem")))
    credentials.write(files)
    return files
