"""A complete state on its way: what a list or watch-list has told so far, not yet published."""

from __future__ import annotations

from collections.abc import Iterable

from kdm_adapters.cache.store import Objects, Store
from kdm_adapters.kubernetes.wire.messages import Undecodable
from kdm_core.model import Deployment


class Staging:
    """The Deployments told so far.

    Args:
        store: What is published. Deployments that did not change are shared with it, so that a relist costs little
            memory.

    Attributes:
        objects: They, by namespace and name.
        poisoned: Whether some were not understood.
    """

    def __init__(self, store: Store) -> None:
        self.objects: Objects = {}
        self.poisoned = False
        self._store = store

    def take(self, kind: str, told: Deployment) -> bool:
        """Take in an event. Returns whether it adds a Deployment that was not there."""
        if kind == "DELETED":
            self.remove(told)
            return False
        added = told.ref.name not in self.objects.get(told.ref.namespace, {})
        self.put(told)
        return added

    def put(self, told: Deployment) -> None:
        """Add or replace one."""
        namespace, name = told.ref.namespace, told.ref.name
        held = self._store.get(namespace, name)
        self.objects.setdefault(namespace, {})[name] = held if held is not None and held == told else told

    def remove(self, told: Deployment) -> None:
        """Remove one, if it is there."""
        self.objects.get(told.ref.namespace, {}).pop(told.ref.name, None)

    def keep(self, poison: Iterable[Undecodable]) -> None:
        """Keep what is known of those that were not understood: they are there, whatever they say."""
        for each in poison:
            self.poisoned = True
            held = self._store.get(each.namespace, each.name)
            if held is not None and each.uid in {held.uid, ""}:
                self.put(held)
