"""kdm as a process of its own, as an operator runs it, and clients with certificates to talk to it."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import httpx

CERTS: Final = Path(__file__).parents[2] / "certs"
START_TIMEOUT_S: Final = 60.0
UNLIMITED: Final = {"LIMIT_REQUESTS_PER_S": "1000000", "LIMIT_REQUESTS_BURST": "1000000"}
"""Settings for a test in which the limits by user would answer most requests."""
_TRUSTS_NOBODY: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Running(Protocol):
    """A process that runs: what ``subprocess.Popen`` has."""

    @property
    def pid(self) -> int:
        """Its id."""

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code once it has ended."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal."""

    def kill(self) -> None:
        """Send it SIGKILL."""


class KdmProcess:
    """`kdm serve`, by default with the development certificates, on free ports.

    Args:
        settings: ``KDM_*`` environment variables without their prefix.
        log: Where its output goes.
        arguments: What ``kdm`` is told.
    """

    def __init__(self, settings: Mapping[str, str], log: Path, arguments: Sequence[str] = ("serve", "--dev")) -> None:
        self._arguments = arguments
        self._settings = {"HOST": "127.0.0.1", "PORT": "0", "OPS_PORT": "0", **settings}
        self._log = log
        self._process: Running | None = None
        self.url = ""
        self.ops_url = ""

    def __enter__(self) -> Self:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("KDM_")}
        settings = {f"KDM_{name}": value for name, value in self._settings.items()}
        self._process = self._start(clean | settings)
        try:
            self._learn_addresses()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._running.poll() is None:
            self.stop()

    def stop(self, signal_number: signal.Signals = signal.SIGTERM, timeout_s: float = 15) -> int:
        """Send a signal and wait for the end.

        Returns:
            The exit code.
        """
        self._running.send_signal(signal_number)
        try:
            return self._running.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """End it at once."""
        self._running.kill()
        self._running.wait()

    @property
    def pid(self) -> int:
        """The process' id."""
        return self._running.pid

    def output(self) -> str:
        """What it printed so far."""
        return self._log.read_text(errors="replace")

    @contextmanager
    def client(self, name: str | None = "dev-admin") -> Iterator[httpx.Client]:
        """A client of the API.

        Args:
            name: Of the certificate in ``certs/``; None for none.
        """
        with httpx.Client(base_url=self.url, verify=client_context(name), trust_env=False, timeout=30) as client:
            yield client

    def metrics(self) -> str:
        """What Prometheus would read."""
        return plain_get(f"{self.ops_url}/metrics").text

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until the readiness probe succeeds."""
        wait_until(lambda: plain_get(f"{self.ops_url}/readyz").status_code == 200, timeout_s)

    def _start(self, environment: dict[str, str]) -> Running:
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "kdm_cli", *self._arguments],
                env=environment,
                cwd=CERTS.parent,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def _running(self) -> Running:
        assert self._process is not None
        return self._process

    def _learn_addresses(self) -> None:
        def told() -> bool:
            assert self._running.poll() is None, f"kdm ended at its start:\n{self.output()}"
            for word in self.output().split():
                if word.startswith("https://") and not self.url:
                    self.url = word.rstrip('/.,"')
                elif word.startswith("http://") and not self.ops_url:
                    self.ops_url = word.rstrip('/.,"')
            return bool(self.url and self.ops_url)

        wait_until(told, START_TIMEOUT_S)


def client_context(name: str | None) -> ssl.SSLContext:
    """Trust the development CA, and show a certificate of ``certs/``."""
    context = ssl.create_default_context(cafile=str(CERTS / "dev-ca.pem"))
    if name is not None:
        context.load_cert_chain(CERTS / f"{name}.pem", CERTS / f"{name}-key.pem")
    return context


def plain_get(url: str) -> httpx.Response:
    """Ask a port without TLS. By default httpx would read the public CAs first, which takes longer than the request."""
    return httpx.get(url, verify=_TRUSTS_NOBODY, trust_env=False)


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Ask until the answer is true, pausing a little between, and for as long as the asking takes.

    Raises:
        TimeoutError: It was not in time.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        asked = time.monotonic()
        if condition():
            return
        answered = time.monotonic()
        if answered > deadline:
            raise TimeoutError(f"not within {timeout_s:g} s")
        # What is waited for is another process' state, of which it does not tell; it needs the processor, too.
        time.sleep(max(0.02, answered - asked))
