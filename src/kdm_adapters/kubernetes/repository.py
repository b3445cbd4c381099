"""The Deployments of a Kubernetes cluster: read from a watch cache, written through the ``scale`` subresource."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from random import Random
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

from attrs import evolve

from kdm_adapters.cache.broadcast import BUFFER, Broadcaster
from kdm_adapters.cache.own_writes import older, written_over
from kdm_adapters.cache.store import Store
from kdm_adapters.ending import to_the_end
from kdm_adapters.kubernetes.api.client import ApiError, Client
from kdm_adapters.kubernetes.api.errors import lookup_error, probe_error, write_error
from kdm_adapters.kubernetes.config.credentials import ClusterConfig, Credentials, InvalidClusterConfig
from kdm_adapters.kubernetes.watch.reflector import Reflector, deployments_path
from kdm_adapters.kubernetes.watch.state_machine import WatchState
from kdm_adapters.kubernetes.watch.tuning import Tuning
from kdm_adapters.kubernetes.wire.json_framing import read_page
from kdm_adapters.kubernetes.wire.json_messages import Scale, scale
from kdm_adapters.kubernetes.wire.readers import Readers
from kdm_adapters.kubernetes.wire.records import Garbage
from kdm_core.errors import (
    CacheNotSynced,
    CacheStale,
    ClusterUnrecognized,
    DeploymentNotFound,
    NamespaceNotWatched,
    WriteConflict,
)
from kdm_core.model import (
    Deployment,
    DeploymentChange,
    DeploymentRef,
    ReplicaStatus,
    SourceStatus,
    SyncStatus,
    check_name,
    check_namespace,
    check_replicas,
)
from kdm_core.ports import DeploymentRepository, Instrument

STALE_AFTER_S: Final = 150.0
"""Without a proof of freshness for this long the cache is stale, in seconds: two bookmarks, due every 60 s, are missing
and so is what a reconnection after 70 s of silence should have brought."""

_log = logging.getLogger(__name__)

WRITE_TIMEOUT_S: Final = 10.0
PROBE_TIMEOUT_S: Final = 2.0

STOP_TIMEOUT_S: Final = 0.9
"""How long stopping may take, in seconds: the port promises a second in all."""

_log = logging.getLogger(__name__)


class KubernetesDeploymentRepository(DeploymentRepository):
    """Deployments in a cluster, cached by a watch for each namespace, or by one for all of them.

    Read-your-writes: the cluster's answer to a write is laid over the cache at once. It gives way to the first watch
    event or list that is at least as new, by numeric comparison of resourceVersions (KEP-5504); an event still in
    flight or a list that is older cannot take it back, and a Deployment deleted meanwhile is not brought back by it.

    A cluster that was restored from a backup is noticed (``docs/adr/0016-restored-clusters.md``) and read again.

    Belongs to the event loop it was entered on.

    Args:
        config: Which cluster, as which identity.
        namespaces: The namespaces to watch; None for all, which needs cluster-wide RBAC permissions.
        label_selector: Which Deployments, in the API's syntax. Others do not exist for this repository: nor can they
            be scaled.
        stale_after_s: After how many seconds without proof of freshness the cache counts as stale.
        refuse_stale: Whether reads are refused then (``CacheStale``).
        write_timeout_s: How long a write may take, in seconds.
        buffer: How many changes a follower may fall behind.
        instrument: Told what happens.
        tuning: The watch cache's numbers.
        clock: Monotonic seconds.
        sleep: Waits so many seconds.
        rng: For jitter.

    Raises:
        InvalidName: A namespace that can be none.
        InvalidClusterConfig: The cluster's configuration does not exist or makes no sense.
    """

    def __init__(
        self,
        config: ClusterConfig | None = None,
        *,
        namespaces: Iterable[str] | None = None,
        label_selector: str = "",
        stale_after_s: float = STALE_AFTER_S,
        refuse_stale: bool = False,
        write_timeout_s: float = WRITE_TIMEOUT_S,
        buffer: int = BUFFER,
        instrument: Instrument | None = None,
        tuning: Tuning | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Random | None = None,
    ) -> None:
        self._namespaces = None if namespaces is None else tuple(sorted({check_namespace(each) for each in namespaces}))
        if self._namespaces == ():
            raise InvalidClusterConfig("no namespace to watch was named: name some, or None for all")
        self._instrument = instrument or Instrument()
        self._selector = {"labelSelector": label_selector} if label_selector else {}
        self._stale_after_s = stale_after_s
        self._refuse_stale = refuse_stale
        self._write_timeout_s = write_timeout_s
        self._clock = clock
        self._client = Client(Credentials(config or ClusterConfig()), self._instrument, on_server_changed=self._reset)
        self._store = Store()
        self._changes = Broadcaster(self._store.list, buffer=buffer, on_lagged=self._instrument.subscriber_lagged)
        self._store.on_change = self._changes.publish
        self._readers = Readers(self._store.get)
        sources: tuple[str | None, ...] = (None,) if self._namespaces is None else self._namespaces
        self._views = {
            each: WatchState(
                self._store,
                each,
                tuning=tuning,
                instrument=self._instrument,
                rng=rng,
                on_synced=functools.partial(self._on_synced, each),
            )
            for each in sources
        }
        self._reflectors = [
            Reflector(
                view,
                self._client,
                self._readers,
                label_selector=label_selector,
                verify_every_s=(tuning or Tuning()).verify_every_s,
                instrument=self._instrument,
                clock=clock,
                sleep=sleep,
            )
            for view in self._views.values()
        ]
        self._synced = False  # every one of them
        # For whoever waits: set as well when there is nothing to wait for any more.
        self._synced_or_closed = {each: asyncio.Event() for each in {None, *sources}}
        self._tasks: list[asyncio.Task[None]] = []
        self._entered = False

    async def __aenter__(self) -> Self:
        """Start watching. Returns before the first sync.

        Raises:
            RuntimeError: It was entered before.
        """
        if self._entered:
            raise RuntimeError("a repository can be entered only once: make another one")
        self._entered = True
        for reflector, view in zip(self._reflectors, self._views.values(), strict=True):
            self._start(reflector.run(), f"kdm-reflector-{view.source}")
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None:
        """Stop watching and close every connection, to the end, however often this is cancelled."""
        for task in self._tasks:
            task.cancel()
        self._say_stopped()
        await to_the_end(self._end())

    async def _end(self) -> None:
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await asyncio.gather(*self._tasks, return_exceptions=True)
                self._say_stopped()  # whatever a task said last
                await self._client.close()
        except TimeoutError:
            _log.warning("connections to the cluster were not closed within %g s", STOP_TIMEOUT_S)

    def _say_stopped(self) -> None:
        for view in self._views.values():
            view.stop()
        self._changes.close()
        for event in self._synced_or_closed.values():
            event.set()

    def get(self, ref: DeploymentRef) -> Deployment:
        """See the port."""
        self._check_readable(ref.namespace)
        found = self._store.get(ref.namespace, ref.name)
        if found is None:
            raise DeploymentNotFound(ref)
        return found

    def find(self, name: str) -> tuple[Deployment, ...]:
        """See the port."""
        self._check_readable()
        return self._store.find(name)

    def list(self, namespace: str | None = None) -> tuple[Deployment, ...]:
        """See the port. The same tuple again until something in the namespace changes."""
        self._check_readable(namespace)
        return self._store.list(namespace)

    def sync_status(self) -> SyncStatus:
        """See the port."""
        sources = self._sources(self._views.values())
        return SyncStatus(
            synced=all(each.synced for each in sources),
            connected=all(each.connected for each in sources),
            resource_version=functools.reduce(_oldest, (each.resource_version for each in sources)),
            age_s=max(each.age_s for each in sources),
            stale=any(each.stale for each in sources),
            objects=len(self._store),
            reason=_reasons(sources),
            sources=sources,
        )

    async def wait_synced(self, timeout_s: float) -> None:
        """See the port."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._synced_or_closed[None].wait()
        except TimeoutError:
            raise CacheNotSynced(self._why_not_synced()) from None
        if not self._synced:
            raise CacheNotSynced(self._why_not_synced())

    async def probe(self) -> None:
        """See the port. Asks ``/readyz``; the API server's answer that it may not be asked is one, too."""
        try:
            await self._client.request("get", "GET", "/readyz", timeout_s=PROBE_TIMEOUT_S)
        except ApiError as error:
            if (unhealthy := probe_error(error.failure)) is not None:
                raise unhealthy from error

    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, resource_version: str | None = None
    ) -> Deployment:
        """See the port. One merge patch (RFC 7396) of ``deployments/scale``, never sent twice."""
        check_replicas(replicas)
        check_name(ref.name)
        self._check_watched(check_namespace(ref.namespace))
        if resource_version is not None and not (resource_version.isdecimal() and resource_version[0] != "0"):
            # To the API server "" and "0" are no precondition at all, and others an internal error.
            raise WriteConflict(f"Deployment '{ref}' was never at resourceVersion {resource_version!r}")
        epoch = self._client.epoch
        view = self._view(ref.namespace)
        held = self._store.get(ref.namespace, ref.name) or await self._look_up(ref)
        if held is None:
            raise DeploymentNotFound(ref)
        before = view.before(ref)
        patch: dict[str, object] = {"spec": {"replicas": replicas}}
        if resource_version is not None:
            patch["metadata"] = {"resourceVersion": resource_version}
        path = f"{deployments_path(ref.namespace)}/{quote(ref.name, safe='')}/scale"
        try:
            answer = await self._client.request(
                "patch", "PATCH", path, merge_patch=patch, timeout_s=self._write_timeout_s, epoch=epoch
            )
            stored = scale(answer)
        except ApiError as error:
            raise write_error(error.failure, ref) from error
        except Garbage as error:
            raise ClusterUnrecognized(
                f"{self._client.mask(str(error))}; it may have been written: read before trying again"
            ) from error
        written = self._written(held, stored)
        if epoch == self._client.epoch:
            view.overlay(written, before, self._clock())
        return written

    def changes(self, namespace: str | None = None) -> AsyncGenerator[DeploymentChange, None]:
        """See the port. Closing the iterator (``aclose``) ends the subscription."""
        if namespace is not None:
            self._check_watched(namespace)
        source = None if self._namespaces is None else namespace
        return self._changes.follow(namespace, self._synced_or_closed[source])

    def _written(self, held: Deployment, stored: Scale) -> Deployment:
        if held.uid != stored.uid:  # deleted and created anew meanwhile: of the new one only this much is known
            held = Deployment(held.ref, stored.uid, "", 0, 0, ReplicaStatus(stored.desired, stored.current))
            return evolve(held, resource_version=stored.resource_version)
        return written_over(held, stored.resource_version, stored.desired)

    async def _look_up(self, ref: DeploymentRef) -> Deployment | None:
        """Read one Deployment that the cache does not have from the cluster: it may be newer than the cache."""
        before = self._view(ref.namespace).before(ref)
        query = {"fieldSelector": f"metadata.name={ref.name}"} | self._selector
        try:
            answer = await self._client.request(
                "list", "GET", deployments_path(ref.namespace), query, timeout_s=self._write_timeout_s
            )
            found = read_page(answer, self._readers.json).deployments
        except ApiError as error:
            raise lookup_error(error.failure, ref) from error
        except Garbage as error:
            raise ClusterUnrecognized(
                f"Deployment '{ref}' cannot be looked up: {self._client.mask(str(error))}"
            ) from error
        for each in found:
            if each.ref == ref:
                self._view(ref.namespace).looked_up(each, before, self._clock())
                return each
        return None

    def _view(self, namespace: str) -> WatchState:
        return self._views[None if self._namespaces is None else namespace]

    def _check_watched(self, namespace: str) -> None:
        if self._namespaces is not None and namespace not in self._namespaces:
            raise NamespaceNotWatched(namespace, self._namespaces)

    def _check_readable(self, namespace: str | None = None) -> None:
        if namespace is not None:
            self._check_watched(namespace)
        if not self._synced and not all(view.synced for view in self._views_of(namespace)):
            raise CacheNotSynced(self._why_not_synced(namespace))
        if self._refuse_stale and (stale := [s for s in self._sources(self._views_of(namespace)) if s.stale]):
            raise CacheStale(f"the cache is stale: {_reasons(stale)}{self._choice(namespace, lambda s: not s.stale)}")

    def _views_of(self, namespace: str | None) -> Collection[WatchState]:
        """Return the views that a read of a namespace, or of all for None, is answered from."""
        return self._views.values() if namespace is None or self._namespaces is None else [self._views[namespace]]

    def _sources(self, views: Iterable[WatchState]) -> tuple[SourceStatus, ...]:
        now = self._clock()
        return tuple(
            evolve(each, reason=f"nothing heard from the cluster for {each.age_s:.0f} s, {self._allowed()}")
            if each.stale and not each.reason and math.isfinite(each.age_s)
            else each
            for each in (view.status(now, self._stale_after_s) for view in views)
        )

    def _allowed(self) -> str:
        return f"{self._stale_after_s:.0f} s are allowed"

    def _why_not_synced(self, namespace: str | None = None) -> str:
        missing = [each for each in self._sources(self._views_of(namespace)) if not each.synced]
        choice = self._choice(namespace, lambda each: each.synced)
        return f"the Deployments have not been read yet: {_reasons(missing)}{choice}"

    def _choice(self, namespace: str | None, readable: Callable[[SourceStatus], bool]) -> str:
        """Return what can be read instead of all namespaces, as the end of a message."""
        names = [each.source for each in self._sources(self._views.values()) if each.synced and readable(each)]
        if namespace is not None or not names:
            return ""
        return f" (name a namespace to read it alone; these can be read: {_shortened(names, ', ')})"

    def _on_synced(self, source: str | None) -> None:
        self._synced_or_closed[source].set()
        self._synced = all(view.synced for view in self._views.values())
        if self._synced:
            self._synced_or_closed[None].set()

    def _reset(self) -> None:
        """Forget everything and read it again: what is held is what another server said."""
        self._synced = False
        for event in self._synced_or_closed.values():
            event.clear()
        self._changes.restart()  # nothing was deleted: followers begin again with the state of the other server
        for view in self._views.values():
            view.reset()
        for reflector in self._reflectors:
            reflector.wake()

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))


def _oldest(a: str, b: str) -> str:
    return a if not a or (b and older(a, b)) else b


def _reasons(sources: Iterable[SourceStatus]) -> str:
    """Return what is wrong with sources, as one line."""
    told = [(each.source, each.reason) for each in sources if each.reason]
    return _shortened([why if source == "*" else f"namespace '{source}': {why}" for source, why in told], "; ")


def _shortened(items: Sequence[str], separator: str) -> str:
    return separator.join([*items[:_NAMED], *([f"{len(items)} in all"] if len(items) > _NAMED else [])])


_NAMED: Final = 3
"""How many sources a message names."""
