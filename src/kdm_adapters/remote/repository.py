"""The Deployments of another kdm: read from a cache that its streams fill, written through its API."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Awaitable, Callable, Iterable
from random import Random
from types import TracebackType
from typing import Final, Self

from attrs import evolve

from kdm_adapters.cache.backoff import Backoff
from kdm_adapters.cache.broadcast import BUFFER
from kdm_adapters.cache.freshness import ageing_clock
from kdm_adapters.cache.own_writes import written_over
from kdm_adapters.cache.repository import CachedRepository
from kdm_adapters.cache.store import Store
from kdm_adapters.remote.access import Access
from kdm_adapters.remote.client import deployment_path, list_path
from kdm_adapters.remote.decoding import NotKdms, Written, read_deployment, read_written
from kdm_adapters.remote.source import Source
from kdm_adapters.remote.stream import Stream
from kdm_adapters.remote.transport import Transport
from kdm_core.errors import (
    ClusterTimeout,
    ClusterUnreachable,
    ClusterUnrecognized,
    InvalidInput,
    KdmError,
    Unavailable,
    WriteConflict,
)
from kdm_core.model import Deployment, DeploymentRef, ReplicaStatus
from kdm_core.names import check_namespace, check_replicas
from kdm_core.ports import WatchInstrument
from kdm_core.scaling import ANY, Expect
from kdm_core.versions import is_version, older

STALE_AFTER_S: Final = 150.0
"""Without a proof of freshness for this long the cache is stale, in seconds: as for a watch of the Kubernetes API."""

WRITE_TIMEOUT_S: Final = 40.0
"""How long a write may take, in seconds: longer than the kdm lets it take by default, so that its answer comes."""

PROBE_TIMEOUT_S: Final = 5.0

_HEALTH: Final = "/health"


class RemoteDeploymentRepository(CachedRepository):
    """Deployments as another kdm shows them, cached by a stream for each namespace, or by one for all of them.

    What that kdm's policy does not show to this client does not exist here, and what it does not allow is
    ``Forbidden``. Owners, the newest change and what is parked are shown as it shows them.

    Read-your-writes: the answer to a write is laid over the cache at once, and gives way when the stream has come as
    far. A stream that breaks off is taken up again where it was, without gap or duplicate. Where that kdm cannot, as
    after its restart, followers get ``LAGGED`` and the present state.

    The certificate files are read for each connection: a certificate that was renewed is used from then on.

    Belongs to the event loop it was entered on.

    Args:
        access: How to reach the kdm.
        namespaces: The namespaces to follow, each as a source of its own; None for all that it shows.
        stale_after_s: After how many seconds without proof of freshness the cache counts as stale. A kdm that says
            itself that what it knows may be old is believed.
        refuse_stale: Whether reads are refused then (``CacheStale``).
        write_timeout_s: How long a write may take, in seconds.
        buffer: How many changes a follower may fall behind.
        instrument: Counts the followers that lag.
        clock: Monotonic seconds.
        sleep: Waits so many seconds.
        rng: For jitter.

    Raises:
        InvalidAccess: How to reach it makes no sense.
        InvalidName: A namespace that can be none.
        InvalidInput: No namespace was named.
    """

    _far = "the kdm"

    def __init__(
        self,
        access: Access,
        *,
        namespaces: Iterable[str] | None = None,
        stale_after_s: float = STALE_AFTER_S,
        refuse_stale: bool = False,
        write_timeout_s: float = WRITE_TIMEOUT_S,
        buffer: int = BUFFER,
        instrument: WatchInstrument | None = None,
        clock: Callable[[], float] = ageing_clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Random | None = None,
    ) -> None:
        followed = (None,) if namespaces is None else tuple(sorted({check_namespace(each) for each in namespaces}))
        if not followed:
            raise InvalidInput("no namespace to follow was named: name some, or None for all")
        self._transport = Transport(access, "kdm-remote")
        self._write_timeout_s = write_timeout_s
        self._stopped = True
        store = Store()
        self._views = {
            each: Source(
                store,
                each,
                on_synced=functools.partial(self._on_synced, each),
                on_reached=functools.partial(self._on_reached, each or "*"),
                on_reset=self._on_reset,
            )
            for each in followed
        }
        super().__init__(
            store,
            self._views,
            stale_after_s=stale_after_s,
            refuse_stale=refuse_stale,
            buffer=buffer,
            on_lagged=(instrument or WatchInstrument()).subscriber_lagged,
            clock=clock,
        )
        rng = rng or Random()  # noqa: S311 - jitter, not cryptography
        self._streams = {
            each: Stream(
                source,
                list_path(each),
                self._transport,
                backoff=Backoff(initial_s=0.3, rng=rng),
                clock=clock,
                sleep=sleep,
            )
            for each, source in self._views.items()
        }

    async def __aenter__(self) -> Self:
        """Start streaming. Returns before the first sync.

        Raises:
            RuntimeError: It was entered before.
        """
        self._enter()
        self._stopped = False
        for each, stream in self._streams.items():
            self._start(stream.run(), f"kdm-stream-{each or '*'}")
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None:
        """Stop streaming and close every connection, to the end, however often this is cancelled."""
        self._stopped = True
        await super().__aexit__(exc_type, exc, tb)

    async def fetch(self, ref: DeploymentRef) -> Deployment:
        """See the port. It is what the kdm itself would read."""
        self._check_ref(ref)
        return await self._look_up(ref)

    async def probe(self) -> None:
        """See the port. Asks for the kdm's health, which includes its cluster's."""
        try:
            answer = await self._call("GET", _HEALTH, timeout_s=min(PROBE_TIMEOUT_S, self._write_timeout_s))
            status = json.loads(answer)["status"]
        except (ValueError, KeyError, TypeError):
            raise ClusterUnrecognized("the answer is not kdm's health") from None
        if status != "healthy":
            raise ClusterUnreachable(f"the kdm is not healthy: {status!r:.80}")

    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, expect: Expect = ANY, dry_run: bool = False
    ) -> Deployment:
        """See the port. One request, never sent twice."""
        check_replicas(replicas)
        self._check_ref(ref)
        version = expect.resource_version
        if version is not None and (version == "0" or not is_version(version)):
            raise WriteConflict(f"Deployment '{ref}' was never at resourceVersion {version!r:.80}")
        source = self._views[self._sources.of(ref.namespace)]
        held = self._store.get(ref.namespace, ref.name)
        before = source.published.before(ref.namespace, ref.name, source.resource_version)
        source.writing()
        try:
            stored = await self._write(ref, replicas, expect, dry_run=dry_run)
            if held is None or held.uid != stored.uid:
                held = await self._known(ref, stored)
            written = written_over(held, stored.resource_version, stored.replicas.desired)
            shown = None if dry_run else self._store.get(ref.namespace, ref.name)
            if shown is not None and _shows(shown, written):
                written = shown  # the stream was quicker, and says more
            elif not dry_run and not source.is_gone(stored.uid):
                source.published.write(written, before, source.resource_version)
        finally:
            source.not_writing()
        return written

    async def _write(self, ref: DeploymentRef, replicas: int, expect: Expect, *, dry_run: bool) -> Written:
        expected = {
            "currentReplicas": expect.replicas,
            "resourceVersion": expect.resource_version,
            "uid": expect.uid,
        }
        body = {"replicas": replicas} | {name: value for name, value in expected.items() if value is not None}
        if expect.override:
            body["override"] = True
        path = deployment_path(ref.namespace, ref.name, "replicas")
        query = {"dryRun": "All"} if dry_run else {}
        try:
            answer = await self._call("PUT", path, query, body, timeout_s=self._write_timeout_s)
            return read_written(answer)
        except NotKdms as error:
            raise ClusterUnrecognized(
                f"the answer is not kdm's: {error}; it may have been written: read before trying again"
            ) from None
        except WriteConflict as error:
            if error.current is not None:
                error.current = self._filled(error.current)
            raise

    async def _known(self, ref: DeploymentRef, stored: Written) -> Deployment:
        """Return what the kdm knows of a Deployment that was written and is not held."""
        try:
            found = await self._look_up(ref)
        except KdmError:
            found = None
        if found is not None and found.uid == stored.uid:
            return found
        return Deployment(ref, stored.uid, "", 0, 0, ReplicaStatus(stored.replicas.desired))

    def _filled(self, current: Deployment) -> Deployment:
        """Return a Deployment of which a conflict shows a part, with the rest as it is held."""
        held = self._store.get(current.ref.namespace, current.ref.name)
        if held is None or held.uid != current.uid:
            return current
        replicas = evolve(held.replicas, desired=current.replicas.desired)
        return evolve(held, resource_version=current.resource_version, generation=current.generation, replicas=replicas)

    async def _look_up(self, ref: DeploymentRef) -> Deployment:
        answer = await self._call("GET", deployment_path(ref.namespace, ref.name), timeout_s=self._write_timeout_s)
        try:
            return read_deployment(answer)
        except NotKdms as error:
            wrong: KdmError = ClusterUnrecognized(f"the answer is not kdm's: {error}")
            wrong.written = False
            raise wrong from None

    async def _call(
        self, method: str, path: str, query: dict[str, str] | None = None, body: object = None, *, timeout_s: float
    ) -> bytes:
        if self._stopped:
            raise ClusterUnreachable("the repository has been stopped, or was never entered")
        try:
            return await self._transport.call(method, path, query, body, timeout_s=timeout_s)
        except Unavailable as error:
            raise _as_the_core_has_it(error) from error

    async def _close(self) -> None:
        await self._transport.aclose()

    def _on_reached(self, source: str, resource_version: str) -> None:
        self._awaited[source].reached(resource_version)

    def _on_reset(self) -> None:
        self._changes.restart()


def _shows(shown: Deployment, written: Deployment) -> bool:
    """Return whether what is shown is what was written, or what became of it."""
    same = shown.uid == written.uid and shown.replicas.desired == written.replicas.desired
    return same and not older(shown.resource_version, written.resource_version)


def _as_the_core_has_it(error: Unavailable) -> Unavailable:
    """Return an error of the way to the kdm as one of the core's own."""
    for kind in (ClusterUnreachable, ClusterTimeout):
        if isinstance(error, kind) and type(error) is not kind:
            found = kind(str(error))
            found.written = error.written
            return found
    return error
