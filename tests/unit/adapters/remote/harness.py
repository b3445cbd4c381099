"""The back doors to a kdm that the repository contract asks for: what it serves is a cluster in memory."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_adapters.remote.access import Access
from kdm_adapters.remote.repository import RemoteDeploymentRepository
from kdm_core import (
    ClusterOverloaded,
    ClusterTimeout,
    ClusterUnreachable,
    ClusterUnrecognized,
    DeploymentRef,
    KdmError,
    Owner,
    OwnerType,
    SourceStatus,
    WriteConflict,
    WriteForbidden,
    WriteInvalid,
)
from kdm_core.testing.following import DEADLINE_S
from kdm_core.testing.harness import ScopedRepositoryHarness
from unit.adapters.remote.served import Served

T = TypeVar("T")
Shown = tuple[DeploymentRef, str, tuple[Owner, ...]]
"""Of a Deployment: its name, its version, and its owners."""
STALE_AFTER_S: Final = 1e6
WRITE_TIMEOUT_S: Final = 5.0  # fifty writes at once on a busy machine take more than one
_FAULTS: Final[Mapping[type[KdmError], str]] = {
    ClusterOverloaded: "overloaded",
    WriteConflict: "conflict",
    WriteForbidden: "forbidden",
    WriteInvalid: "invalid",
}
_numbers = itertools.count()


class Gate:
    """Stands before a kdm's API: it cuts streams, and says nothing or something else in the API's place.

    Attributes:
        broken: The namespaces whose streams are refused; "*" for all.
        mute: Whether nothing is answered.
        foreign: Whether something answers that is no kdm.
        streams: The streams that are open, and the namespace of each; "*" for all.
    """

    def __init__(self, app: Any) -> None:
        self.broken: set[str] = set()
        self.mute = False
        self.foreign = False
        self.streams: dict[asyncio.Task[None], str] = {}
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif b"watch=true" in scope["query_string"]:
            await self._stream(scope, receive, send)
        elif self.foreign:
            await _answer(send, 404, b"text/html", b"<h1>not found</h1>")
        elif self.mute:
            await asyncio.Event().wait()
        else:
            await self._app(scope, receive, send)

    def cut(self, namespace: str = "*") -> None:
        """End the streams of a namespace, or all, in the middle."""
        for task, of in self.streams.items():
            if namespace in {"*", of}:
                task.cancel()

    async def _stream(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"].split("/")
        namespace = path[path.index("namespaces") + 1] if "namespaces" in path else "*"
        if self.broken & {"*", namespace}:
            await _answer(send, 503, b"application/problem+json", b'{"code": "cluster-unreachable", "detail": "cut"}')
            return
        task = asyncio.ensure_future(self._app(scope, receive, send))
        self.streams[task] = namespace
        try:
            await asyncio.wait({task})
        finally:
            del self.streams[task]
            task.cancel()
        if task.cancelled():
            raise ConnectionResetError("cut")
        task.result()


class Gated(Served):
    """A kdm on memory behind a gate, whose cluster's other clients are at hand."""

    gate: Gate

    def app(self) -> Any:
        before = getattr(self, "gate", None)
        self.gate = Gate(super().app())
        if before is not None:
            self.gate.broken, self.gate.mute, self.gate.foreign = before.broken, before.mute, before.foreign
        return self.gate


class RemoteHarness(ScopedRepositoryHarness):
    """A kdm, and repositories on it whose clock runs ahead while they wait.

    Args:
        kdm: The kdm; several harnesses may share it, one after the other.
        scoped: Whether the repositories follow ``namespaces`` only.
        url: How it is reached where that is not directly.
        write_timeout_s: How long a write may take, in seconds: short where a test waits for that to pass.
    """

    buffer = 16
    repository: RemoteDeploymentRepository

    def __init__(
        self, kdm: Gated, *, scoped: bool = False, url: str = "", write_timeout_s: float = WRITE_TIMEOUT_S
    ) -> None:
        name = f"contract-{next(_numbers)}"
        self.namespaces = (f"{name}-one", f"{name}-two")
        self.unwatched = f"{name}-unwatched"
        self.access: Access = kdm.access(url=url)
        self._kdm = kdm
        self._write_timeout_s = write_timeout_s
        self._watched = self.namespaces if scoped else None
        self._skipped_s = 0.0
        self._interruptions = 0
        self.repository = self.another()

    def another(self) -> RemoteDeploymentRepository:
        return RemoteDeploymentRepository(
            self.access,
            namespaces=self._watched,
            stale_after_s=STALE_AFTER_S,
            refuse_stale=True,
            write_timeout_s=self._write_timeout_s,
            buffer=self.buffer,
            clock=lambda: time.monotonic() + self._skipped_s,
            sleep=self._skip,
        )

    async def seed(
        self, ref: DeploymentRef, replicas: int, *, labels: Mapping[str, str] | None = None, paused: bool = False
    ) -> None:
        await self._do(lambda: self._kdm.cluster.create(ref, replicas, labels=labels, paused=paused))

    async def seed_owned(self, ref: DeploymentRef, replicas: int, owner: Owner) -> None:
        await self._do(lambda: self._kdm.cluster.create(ref, replicas, owners=[owner]))

    async def autoscale(self, ref: DeploymentRef, target: str, owner: Owner) -> None:
        assert owner.max is not None
        scaled_object = owner.name if owner.type is OwnerType.SCALED_OBJECT else ""
        put, least, most = self._kdm.cluster.autoscalers.put, owner.min, owner.max
        await self._do(lambda: put(ref, target, least=least, most=most, scaled_object=scaled_object))

    async def end_autoscaling(self, ref: DeploymentRef) -> None:
        await self._do(lambda: self._kdm.cluster.autoscalers.delete(ref))

    async def edit(
        self, ref: DeploymentRef, *, replicas: int | None = None, labels: Mapping[str, str] | None = None
    ) -> None:
        def edit() -> None:
            if replicas is not None:
                self._kdm.cluster.scale(ref, replicas)
            if labels is not None:
                self._kdm.cluster.relabel(ref, labels)

        await self._do(edit)

    async def delete(self, ref: DeploymentRef) -> None:
        await self._do(lambda: self._kdm.cluster.delete(ref))

    async def stored_replicas(self, ref: DeploymentRef) -> int | None:
        stored = await self._do(lambda: self._kdm.cluster.deployments.get(ref))
        return None if stored is None else stored.replicas.desired

    async def settle(self) -> None:
        await self._do(lambda: None)  # the turn on which the status follows
        if self._kdm.gate.broken:
            return
        version, wanted = await self._do(self._wanted)

        def settled() -> bool:
            status = self.repository.sync_status()
            return status.healthy and int(status.resource_version) >= int(version) and self._seen() == wanted

        await self._until(settled)

    async def break_watch(self) -> None:
        await self._break("*")
        await self._until(lambda: not self.repository.sync_status().connected)

    async def heal_watch(self) -> None:
        await self._do(self._kdm.gate.broken.clear)

    async def cut_watch(self) -> None:
        """Cut the stream in the middle, once, and return when it was noticed: ``settle`` waits for the next.

        While the watch is broken there is none to cut.
        """
        await self._interrupted_by(lambda: self._kdm.do(self._kdm.gate.cut))

    async def restart(self) -> None:
        """Start the kdm again, and return when the repository has noticed: ``settle`` waits for the next stream."""

        def restart() -> None:
            self._kdm.stop()
            self._start()

        await self._interrupted_by(restart)

    async def break_watch_of(self, namespace: str) -> None:
        await self._break(namespace)
        await self._until(lambda: not self._source(namespace).connected)

    async def go_stale_in(self, namespace: str) -> None:
        await self.break_watch_of(namespace)
        self._skipped_s += STALE_AFTER_S + 1
        (other,) = set(self.namespaces) - {namespace}
        await self._do(lambda: self._kdm.gate.cut(other))  # it proves again that it is fresh
        await self._until(lambda: not self._source(other).stale)

    async def go_stale(self) -> None:
        await self.break_watch()
        self._skipped_s += STALE_AFTER_S + 1

    async def fail(self, error: type[KdmError]) -> None:
        if error is ClusterUnreachable:
            await asyncio.to_thread(self._kdm.stop)
            return
        self._kdm.gate.mute = error is ClusterTimeout
        self._kdm.gate.foreign = error is ClusterUnrecognized
        if error in _FAULTS:
            await self._do(lambda: setattr(self._faults, _FAULTS[error], True))

    async def heal(self) -> None:
        self._kdm.gate.mute = self._kdm.gate.foreign = False
        if not self._kdm.is_serving:
            await asyncio.to_thread(self._start)
        if isinstance(self._kdm.repository, MemoryDeploymentRepository):
            for fault in _FAULTS.values():
                await self._do(lambda fault=fault: setattr(self._faults, fault, False))  # type: ignore[misc]

    def _start(self) -> None:
        """Start the kdm, and wait until it serves what its cluster has."""
        self._kdm.start()
        self._kdm.wait_synced()

    @property
    def _faults(self) -> Any:
        assert isinstance(self._kdm.repository, MemoryDeploymentRepository)
        return self._kdm.repository.faults

    async def _break(self, namespace: str) -> None:
        def cut() -> None:
            self._kdm.gate.broken.add(namespace)
            self._kdm.gate.cut(namespace)

        await self._do(cut)

    async def _interrupted_by(self, action: Callable[[], None]) -> None:
        """Do what ends the stream, while the repository's event loop stands still, and wait until it has seen the end.

        What was published still looks healthy until then.
        """
        before, following = self._interruptions, self.repository.sync_status().connected
        action()
        if following:
            await self._until(lambda: self._interruptions > before)

    def _wanted(self) -> tuple[str, set[Shown]]:
        """Return the cluster's version, and what is to be seen of it."""
        owners = {each.ref: each.owners for each in self._kdm.repository.list()}
        stored = self.own(self._kdm.cluster.deployments.values())
        wanted = {(each.ref, each.resource_version, owners.get(each.ref, ())) for each in stored}
        return str(self._kdm.cluster.version), wanted

    def _seen(self) -> set[Shown]:
        return {(each.ref, each.resource_version, each.owners) for each in self.own(self.repository.list())}

    def _source(self, namespace: str) -> SourceStatus:
        return next(each for each in self.repository.sync_status().sources if each.source == namespace)

    async def _do(self, action: Callable[[], T]) -> T:
        return await asyncio.to_thread(self._kdm.do, action)

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110 - a repository tells nobody of each thing it sees
                await asyncio.sleep(0.003)

    async def _skip(self, seconds: float) -> None:
        """Let a wait pass, but leave the others a moment: a backoff need not take its time in a test.

        The repository waits only after a stream has ended.
        """
        self._interruptions += 1
        await asyncio.sleep(0.01)
        self._skipped_s += seconds


@contextmanager
def gated(directory: Path, **how: Any) -> Iterator[Gated]:
    """Serve a kdm on memory, behind a gate."""
    with Gated(directory, **how) as kdm:
        yield kdm


@asynccontextmanager
async def remote_harness(
    kdm: Gated, *, scoped: bool = False, url: str = "", write_timeout_s: float = WRITE_TIMEOUT_S
) -> AsyncIterator[RemoteHarness]:
    """Make a harness whose repository is entered and synced, in namespaces of its own."""
    harness = RemoteHarness(kdm, scoped=scoped, url=url, write_timeout_s=write_timeout_s)
    try:
        async with harness.repository:
            await harness.repository.wait_synced(DEADLINE_S)
            yield harness
    finally:
        await harness.heal()
        await harness.heal_watch()


async def _answer(send: Any, status: int, media_type: bytes, body: bytes) -> None:
    fields = [(b"content-type", media_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a repository says of itself."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - a repository does not announce its status
            await asyncio.sleep(0.003)
