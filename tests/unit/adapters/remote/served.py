"""A kdm over mutual TLS in a thread of its own, for tests that call it from outside its event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_adapters.memory.cluster import MemoryCluster
from kdm_adapters.remote.access import Access
from kdm_core import ALLOW_ALL, DeploymentRepository, DeploymentService, Policy
from kdm_http.api.app import create_app
from kdm_http.api.stream.hub import Pace
from kdm_http.api.stream.streams import StreamLimits
from kdm_http.server.serve import Limits, ServerConfig, TlsFiles, serve
from unit.http.credentials import Credentials, Leaf
from unit.http.running import ops_app

T = TypeVar("T")
DEADLINE_S = 20.0
_THREADS = 4
PACE = Pace(tick_s=0.02, gather_s=0.001)


class Served:
    """A kdm over a repository, on a port of loopback that stays the same when it is started again.

    Args:
        directory: Where its certificates and its clients' are written.
        credentials: Who has which.
        make: Makes the repository, in the server's event loop.
        policy: Who may do what.
        pace: How its streams go.
        parts: Makes more arguments of its service, such as what keeps its history.
        settings: More settings of the server.
    """

    def __init__(
        self,
        directory: Path,
        credentials: Credentials | None = None,
        make: Callable[[], DeploymentRepository] | None = None,
        *,
        policy: Policy = ALLOW_ALL,
        pace: Pace = PACE,
        parts: Callable[[], dict[str, Any]] = dict,
        **settings: Any,
    ) -> None:
        self.directory = directory
        self.credentials = credentials or Credentials()
        self.policy = policy
        self.port = 0
        self.service: DeploymentService
        self.repository: DeploymentRepository
        self._make = make or (lambda: MemoryDeploymentRepository(cluster=self.cluster, owners=True))
        self._pace = pace
        self._parts = parts
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._executor = concurrent.futures.ThreadPoolExecutor(_THREADS)
        self._loop.set_default_executor(self._executor)
        self._thread = threading.Thread(target=self._loop.run_forever, name="served", daemon=True)
        self._serving: concurrent.futures.Future[None] | None = None
        self._stop: asyncio.Event
        self.cluster = MemoryCluster()
        self.files = TlsFiles(directory / "server.pem", directory / "server-key.pem", directory / "ca.pem")

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def is_serving(self) -> bool:
        """Whether it was started and not stopped."""
        return self._serving is not None

    def access(self, identity: Leaf | None = None, *, name: str = "client", url: str = "") -> Access:
        """Return how a client reaches it, by default alice; its files are named after ``name``."""
        leaf = identity or self.credentials.alice
        cert, key = self.directory / f"{name}.pem", self.directory / f"{name}-key.pem"
        cert.write_bytes(leaf.chain)
        key.write_bytes(leaf.key)
        return Access(url or self.url, self.files.client_ca, cert, key)

    def __enter__(self) -> Self:
        self.credentials.write(self.files)
        self._thread.start()
        together = threading.Barrier(_THREADS)  # all threads run from now on: none begins in the middle of a test
        for each in [self._executor.submit(together.wait) for _ in range(_THREADS)]:
            each.result(DEADLINE_S)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._executor.shutdown()
        self._loop.close()

    def do(self, action: Callable[[], T]) -> T:
        """Do something in the server's event loop, such as with its cluster."""

        async def perform() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(perform(), self._loop).result(DEADLINE_S)

    def start(self) -> None:
        """Serve; from the second time on, at the port of the first."""
        listening: concurrent.futures.Future[int] = concurrent.futures.Future()
        self._serving = asyncio.run_coroutine_threadsafe(self._serve(listening), self._loop)
        either: set[concurrent.futures.Future[Any]] = {listening, self._serving}
        concurrent.futures.wait(either, DEADLINE_S, concurrent.futures.FIRST_COMPLETED)
        if self._serving.done():
            self._serving.result()
        self.port = listening.result()

    def wait_synced(self) -> None:
        """Wait until it has read its cluster."""
        asyncio.run_coroutine_threadsafe(self.repository.wait_synced(DEADLINE_S), self._loop).result(DEADLINE_S)

    def stop(self) -> None:
        """Serve no more."""
        serving, self._serving = self._serving, None
        if serving is not None:
            self.do(self._stop.set)
            serving.result(DEADLINE_S)

    def app(self) -> Any:
        """Make what is served."""
        limits = StreamLimits(total=1000, per_user=1000)
        return create_app(self.service, stream_limits=limits, stream_pace=self._pace)

    async def _serve(self, listening: concurrent.futures.Future[int]) -> None:
        self._stop = asyncio.Event()
        config = ServerConfig(
            self.files,
            host="127.0.0.1",
            ops_host="127.0.0.1",
            port=self.port,
            ops_port=0,
            reload_poll_s=0.05,
            limits=Limits(grace_s=0.2),
            **self._settings,
        )
        async with self._make() as self.repository:
            parts = self._parts()
            self.service = DeploymentService(self.repository, policy=self.policy, **parts)
            async with self.service.remembering(), parts.get("parking") or contextlib.nullcontext():
                await serve(
                    self.app(),
                    ops_app,
                    config=config,
                    started=lambda addresses: listening.set_result(addresses.api[0][1]),
                    stop=self._stop,
                )


@contextmanager
def served(directory: Path, credentials: Credentials | None = None, **how: Any) -> Iterator[Served]:
    """Serve a kdm on memory."""
    with Served(directory, credentials, **how) as running:
        yield running
