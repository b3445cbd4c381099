"""The Deployments of a Kubernetes cluster: read from a watch cache, written through the ``scale`` subresource."""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable
from random import Random
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

from attrs import evolve

from kdm_adapters.kubernetes.changes import BUFFER, Changes
from kdm_adapters.kubernetes.client import ApiError, Client
from kdm_adapters.kubernetes.consistency import check_consistency
from kdm_adapters.kubernetes.credentials import ClusterConfig, Credentials, InvalidClusterConfig
from kdm_adapters.kubernetes.overlays import older, written_over
from kdm_adapters.kubernetes.reflector import Reflector, deployments_path
from kdm_adapters.kubernetes.refusals import lookup_error, probe_error, write_error
from kdm_adapters.kubernetes.store import Store
from kdm_adapters.kubernetes.tuning import Tuning
from kdm_adapters.kubernetes.view import View
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
    SyncStatus,
    check_name,
    check_namespace,
    check_replicas,
)
from kdm_core.ports import DeploymentRepository, Instrument

STALE_AFTER_S: Final = 150.0
"""Without a proof of freshness for this long the cache is stale, in seconds: two bookmarks, due every 60 s, are missing
and so is what a reconnection after 70 s of silence should have brought."""

WRITE_TIMEOUT_S: Final = 10.0
PROBE_TIMEOUT_S: Final = 2.0


class KubernetesDeploymentRepository(DeploymentRepository):
    """Deployments in a cluster, cached by a watch for each namespace, or by one for all of them.

    Read-your-writes: the cluster's answer to a write is laid over the cache at once. It gives way to the first watch
    event or list that is at least as new, by numeric comparison of resourceVersions (KEP-5504); an event still in
    flight or a list that is older cannot take it back, and a Deployment deleted meanwhile is not brought back by it.

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
        check_interval_s: How often to compare the cache with the cluster, in seconds; 0 for never. It costs the
            cluster a list each time.
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
        check_interval_s: float = 0.0,
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
        self._check_interval_s = check_interval_s
        self._clock = clock
        self._sleep = sleep
        self._client = Client(
            Credentials(config or ClusterConfig()), self._instrument, on_server_changed=self._on_server_changed
        )
        self._store = Store()
        self._changes = Changes(self._store.list, buffer=buffer, on_lagged=self._instrument.subscriber_lagged)
        self._store.on_change = self._changes.tell
        self._readers = Readers(self._store.get)
        self._make_view = functools.partial(
            View, self._store, tuning=tuning, instrument=self._instrument, rng=rng, on_synced=self._on_synced
        )
        self._make_reflector = functools.partial(
            Reflector,
            client=self._client,
            readers=self._readers,
            label_selector=label_selector,
            instrument=self._instrument,
            clock=clock,
            sleep=sleep,
        )
        self._views = self._new_views()
        self._synced = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Start watching. Returns before the first sync."""
        self._watch()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None:
        """Stop watching and close every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for view in self._views.values():
            view.stop()
        self._changes.close()
        await self._client.close()

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
        now = self._clock()
        statuses = {view.source: view.status(now) for view in self._views.values()}
        age_s = max((each.age_s for each in statuses.values()), default=0.0)
        stale = age_s > self._stale_after_s
        problems = [
            each.reason if source == "*" else f"namespace '{source}': {each.reason}"
            for source, each in statuses.items()
            if each.reason
        ]
        if stale and not problems and math.isfinite(age_s):
            problems = [f"nothing heard from the cluster for {age_s:.0f} s, {self._stale_after_s:.0f} s are allowed"]
        return SyncStatus(
            synced=all(each.synced for each in statuses.values()),
            connected=all(each.connected for each in statuses.values()),
            resource_version=functools.reduce(_oldest, (each.resource_version for each in statuses.values())),
            age_s=age_s,
            stale=stale,
            objects=len(self._store),
            reason="; ".join(problems[:_REASONS]) + (f"; {len(problems)} in all" if len(problems) > _REASONS else ""),
        )

    async def wait_synced(self, timeout_s: float) -> None:
        """See the port."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changes.synced.wait()
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
        held = self._store.get(ref.namespace, ref.name) or await self._read(ref)
        if held is None:
            raise DeploymentNotFound(ref)
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
            self._view(ref.namespace).overlay(written)
        return written

    def changes(self, namespace: str | None = None) -> AsyncGenerator[DeploymentChange, None]:
        """See the port. Closing the iterator (``aclose``) ends the subscription."""
        if namespace is not None:
            self._check_watched(namespace)
        return self._changes.follow(namespace)

    def _written(self, held: Deployment, stored: Scale) -> Deployment:
        if held.uid != stored.uid:  # deleted and created anew meanwhile: of the new one only this much is known
            held = Deployment(held.ref, stored.uid, "", 0, 0, ReplicaStatus(stored.desired, stored.current))
            return evolve(held, resource_version=stored.resource_version)
        return written_over(held, stored.resource_version, stored.desired)

    async def _read(self, ref: DeploymentRef) -> Deployment | None:
        """Read one Deployment that the cache does not have from the cluster: it may be newer than the cache."""
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
        return next((each for each in found if each.ref == ref), None)

    def _view(self, namespace: str) -> View:
        return self._views[None if self._namespaces is None else namespace]

    def _check_watched(self, namespace: str) -> None:
        if self._namespaces is not None and namespace not in self._namespaces:
            raise NamespaceNotWatched(namespace, self._namespaces)

    def _check_readable(self, namespace: str | None = None) -> None:
        if namespace is not None:
            self._check_watched(namespace)
        if not self._synced:
            raise CacheNotSynced(self._why_not_synced())
        if self._refuse_stale:
            status = self.sync_status()
            if status.stale:
                raise CacheStale(f"the cache is stale: {status.reason}")

    def _why_not_synced(self) -> str:
        return f"the Deployments have not been read yet: {self.sync_status().reason}"

    def _on_synced(self) -> None:
        self._synced = all(view.synced for view in self._views.values())
        if self._synced:
            self._changes.synced.set()

    def _new_views(self) -> dict[str | None, View]:
        return {each: self._make_view(each) for each in ((None,) if self._namespaces is None else self._namespaces)}

    def _watch(self) -> None:
        for view in self._views.values():
            self._start(self._make_reflector(view).run(), f"kdm-reflector-{view.source}")
            if self._check_interval_s > 0:
                self._start(self._check(view), f"kdm-check-{view.source}")

    def _on_server_changed(self) -> None:
        """Forget everything and begin again: what is held is what another server said."""
        for task in self._tasks:
            task.cancel()
        self._tasks = [each for each in self._tasks if not each.done()]
        for view in self._views.values():
            view.stop()
        self._synced = False
        self._store.clear()
        self._changes.restart()
        self._views = self._new_views()
        self._watch()

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def _check(self, view: View) -> None:
        while True:
            await self._sleep(self._check_interval_s)
            await check_consistency(
                view, self._store, self._client, self._readers.json, self._selector, self._instrument
            )


def _oldest(a: str, b: str) -> str:
    return a if not a or (b and older(a, b)) else b


_REASONS: Final = 3
"""How many sources' problems a reason tells in full."""
