"""What the sources of one kind have published, indexed for reading. Pure data, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Generic

from kdm_adapters.cache.joined import Joined
from kdm_adapters.cache.watched import W
from kdm_core.model import ChangeKind, Deployment, DeploymentRef

Objects = dict[str, dict[str, W]]
"""Objects of one kind by namespace, then name."""

_by_name = attrgetter("ref.name")


class ObjectStore(Generic[W]):
    """Objects of one kind by namespace and name. Each method is one step: a reader never sees half of it.

    Attributes:
        on_change: Called with each ADDED, MODIFIED and DELETED, in order, once it is visible.
        on_observed: Called where a source said something of an object that may be no change of what is shown.
    """

    def __init__(self) -> None:
        self.on_change: Callable[[ChangeKind, W], None] = lambda _kind, _object: None
        self.on_observed: Callable[[DeploymentRef], None] = lambda _ref: None
        self._objects: Objects[W] = {}
        # A name's one namespace, or all of them; nearly every name has one, and a bare string is cheapest.
        self._namespaces: dict[str, str | tuple[str, ...]] = {}
        self._sorted: dict[str | None, tuple[W, ...]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def get(self, namespace: str, name: str) -> W | None:
        """Return one, or None. O(1)."""
        in_namespace = self._objects.get(namespace)
        return None if in_namespace is None else in_namespace.get(name)

    def find(self, name: str) -> tuple[W, ...]:
        """Return every one of this name, ordered by namespace. Costs the same however many there are in all."""
        namespaces = self._namespaces.get(name, ())
        if isinstance(namespaces, str):
            return (self._objects[namespaces][name],)
        return tuple(self._objects[namespace][name] for namespace in namespaces)

    def list(self, namespace: str | None = None) -> tuple[W, ...]:
        """Return all (of one namespace), ordered. The same tuple again until something changes."""
        listed = self._sorted.get(namespace)
        if listed is None:
            if namespace is None:
                listed = tuple(found for each in sorted(self._objects) for found in self.list(each))
            else:
                listed = tuple(sorted(self._objects.get(namespace, {}).values(), key=_by_name))
                if not listed:
                    return listed  # requests for namespaces that do not exist must not fill the memory
            self._sorted[namespace] = listed
        return listed

    def put(self, found: W) -> None:
        """Add or replace one. The same name with another uid is a deletion and an addition."""
        namespace, name = found.ref.namespace, found.ref.name
        in_namespace = self._objects.get(namespace)
        if in_namespace is None:
            in_namespace = self._objects[namespace] = {}
        old = in_namespace.get(name)
        if old is not None:
            if old is found or old == found:
                return
            if old.uid == found.uid:
                in_namespace[name] = found
                self._changed(ChangeKind.MODIFIED, found)
                return
            self.remove(namespace, name)
            in_namespace = self._objects.setdefault(namespace, {})
        in_namespace[name] = found
        self._count += 1
        self._index(namespace, name)
        self._changed(ChangeKind.ADDED, found)

    def remove(self, namespace: str, name: str, *, as_last_seen: W | None = None) -> None:
        """Remove one, if it is there. The change carries its last state (``as_last_seen``, if that is the same one)."""
        in_namespace = self._objects.get(namespace)
        old = in_namespace.pop(name, None) if in_namespace is not None else None
        if old is None:
            return
        if not in_namespace:
            del self._objects[namespace]
        self._count -= 1
        self._unindex(namespace, name)
        last = as_last_seen if as_last_seen is not None and as_last_seen.uid == old.uid else old
        self._changed(ChangeKind.DELETED, last)

    def replace(self, namespace: str | None, objects: Mapping[str, Mapping[str, W]]) -> None:
        """Make the objects (of one namespace) be these. Only the differences are changes."""
        # In one step, so it must be quick. In a relist most are the same objects: dict's == sees that at once.
        same = {each for each, new in objects.items() if self._objects.get(each) == new}
        for each in list(self._objects) if namespace is None else [namespace]:
            if each not in same:
                new = objects.get(each, {})
                for name in [name for name in self._objects.get(each, ()) if name not in new]:
                    self.remove(each, name)
        for each, new in objects.items():
            if each not in same:
                held = self._objects.get(each, {})
                for each_new in [found for name, found in new.items() if held.get(name) is not found]:
                    self.put(each_new)

    def _changed(self, kind: ChangeKind, found: W) -> None:
        if self._sorted:
            self._sorted.pop(found.ref.namespace, None)
            self._sorted.pop(None, None)
        self.on_change(kind, found)

    def _index(self, namespace: str, name: str) -> None:
        others = self._namespaces.get(name, ())
        if not others:
            self._namespaces[name] = namespace
        else:
            all_of_them = {namespace, *((others,) if isinstance(others, str) else others)}
            self._namespaces[name] = tuple(sorted(all_of_them))

    def _unindex(self, namespace: str, name: str) -> None:
        namespaces = self._namespaces[name]
        if isinstance(namespaces, str):
            del self._namespaces[name]
        else:
            left = tuple(each for each in namespaces if each != namespace)
            self._namespaces[name] = left[0] if len(left) == 1 else left


class Store(ObjectStore[Deployment]):
    """Deployments, each with what is known of it besides.

    Attributes:
        joined: What is known of Deployments besides themselves, and shown with them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.joined = Joined(lambda ref: self.get(ref.namespace, ref.name), self.put)

    def put(self, found: Deployment) -> None:
        super().put(self.joined.join(found))

    def remove(self, namespace: str, name: str, *, as_last_seen: Deployment | None = None) -> None:
        held = self.get(namespace, name)
        if held is not None:
            self.joined.forget(held.ref)
        super().remove(namespace, name, as_last_seen=as_last_seen)
