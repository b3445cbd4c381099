"""Loads a server, and tells what that took."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.http.cores import Layout
from integration.controlplane import binaries

__all__ = ["Client", "Generator", "Load", "Outcome"]

SOURCE = Path(__file__).parent / "generator"
TIMEOUT_S = 280.0


@dataclass(frozen=True)
class Client:
    """Who asks: a certificate, its key, and the CA that the server's certificate is of."""

    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True)
class Load:
    """What to ask, and how.

    Attributes:
        paths: What to ask for, in turn.
        clients: How many ask at once.
        seconds: For how long. What has begun by then is waited for.
        warmup_s: For how long before that, uncounted.
        fresh: Whether each request has a connection of its own; otherwise each client has.
        rate_per_s: How many requests a second in all; 0 for each client asking again when it is answered.
        method: The request's method.
        body: The request's body, in which # stands for a number that is another one each time.
        content_type: The body's media type.
        first: The first of these numbers.
        timeline: A file for every single request; what it is is told in the load generator.
    """

    paths: Sequence[str]
    clients: int = 1
    seconds: float = 2.0
    warmup_s: float = 0.5
    fresh: bool = False
    rate_per_s: float = 0.0
    method: str = "GET"
    body: str = ""
    content_type: str = "application/json"
    first: int = 1
    timeline: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What it took.

    Attributes:
        requests: How many were answered with 200.
        seconds: In how long.
        p50_us: Half of the answers took no longer, in microseconds.
        p90_us: 90 % of them.
        p99_us: 99 % of them.
        p999_us: 99.9 % of them.
        max_us: The longest.
        bytes: What all their bodies had.
        late: At a steady rate: how many could not be sent when they were due, as all clients were waiting.
        server_cpu_s: Processor time the server used meanwhile, in seconds.
        own_cpu_s: What the load generator used.
        errors: What went wrong, and how often.
        negotiated: The TLS version and cipher suite.
    """

    requests: int
    seconds: float
    p50_us: float
    p90_us: float
    p99_us: float
    p999_us: float
    max_us: float
    bytes: int
    late: int
    server_cpu_s: float
    own_cpu_s: float
    errors: dict[str, int]
    negotiated: str

    @property
    def per_s(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def cpu_us(self) -> float:
        """The server's processor time for a request, in microseconds."""
        return self.server_cpu_s * 1e6 / self.requests

    @property
    def server_busy(self) -> float:
        """How many cores the server kept busy."""
        return self.server_cpu_s / self.seconds

    @property
    def generator_busy(self) -> float:
        """How many cores the load generator kept busy."""
        return self.own_cpu_s / self.seconds


class Generator:
    """The load generator, which is built where it is missing.

    Args:
        layout: Where it runs.
        directory: Where its files may be.
    """

    def __init__(self, layout: Layout, directory: Path) -> None:
        self._program = binaries.build(SOURCE, {"generator": "."}) / "generator"
        self._layout = layout
        self._paths = directory / "paths"

    def start(self, address: str, client: Client, load: Load, pid: int | None = None) -> subprocess.Popen[str]:
        """Begin to load a server; see `finish`.

        Args:
            address: Its host and port.
            client: Who asks.
            load: What, and how.
            pid: The server's process, if its processor time is to be told.
        """
        self._paths.write_text("\n".join(load.paths))
        options = {
            "address": address, "cert": client.certificate, "key": client.key, "cacert": client.ca,
            "paths": self._paths, "method": load.method, "body": load.body, "content-type": load.content_type,
            "first": load.first, "clients": load.clients, "fresh": str(load.fresh).lower(), "rate": load.rate_per_s,
            "warmup": load.warmup_s, "seconds": load.seconds, "pid": pid or 0,
            "timeline": load.timeline or "",
        }  # fmt: skip
        command = [str(self._program), *(f"-{name}={value}" for name, value in options.items())]
        prompt = not math.isclose(load.rate_per_s, 0)
        return subprocess.Popen(self._layout.loading(command, prompt=prompt), stdout=subprocess.PIPE, text=True)

    def finish(self, process: subprocess.Popen[str]) -> Outcome:
        """Wait until a load is over, and tell what it took.

        Raises:
            AssertionError: Not one request was answered with 200; what it was instead is on standard error.
        """
        with process:
            try:
                written, _ = process.communicate(timeout=TIMEOUT_S)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise AssertionError("the load generator failed; what it said is above")
        return Outcome(**json.loads(written))

    def run(self, address: str, client: Client, load: Load, pid: int | None = None) -> Outcome:
        """Load a server for a while; see `start` and `finish`."""
        return self.finish(self.start(address, client, load, pid))
