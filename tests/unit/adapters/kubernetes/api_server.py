"""An API server on loopback for a model cluster: it speaks the real wire formats, and fails as tests tell it to.

Its limits: HTTP/1.1 without TLS, Deployments alone, equality-based label selectors, and no authorization.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from attrs import define, evolve, field, frozen

from kdm_core.model import Deployment
from unit.adapters.kubernetes.cluster_model import ClusterModel, State
from unit.adapters.kubernetes.kubeconfig import write_kubeconfig
from unit.adapters.kubernetes.wire.wire_formats import JsonFormat, ProtobufFormat, WireFormat

DEADLINE_S = 10.0
"""How long a test waits at most for something that ought to happen, in seconds."""


_COLLECTIONS = ("/deployments", "/configmaps", "/horizontalpodautoscalers")
"""How the path of a list ends."""


@frozen
class Request:
    """What a client sent. ``verb`` is RBAC's, but "version" for a list that is asked for its version alone."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    client: str = ""
    """The common name of the client's certificate."""

    @property
    def verb(self) -> str:
        if self.method == "GET":
            if self.query == {"limit": "1"}:
                return "version"
            return "watch" if "watch" in self.query else "list" if self.path.endswith(_COLLECTIONS) else "get"
        return self.method.lower()


Answer = Callable[["Reply"], Any]


@define(eq=False)
class Reply:
    """How to answer one request."""

    request: Request
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    format: WireFormat = field(factory=JsonFormat)
    cursor: int = 0

    async def whole(self, code: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a complete answer."""
        fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        await self._write(_head(code, fields) + body)

    async def refuse(self, code: int, reason: str, message: str = "", **details: Any) -> None:
        """Send a Status."""
        await self.formatted(code, self.format.status(code, reason, message, **details))

    async def formatted(self, code: int, body: bytes) -> None:
        """Send a complete answer in this request's format."""
        await self.whole(code, body, {"Content-Type": self.format.media_type})

    async def begin(self) -> None:
        """Begin a chunked answer."""
        await self._write(_head(200, {"Content-Type": self._stream_type(), "Transfer-Encoding": "chunked"}))

    async def send(self, data: bytes) -> None:
        """Send a chunk, be it a watch event or not."""
        await self._write(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        """End a chunked answer in order."""
        await self._write(b"0\r\n\r\n")
        self.writer.close()

    def abort(self) -> None:
        """Break the connection."""
        self.writer.transport.abort()

    def _stream_type(self) -> str:
        return self.format.media_type + (";stream=watch" if isinstance(self.format, ProtobufFormat) else "")

    async def _write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


@define(eq=False)
class ApiServer:
    """The server. Enter it to start it.

    Attributes:
        cluster: What it serves. Change it through ``change``, so that watches tell of it.
        watch_lists: Whether it knows watch-lists.
        protobuf: Whether it knows Protocol Buffers. Otherwise all is JSON.
        bookmarks: Whether it ends a watch-list with the annotated bookmark.
        requests: Every request so far.
        watches: The watches that are open.
        faults: By verb: how the next requests are answered instead.
        standing_faults: By verb: how all requests are answered instead.
        tls: To speak TLS.
    """

    cluster: ClusterModel = field(factory=ClusterModel)
    watch_lists: bool = True
    protobuf: bool = True
    bookmarks: bool = True
    requests: list[Request] = field(factory=list)
    watches: list[Reply] = field(factory=list)
    faults: dict[str, deque[Answer]] = field(factory=lambda: defaultdict(deque))
    standing_faults: dict[str, Answer] = field(factory=dict)
    tls: ssl.SSLContext | None = None
    port: int = 0
    _happened: asyncio.Condition = field(factory=asyncio.Condition)
    _server: asyncio.Server | None = None
    _connections: set[asyncio.Task[None]] = field(factory=set)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ApiServer]:
        """Serve until left."""
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    async def start(self) -> None:
        """Listen, on the same port as the last time."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, limit=2**20, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Break every connection and listen no more."""
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._connections.clear()
        self.watches.clear()

    def kubeconfig(self, directory: Path, *, user: object = None, **cluster: object) -> Path:
        """Write a kubeconfig that leads here, as this user."""
        url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"
        return write_kubeconfig(directory / "kubeconfig", url, user=user, cluster=cluster)

    async def change(self, *steps: Callable[[ClusterModel], object]) -> None:
        """Change the cluster; open watches tell of it."""
        for step in steps:
            step(self.cluster)
        await self.notify()

    async def notify(self) -> None:
        """Wake whoever waits for something to happen here."""
        async with self._happened:
            self._happened.notify_all()

    async def until(self, happened: Callable[[], object]) -> None:
        """Wait until something has happened here."""
        async with asyncio.timeout(DEADLINE_S), self._happened:
            await self._happened.wait_for(happened)

    async def watch(self, number: int = 1) -> Reply:
        """Wait for the so-manieth watch since the start that is open now, and return the newest."""
        await self.until(lambda: self.watches and self.count("watch") >= number)
        return self.watches[-1]

    async def until_asked_or_watched(self, requests: int) -> None:
        """Wait until there were more requests than these, unless a watch is open."""
        await self.until(lambda: self.watches or len(self.requests) > requests)

    def count(self, verb: str) -> int:
        """Return how many requests of a verb came so far."""
        return sum(request.verb == verb for request in self.requests)

    def queries(self, verb: str) -> list[dict[str, str]]:
        """Return the query parameters of each request of a verb."""
        return [request.query for request in self.requests if request.verb == verb]

    # Serving

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while (request := await _read_request(reader, _common_name(writer))) is not None:
                self.requests.append(request)
                await self.notify()
                faults = self.faults[request.verb]
                reply = Reply(request, reader, writer, self._format(request))
                fault = faults.popleft() if faults else self.standing_faults.get(request.verb)
                await (fault or self.answer)(reply)
                if writer.is_closing():
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    def _format(self, request: Request) -> WireFormat:
        accepted = request.headers.get("accept", "").startswith(ProtobufFormat.media_type)
        return ProtobufFormat() if self.protobuf and accepted else JsonFormat()

    async def answer(self, reply: Reply) -> None:
        """Answer without faults."""
        request = reply.request
        if request.verb == "watch":
            await self._watch(reply)
        elif request.verb in {"list", "version"}:
            await self._list(reply)
        elif request.verb == "patch":
            await self._scale(reply)
        elif request.path == "/readyz":
            await reply.whole(200, b"ok")
        else:
            await reply.refuse(404, "NotFound", f"no {request.path}")

    async def _list(self, reply: Reply) -> None:
        query = reply.request.query
        version, offset = self.cluster.version, 0
        if "continue" in query:
            version, offset = (int(part) for part in query["continue"].split(":"))
            if version < self.cluster.floor:
                await reply.refuse(410, "Expired", "the provided continue parameter is too old")
                return
        elif query.get("resourceVersionMatch") == "Exact":
            version = int(query["resourceVersion"])
        items = _selected(self.cluster.states[version], reply.request)
        end = offset + int(query["limit"]) if "limit" in query else len(items)
        token = f"{version}:{end}" if end < len(items) else ""
        listed = reply.format.list(*items[offset:end], resource_version=version, continue_token=token)
        await reply.formatted(200, listed)

    async def _watch(self, reply: Reply) -> None:
        query = reply.request.query
        if "sendInitialEvents" in query and not self.watch_lists:
            await reply.refuse(422, "Invalid", "sendInitialEvents: Forbidden: it is forbidden for watch")
            return
        reply.cursor = int(query.get("resourceVersion", 0))
        if reply.cursor and reply.cursor < min(self.cluster.floor, self.cluster.version):
            await reply.refuse(410, "Expired", "too old resource version")
            return
        await reply.begin()
        if "sendInitialEvents" in query:
            reply.cursor = self.cluster.version
            for event in self._initial(reply):
                await reply.send(event)
            if self.bookmarks:
                await reply.send(reply.format.bookmark(reply.cursor, initial_events_end="true"))
        self.watches.append(reply)
        await self.notify()
        serving = asyncio.current_task()
        assert serving is not None
        left = asyncio.create_task(reply.reader.read(1))
        left.add_done_callback(lambda _: serving.cancel())
        try:
            while not reply.writer.is_closing():
                for version, event in list(self._news(reply)):
                    reply.cursor = version
                    if event:
                        await reply.send(event)
                async with self._happened:
                    await self._happened.wait()
        finally:
            left.cancel()
            if reply in self.watches:
                self.watches.remove(reply)

    def _initial(self, reply: Reply) -> Iterator[bytes]:
        """Yield the events that a watch-list begins with."""
        return (reply.format.event("ADDED", each) for each in _selected(self.cluster.state, reply.request))

    def _news(self, reply: Reply) -> Iterator[tuple[int, bytes]]:
        """Yield what a watch has not come to yet: versions and events; b"" for what it does not select."""
        for version, event in self.cluster.after(reply.cursor):
            selected = _selected({"": event.deployment}, reply.request)
            yield version, reply.format.event(event.kind, event.deployment) if selected else b""

    async def _scale(self, reply: Reply) -> None:
        *_, namespace, _, name, _ = reply.request.path.split("/")
        key = name if namespace == "shop" else f"{namespace}/{name}"
        patch = json.loads(reply.request.body)
        held = self.cluster.state.get(key)
        if held is None:
            about = {"name": name, "group": "apps", "kind": "deployments/scale"}
            await reply.refuse(404, "NotFound", f'deployments.apps "{name}" not found', **about)
            return
        if isinstance(patch, list):
            tests, (change,) = patch[:-1], patch[-1:]
            if any(_pointed(json.loads(scale_body(held)), each["path"]) != each["value"] for each in tests):
                await reply.refuse(422, "Invalid", "the server rejected our request due to an error in our request")
                return
            desired = change["value"]
        else:
            if patch.get("metadata", {}).get("resourceVersion", held.resource_version) != held.resource_version:
                await reply.refuse(409, "Conflict", "the object has been modified")
                return
            desired = patch["spec"]["replicas"]
        if reply.request.query.get("dryRun") == "All":
            await reply.whole(200, scale_body(evolve(held, replicas=evolve(held.replicas, desired=desired))))
            return
        stored = self.cluster.scale(key, desired)
        assert stored is not None
        await reply.whole(200, scale_body(stored))
        await self.notify()


def _pointed(document: Any, pointer: str) -> Any:
    """Return what a JSON Pointer (RFC 6901) leads to; None where that is nothing."""
    for part in pointer.split("/")[1:]:
        document = document.get(part, {})
    return document or None


def scale_body(stored: Deployment) -> bytes:
    """Return the answer to a write of a Deployment's scale."""
    metadata = {
        "name": stored.ref.name,
        "namespace": stored.ref.namespace,
        "uid": stored.uid,
        "resourceVersion": stored.resource_version,
    }
    spec, current = {"replicas": stored.replicas.desired}, {"replicas": stored.replicas.current, "selector": "a=b"}
    return json.dumps(
        {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": metadata,
            "spec": spec if stored.replicas.desired else {},
            "status": current,
        }
    ).encode()


# What a fault may be


def refusing(code: int, reason: str, message: str = "", **details: Any) -> Answer:
    """Refuse a request with a Status."""
    return lambda reply: reply.refuse(code, reason, message, **details)


def answering(code: int, body: bytes, **headers: str) -> Answer:
    """Answer with a body of whatever kind."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda reply: reply.whole(code, body, fields)


def streaming(*chunks: bytes | Callable[[WireFormat], bytes], end: bool = True) -> Answer:
    """Open a watch, send these bytes, in whatever format, and end it or leave it open without another byte."""

    async def stream(reply: Reply) -> None:
        await reply.begin()
        for chunk in chunks:
            await reply.send(chunk if isinstance(chunk, bytes) else chunk(reply.format))
        if end:
            await reply.end()
        else:
            await asyncio.Event().wait()

    return stream


def erring(code: int, reason: str, message: str = "") -> Answer:
    """Open a watch whose first event is an ERROR."""
    return streaming(lambda wire: wire.error(code, reason, message))


async def hanging(_: Reply) -> None:
    """Never answer."""
    await asyncio.Event().wait()


async def breaking(reply: Reply) -> None:
    """Break the connection in place of an answer."""
    reply.abort()


def _selected(state: State, request: Request) -> list[Deployment]:
    """Return what a request's path and selectors select, in the order of a list."""
    parts = request.path.split("/")
    namespace = parts[parts.index("namespaces") + 1] if "namespaces" in parts else None
    labels = dict(pair.split("=") for pair in request.query.get("labelSelector", "").split(",") if pair)
    name = request.query.get("fieldSelector", "").removeprefix("metadata.name=")
    found = [
        each
        for each in state.values()
        if namespace in {None, each.ref.namespace}
        and name in {"", each.ref.name}
        and labels.items() <= each.labels.items()
    ]
    return sorted(found, key=lambda each: each.ref)


def _head(code: int, fields: Mapping[str, str]) -> bytes:
    lines = [
        f"HTTP/1.1 {code} {'OK' if code == 200 else 'No'}",
        *(f"{name}: {value}" for name, value in fields.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _common_name(writer: asyncio.StreamWriter) -> str:
    certificate = writer.get_extra_info("peercert") or {}
    return "".join(value for field in certificate.get("subject", ()) for name, value in field if name == "commonName")


async def _read_request(reader: asyncio.StreamReader, client: str) -> Request | None:
    line = await reader.readline()
    if not line:
        return None
    method, target, _ = line.decode().split()
    headers = {}
    while (line := await reader.readline()).strip():
        name, _, value = line.decode().partition(":")
        headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    parts = urlsplit(target)
    return Request(method, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)), headers, body, client)
