"""A complete state on its way: what a list or watch-list has brought so far, not yet published."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic

from kdm_adapters.cache.store import Objects, ObjectStore
from kdm_adapters.cache.watched import W
from kdm_adapters.kubernetes.wire.messages import Undecodable


class Staging(Generic[W]):
    """The objects read so far.

    Args:
        store: What is published. Objects that did not change are shared with it, so that a relist costs little
            memory.

    Attributes:
        objects: What was read, by namespace and name.
        poisoned: Whether some could not be decoded.
    """

    def __init__(self, store: ObjectStore[W]) -> None:
        self.objects: Objects[W] = {}
        self.poisoned = False
        self._store = store

    def take(self, kind: str, found: W) -> bool:
        """Take in an event. Returns whether it adds an object that was not there."""
        if kind == "DELETED":
            self.remove(found)
            return False
        added = found.ref.name not in self.objects.get(found.ref.namespace, {})
        self.put(found)
        return added

    def put(self, found: W) -> None:
        """Add or replace one."""
        namespace, name = found.ref.namespace, found.ref.name
        held = self._store.get(namespace, name)
        self.objects.setdefault(namespace, {})[name] = held if held is not None and held == found else found

    def remove(self, found: W) -> None:
        """Remove one, if it is there."""
        self.objects.get(found.ref.namespace, {}).pop(found.ref.name, None)

    def keep(self, poison: Iterable[Undecodable]) -> None:
        """Keep what is held of those that could not be decoded: they exist, whatever they say."""
        for each in poison:
            self.poisoned = True
            held = self._store.get(each.namespace, each.name)
            if held is not None and each.uid in {held.uid, ""}:
                self.put(held)
