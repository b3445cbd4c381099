"""A server whose streams are under test, and a client that reads them as EventSource does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from attrs import define, field
from prometheus_client import CollectorRegistry

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_adapters.memory.cluster import MemoryCluster
from kdm_core import ALLOW_ALL, DeploymentRef, DeploymentService, Policy
from kdm_http.api.app import create_app
from kdm_http.api.stream.hub import Pace
from kdm_http.api.stream.streams import StreamLimits
from kdm_http.telemetry.edge_metrics import EdgeMetrics
from kdm_http.telemetry.stream_metrics import StreamMetrics
from unit.http.api.stream.event_source import Event, EventSource
from unit.http.client import Client
from unit.http.running import Running

DEADLINE_S = 20.0
WEB = DeploymentRef("shop", "web")
API = DeploymentRef("shop", "api")
JOB = DeploymentRef("batch", "job")


@define
class Stage:
    """A running server over the memory adapter."""

    server: Running
    repository: MemoryDeploymentRepository
    service: DeploymentService
    registry: CollectorRegistry

    def metric(self, name: str, **labels: str) -> float:
        value = self.registry.get_sample_value(name, labels)
        assert value is not None, name
        return value


@pytest.fixture
async def stage(start: Any) -> AsyncIterator[Callable[..., Any]]:
    """Start servers: over which cluster, with which policy and pace is the test's choice."""
    async with contextlib.AsyncExitStack() as stack:

        async def stage(
            *,
            policy: Policy = ALLOW_ALL,
            pace: Pace | None = None,
            streams: StreamLimits | None = None,
            repository: MemoryDeploymentRepository | None = None,
            bare: bool = False,
            **settings: Any,
        ) -> Stage:
            repository = repository or MemoryDeploymentRepository(cluster=MemoryCluster(settle=False))
            for ref, replicas in () if bare else ((JOB, 1), (API, 2), (WEB, 3)):
                repository.cluster.create(ref, replicas, labels={"tier": "web"} if ref == WEB else {})
            await stack.enter_async_context(repository)
            service = DeploymentService(repository, policy=policy)
            registry = CollectorRegistry()
            traffic = EdgeMetrics(registry)
            app = create_app(
                service,
                counter=traffic.requests,
                stream_limits=streams or StreamLimits(total=1000, per_user=1000),
                stream_events=StreamMetrics(registry),
                stream_pace=pace or Pace(tick_s=0.01, gather_s=0.0, heartbeat_ticks=10**9, bookmark_ticks=10**9),
            )
            server = await start(app=app, **settings)
            return Stage(server, repository, service, registry)

        yield stage


@define(eq=False)
class Stream:
    """One client's stream over any number of connections.

    Attributes:
        seen: Every event.
        opened_at: How many there were when each connection began.
        state: What a client that follows the documentation holds: by namespace and name, how each is shown.
        synced: Whether it is complete.
    """

    connect: Callable[[], Any]
    target: str
    source: EventSource = field(factory=EventSource)
    seen: list[Event] = field(factory=list)
    opened_at: set[int] = field(factory=set)
    state: dict[tuple[str, str], Any] = field(factory=dict)
    synced: bool = False
    status: int = 0
    headers: dict[str, str] = field(factory=dict)
    client: Client | None = None
    ended: bool = False
    _present: dict[tuple[str, str], Any] = field(factory=dict)
    _pending: list[Event] = field(factory=list)

    async def open(self, last_event_id: str | None = None) -> None:
        """Connect, as EventSource connects again."""
        self.cut()
        self.client = await self.connect()
        assert self.client is not None
        given = self.source.last_event_id if last_event_id is None else last_event_id
        field_line = f"last-event-id: {given}\r\n" if given else ""
        await self.client.handshake()
        await self.client.send(
            f"GET {self.target} HTTP/1.1\r\nhost: kdm\r\naccept: text/event-stream\r\n{field_line}\r\n".encode()
        )
        head = await self.client._until(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")[:-2]
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.source.reconnect()
        self.opened_at.add(len(self.seen))
        self._present, self._pending, self.ended = {}, [], False

    def cut(self) -> None:
        """Lose the connection."""
        if self.client is not None:
            self.client.writer.transport.abort()
            self.client = None

    async def chunk(self) -> bytes:
        """Read one chunk of the body; empty at its end."""
        assert self.client is not None
        size = int(await self.client._until(b"\r\n"), 16)
        while len(self.client.buffered) < size + 2:
            self.client.buffered += await self.client._more()
        data, end = self.client.buffered[:size], self.client.buffered[size : size + 2]
        assert end == b"\r\n"
        self.client.buffered = self.client.buffered[size + 2 :]
        return data

    def take(self, data: bytes) -> list[Event]:
        """Make of bytes what a client makes of them."""
        events = self.source.feed(data)
        for event in events:
            self._add(event)
        return events

    async def next(self) -> Event:
        """Return the next event."""
        async with asyncio.timeout(DEADLINE_S):
            while not self._pending:
                data = await self.chunk()
                if not data:
                    self.ended = True
                    raise EOFError("the stream has ended")
                self._pending = self.take(data)
            return self._pending.pop(0)

    async def until(self, *kinds: str) -> Event:
        """Read up to the next event of one of these kinds."""
        while (event := await self.next()).type not in kinds:
            pass
        return event

    async def until_shown(self, ref: DeploymentRef, replicas: int) -> Event:
        """Read up to an event that shows this count."""
        while True:
            event = await self.next()
            shown = event.json
            if (shown.get("name"), shown.get("replicas", {}).get("desired")) == (ref.name, replicas):
                return event

    @property
    def kinds(self) -> list[str]:
        return [event.type for event in self.seen]

    def _add(self, event: Event) -> None:
        self.seen.append(event)
        shown = event.json
        key = (shown.get("namespace"), shown.get("name"))
        if event.type == "present":
            assert key not in self._present, "present twice"
            assert not event.last_event_id, "a state that is not complete has no id"
            self._present[key] = shown
        elif event.type == "synced":
            self.state, self._present, self.synced = self._present, {}, True
        elif event.type == "reset":
            self.synced = False
        elif event.type == "added":
            assert self.synced
            assert key not in self.state, f"added twice: {key}"
            self.state[key] = shown
        elif event.type == "modified":
            assert self.synced
            assert self.state[key] != shown, f"the same change twice: {shown}"
            self.state[key] = shown
        elif event.type == "deleted":
            assert self.synced
            del self.state[key]


@pytest.fixture
async def open_stream(connect: Any) -> AsyncIterator[Callable[..., Any]]:
    """Open a stream of some client, by default a good one, and read nothing of it yet."""
    opened: list[Stream] = []

    async def open_stream(
        stage: Stage, target: str = "/api/v2/deployments?watch=true", last_event_id: str = "", **how: Any
    ) -> Stream:
        stream = Stream(lambda: connect(stage.server, **how), target)
        opened.append(stream)
        await stream.open(last_event_id)
        return stream

    yield open_stream
    for each in opened:
        each.cut()
