"""The Deployments of a Kubernetes cluster: read from a watch cache, written through the ``scale`` subresource."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from random import Random
from typing import Any, Final, Self

from attrs import evolve

from kdm_adapters.cache.broadcast import BUFFER
from kdm_adapters.cache.freshness import ageing_clock
from kdm_adapters.cache.joined import ShowsJoined
from kdm_adapters.cache.repository import CachedRepository
from kdm_adapters.cache.store import Store
from kdm_adapters.kubernetes.api.client import ApiError, Client
from kdm_adapters.kubernetes.api.errors import probe_error
from kdm_adapters.kubernetes.api.resources import AUTOSCALERS
from kdm_adapters.kubernetes.autoscalers import joining
from kdm_adapters.kubernetes.config.credentials import ClusterConfig, Credentials, InvalidClusterConfig
from kdm_adapters.kubernetes.scale import ScaleWriter
from kdm_adapters.kubernetes.watch.tuning import Tuning
from kdm_adapters.kubernetes.watch.watches import Watches
from kdm_adapters.kubernetes.wire.autoscalers import decoder
from kdm_adapters.kubernetes.wire.readers import JsonReaders, Readers
from kdm_core.model import Deployment, DeploymentRef, SyncStatus
from kdm_core.names import check_namespace, check_replicas
from kdm_core.ports import WatchInstrument
from kdm_core.scaling import ANY, Expect

STALE_AFTER_S: Final = 150.0
"""Without a proof of freshness for this long the cache is stale, in seconds: two bookmarks, due every 60 s, are missing
and so is what a reconnection after 70 s of silence should have brought."""

WRITE_TIMEOUT_S: Final = 10.0
PROBE_TIMEOUT_S: Final = 2.0


class KubernetesDeploymentRepository(ShowsJoined, CachedRepository):
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
        owners: Whether to look for who else changes the counts. HorizontalPodAutoscalers are watched for it, which
            needs permission to list and watch them; without it the Deployments are read all the same.
        buffer: How many changes a follower may fall behind.
        instrument: Reports what happens.
        tuning: The watch cache's numbers.
        clock: Monotonic seconds.
        sleep: Waits so many seconds.
        rng: For jitter.

    Raises:
        InvalidName: A namespace that can be none.
        InvalidClusterConfig: The cluster's configuration does not exist or makes no sense.
    """

    _far = "the cluster"

    def __init__(
        self,
        config: ClusterConfig | None = None,
        *,
        namespaces: Iterable[str] | None = None,
        label_selector: str = "",
        stale_after_s: float = STALE_AFTER_S,
        refuse_stale: bool = False,
        write_timeout_s: float = WRITE_TIMEOUT_S,
        owners: bool = False,
        buffer: int = BUFFER,
        instrument: WatchInstrument | None = None,
        tuning: Tuning | None = None,
        clock: Callable[[], float] = ageing_clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Random | None = None,
    ) -> None:
        watched = (None,) if namespaces is None else tuple(sorted({check_namespace(each) for each in namespaces}))
        if not watched:
            raise InvalidClusterConfig("no namespace to watch was named: name some, or None for all")
        self._instrument = instrument or WatchInstrument()
        self._selector = {"labelSelector": label_selector} if label_selector else {}
        self._client = Client(Credentials(config or ClusterConfig()), self._instrument, on_server_changed=self._reset)
        store = Store()
        self._joined = store.joined
        self._readers = Readers(store.get, owners=owners)
        self._stale_after_s = stale_after_s
        self._watches = Watches(
            store,
            self._client,
            self._readers,
            watched,
            label_selector=label_selector,
            tuning=tuning,
            instrument=self._instrument,
            clock=clock,
            sleep=sleep,
            rng=rng,
            on_synced=self._on_synced,
        )
        self._autoscalers = (
            Watches(
                joining(self._joined),
                self._client,
                JsonReaders(decoder()),
                watched,
                resource=AUTOSCALERS,
                tuning=tuning,
                instrument=self._instrument,
                clock=clock,
                sleep=sleep,
                rng=rng,
            )
            if owners
            else None
        )
        self._views = self._watches.views
        super().__init__(
            store,
            self._views,
            stale_after_s=stale_after_s,
            refuse_stale=refuse_stale,
            buffer=buffer,
            on_lagged=self._instrument.subscriber_lagged,
            clock=clock,
        )
        for view in self._views.values():
            view.history.on_reached = self._awaited[view.source].reached
        self._writer = ScaleWriter(
            self._client,
            self._store,
            lambda namespace: self._views[self._sources.of(namespace)],
            self._readers.json,
            selector=self._selector,
            timeout_s=write_timeout_s,
            clock=clock,
        )

    async def __aenter__(self) -> Self:
        """Start watching. Returns before the first sync.

        Raises:
            RuntimeError: It was entered before.
        """
        self._enter()
        for watches in self._all_watches:
            for work, name in watches.work():
                self._start(work, name)
        return self

    async def _close(self) -> None:
        await self._client.close()

    def sync_status(self) -> SyncStatus:
        """See the port."""
        status = super().sync_status()
        if self._autoscalers is None:
            return status
        return evolve(status, owners=self._autoscalers.statuses(self._stale_after_s))

    async def probe(self) -> None:
        """See the port. Asks ``/readyz``; the API server's answer that it may not be asked is one, too."""
        try:
            await self._client.request("get", "GET", "/readyz", timeout_s=PROBE_TIMEOUT_S)
        except ApiError as error:
            if (unhealthy := probe_error(error.failure)) is not None:
                raise unhealthy from error

    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, expect: Expect = ANY, dry_run: bool = False
    ) -> Deployment:
        """See the port. One patch of ``deployments/scale``, never sent twice.

        A merge patch (RFC 7396); where a count or a uid is expected, a JSON Patch (RFC 6902) that tests it.
        """
        check_replicas(replicas)
        self._check_ref(ref)
        return await self._writer.write(ref, replicas, expect, dry_run=dry_run)

    async def fetch(self, ref: DeploymentRef) -> Deployment:
        """See the port. A list of this one Deployment: kdm needs no permission to get one."""
        self._check_ref(ref)
        return await self._writer.fetch(ref)

    def _reset(self) -> None:
        """Forget everything and read it again: what is held is what another server said."""
        self._unsynced()  # nothing was deleted: followers begin again with the state of the other server
        for watches in self._all_watches:
            watches.reset()

    @property
    def _all_watches(self) -> tuple[Watches[Any], ...]:
        return (self._watches,) if self._autoscalers is None else (self._watches, self._autoscalers)

    def _say_stopped(self) -> None:
        super()._say_stopped()
        for watches in self._all_watches:
            watches.stop()
