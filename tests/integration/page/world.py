"""A kdm over mTLS on a cluster in memory, and `kdm ui`'s server beside it, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from attrs import define, evolve, field

from integration.kdm_process import CERTS
from kdm_adapters.memory import MemoryCluster, MemoryDeploymentRepository, Pace, demo
from kdm_adapters.remote.access import Access
from kdm_adapters.remote.transport import Transport
from kdm_cli.container import Container
from kdm_cli.loopback import OPEN, Gate, Loopback, server_of
from kdm_cli.settings import Settings
from kdm_core import Deployment, DeploymentRef
from kdm_http.page.files import page
from kdm_http.server.serve import serve
from kdm_http.server.uvicorn_seam import ASGI3Application, Server

NAME: Final = "staging-eu"
START_S: Final = 30.0


class Shown(NamedTuple):
    """`kdm ui`, as it serves.

    Attributes:
        url: Where it is.
        token: For its one session.
        upstream: What it passes calls on with.
        server: What serves it.
    """

    url: str
    token: str
    upstream: Transport
    server: Server

    @property
    def address(self) -> str:
        """What `kdm ui` prints."""
        return f"{self.url}{OPEN}{self.token}"


@define
class World:
    """What a test can look at and change.

    Attributes:
        cluster: The cluster.
        repository: kdm's view of it.
        lot: Where what is parked is remembered; None where nothing is.
        api_url: Of kdm.
        ui: `kdm ui` beside it.
        writes: The bodies of writes that came to `kdm ui`, with their method, path and key.
    """

    cluster: MemoryCluster
    repository: MemoryDeploymentRepository
    lot: Any
    api_url: str
    ui: Shown
    writes: list[dict[str, Any]] = field(factory=list)

    @property
    def url(self) -> str:
        """Where the page is."""
        return self.ui.url

    def find(self, key: str) -> Deployment:
        """Return a Deployment of the cluster by ``namespace/name``."""
        return self.cluster.deployments[ref(key)]

    def store(self, key: str, **changes: Any) -> Deployment:
        """Put a Deployment into the cluster with whatever fields a test wants to see."""
        return self.cluster._store(evolve(self.find(key), **changes), by_controllers=True)

    def cut(self) -> None:
        """Break every connection of the browser."""
        for each in list(self.ui.server.server_state.connections):
            each.transport.abort()


def ref(key: str) -> DeploymentRef:
    """Return the Deployment that ``namespace/name`` means."""
    namespace, _, name = key.partition("/")
    return DeploymentRef(namespace, name)


def seed(cluster: MemoryCluster) -> None:
    """Fill a cluster with kdm's demo Deployments."""
    demo.seed(cluster)


def access(url: str, certificate: str = "dev-admin") -> Access:
    """How a kdm with the development certificates is reached."""
    return Access(url, CERTS / "dev-ca.pem", CERTS / f"{certificate}.pem", CERTS / f"{certificate}-key.pem")


@contextlib.asynccontextmanager
async def started(
    *,
    settle: bool = True,
    owners: bool = False,
    pace: Pace | None = None,
    fill: Callable[[MemoryCluster], None] = seed,
    certificate: str = "dev-admin",
    policy: Path | None = None,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[World]:
    """Serve both.

    Args:
        settle: Whether status follows spec; see ``MemoryCluster``.
        owners: Whether kdm looks for autoscalers.
        pace: How fast.
        fill: Makes the Deployments.
        certificate: Whose certificate `kdm ui` has, of ``certs/``.
        policy: The policy; None for the development one.
        settings: ``KDM_*`` settings, without that prefix.
    """
    named = {"PORT": "0", "OPS_PORT": "0", "HOST": "127.0.0.1", "REPOSITORY": "memory", "DEV": "true"}
    named |= {"POLICY_FILE": str(policy)} if policy else {}
    chosen = Settings.read({f"KDM_{name}": value for name, value in {**named, **(settings or {})}.items()}, {}, print)
    container = Container(settings=chosen)
    cluster = MemoryCluster(settle=settle, pace=pace)
    repository = MemoryDeploymentRepository(cluster=cluster, owners=owners)
    fill(cluster)
    container.repository.override(repository)
    stop = asyncio.Event()
    listening: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve(
            cast("ASGI3Application", container.api()),
            cast("ASGI3Application", container.ops()),
            config=container.server_config(),
            lifespan=container.lifespan(),
            started=listening.set_result,
            stop=stop,
        )
    )
    try:
        await asyncio.wait({serving, listening}, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        api_url = f"https://localhost:{(await listening).api[0][1]}"
        async with shown(api_url, certificate) as ui:
            yield World(cluster, repository, container.parking(), api_url, ui)
    finally:
        stop.set()
        await serving


@contextlib.asynccontextmanager
async def shown(api_url: str, certificate: str = "dev-admin") -> AsyncIterator[Shown]:
    """Show a kdm with a certificate of ``certs/``."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    gate, upstream = Gate(port), Transport(access(api_url, certificate), "kdm-ui")
    server = server_of(Loopback(gate, page(NAME), upstream))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield Shown(f"http://127.0.0.1:{port}", gate.token, upstream, server)
    finally:
        server.should_exit = True
        await serving
        await upstream.aclose()
