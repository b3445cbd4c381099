"""The watches of one kind of objects: one for each namespace, or one for all of them."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from random import Random
from typing import Any, Generic

from kdm_adapters.cache.store import ObjectStore
from kdm_adapters.cache.watched import W
from kdm_adapters.kubernetes.api.client import Client
from kdm_adapters.kubernetes.api.resources import DEPLOYMENTS, Resource
from kdm_adapters.kubernetes.watch.reflector import Reflector
from kdm_adapters.kubernetes.watch.state_machine import WatchState
from kdm_adapters.kubernetes.watch.tuning import Tuning
from kdm_adapters.kubernetes.wire.readers import KindReaders
from kdm_core.model import SourceStatus
from kdm_core.ports import WatchInstrument


class Watches(Generic[W]):
    """Keeps a store up to date with one kind of objects. Belongs to one event loop.

    Args:
        store: Where complete states are published.
        client: The API server.
        readers: Read that kind.
        namespaces: What to watch; (None,) for all namespaces with one watch.
        resource: Which kind.
        label_selector: Which objects of it, in the API's syntax; "" for all.
        tuning: The numbers.
        instrument: Reports what happens.
        clock: Monotonic seconds.
        sleep: Waits so many seconds.
        rng: For jitter.
        on_synced: Called with a namespace, or None, when its first complete state is published.

    Attributes:
        views: What has been seen, by namespace; by None where one watch sees all namespaces.
    """

    def __init__(
        self,
        store: ObjectStore[W],
        client: Client,
        readers: KindReaders[W],
        namespaces: Iterable[str | None],
        *,
        resource: Resource = DEPLOYMENTS,
        label_selector: str = "",
        tuning: Tuning | None,
        instrument: WatchInstrument,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        rng: Random | None = None,
        on_synced: Callable[[str | None], None] = lambda _namespace: None,
    ) -> None:
        self._clock = clock
        self.views: dict[str | None, WatchState[W]] = {
            each: WatchState(
                store,
                each,
                resource=resource,
                tuning=tuning,
                instrument=instrument,
                rng=rng,
                on_synced=functools.partial(on_synced, each),
            )
            for each in namespaces
        }
        self._reflectors = [
            Reflector(
                view,
                client,
                readers,
                label_selector=label_selector,
                verify_every_s=(tuning or Tuning()).verify_every_s,
                instrument=instrument,
                clock=clock,
                sleep=sleep,
            )
            for view in self.views.values()
        ]

    def work(self) -> Iterator[tuple[Coroutine[Any, Any, None], str]]:
        """Yield what has to run for as long as this is used, each with the name of its task."""
        for reflector, view in zip(self._reflectors, self.views.values(), strict=True):
            yield reflector.run(), f"kdm-reflector-{view.source}"

    def reset(self) -> None:
        """Forget everything and read it again: from now on the requests go to another cluster."""
        for view in self.views.values():
            view.reset()
        for reflector in self._reflectors:
            reflector.wake()

    def stop(self) -> None:
        """Say from now on that nobody watches any more."""
        for view in self.views.values():
            view.stop()

    def statuses(self, stale_after_s: float) -> tuple[SourceStatus, ...]:
        """Return how far each of them can be trusted.

        Args:
            stale_after_s: Past which age one is stale, in seconds.
        """
        now = self._clock()
        return tuple(view.status(now, stale_after_s) for view in self.views.values())
