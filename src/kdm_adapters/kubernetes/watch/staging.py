"""A complete state on its way: what a list or watch-list has brought so far, not yet published."""

from __future__ import annotations

from collections.abc import Iterable

from kdm_adapters.cache.store import Objects, Store
from kdm_adapters.kubernetes.wire.messages import Undecodable
from kdm_core.model import Deployment


class Staging:
    """The Deployments read so far.

    Args:
        store: What is published. Deployments that did not change are shared with it, so that a relist costs little
            memory.

    Attributes:
        objects: The Deployments, by namespace and name.
        poisoned: Whether some could not be decoded.
    """

    def __init__(self, store: Store) -> None:
        self.objects: Objects = {}
        self.poisoned = False
        self._store = store

    def take(self, kind: str, deployment: Deployment) -> bool:
        """Take in an event. Returns whether it adds a Deployment that was not there."""
        if kind == "DELETED":
            self.remove(deployment)
            return False
        added = deployment.ref.name not in self.objects.get(deployment.ref.namespace, {})
        self.put(deployment)
        return added

    def put(self, deployment: Deployment) -> None:
        """Add or replace one."""
        namespace, name = deployment.ref.namespace, deployment.ref.name
        held = self._store.get(namespace, name)
        self.objects.setdefault(namespace, {})[name] = held if held is not None and held == deployment else deployment

    def remove(self, deployment: Deployment) -> None:
        """Remove one, if it is there."""
        self.objects.get(deployment.ref.namespace, {}).pop(deployment.ref.name, None)

    def keep(self, poison: Iterable[Undecodable]) -> None:
        """Keep what is held of those that could not be decoded: they exist, whatever they say."""
        for each in poison:
            self.poisoned = True
            held = self._store.get(each.namespace, each.name)
            if held is not None and each.uid in {held.uid, ""}:
                self.put(held)
