"""The published Deployments of all sources, indexed for reading. Pure data, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter

from kdm_adapters.cache.joined import Joined
from kdm_core.model import ChangeKind, Deployment, DeploymentRef

OnChange = Callable[[ChangeKind, Deployment], None]
Objects = dict[str, dict[str, Deployment]]
"""Deployments by namespace, then name."""

_by_name = attrgetter("ref.name")


class Store:
    """Deployments by namespace and name. Each method is one step: a reader never sees half of it.

    Attributes:
        on_change: Called with each ADDED, MODIFIED and DELETED, in order, once it is visible.
        on_observed: Called where a source said something of a Deployment that may be no change of what is shown.
        joined: What is known of Deployments besides themselves, and shown with them.
    """

    def __init__(self) -> None:
        self.on_change: OnChange = lambda _kind, _deployment: None
        self.on_observed: Callable[[DeploymentRef], None] = lambda _ref: None
        self.joined = Joined(lambda ref: self.get(ref.namespace, ref.name), self.put)
        self._objects: Objects = {}
        # A name's one namespace, or all of them; nearly every name has one, and a bare string is cheapest.
        self._namespaces: dict[str, str | tuple[str, ...]] = {}
        self._sorted: dict[str | None, tuple[Deployment, ...]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def get(self, namespace: str, name: str) -> Deployment | None:
        """Return one Deployment, or None. O(1)."""
        in_namespace = self._objects.get(namespace)
        return None if in_namespace is None else in_namespace.get(name)

    def find(self, name: str) -> tuple[Deployment, ...]:
        """Return every Deployment of this name, ordered by namespace. Costs the same however many there are in all."""
        namespaces = self._namespaces.get(name, ())
        if isinstance(namespaces, str):
            return (self._objects[namespaces][name],)
        return tuple(self._objects[namespace][name] for namespace in namespaces)

    def list(self, namespace: str | None = None) -> tuple[Deployment, ...]:
        """Return all Deployments (of one namespace), ordered. The same tuple again until something changes."""
        listed = self._sorted.get(namespace)
        if listed is None:
            if namespace is None:
                listed = tuple(d for each in sorted(self._objects) for d in self.list(each))
            else:
                listed = tuple(sorted(self._objects.get(namespace, {}).values(), key=_by_name))
                if not listed:
                    return listed  # requests for namespaces that do not exist must not fill the memory
            self._sorted[namespace] = listed
        return listed

    def put(self, deployment: Deployment) -> None:
        """Add or replace one. The same name with another uid is a deletion and an addition."""
        deployment = self.joined.join(deployment)
        namespace, name = deployment.ref.namespace, deployment.ref.name
        in_namespace = self._objects.get(namespace)
        if in_namespace is None:
            in_namespace = self._objects[namespace] = {}
        old = in_namespace.get(name)
        if old is not None:
            if old is deployment or old == deployment:
                return
            if old.uid == deployment.uid:
                in_namespace[name] = deployment
                self._changed(ChangeKind.MODIFIED, deployment)
                return
            self.remove(namespace, name)
            in_namespace = self._objects.setdefault(namespace, {})
        in_namespace[name] = deployment
        self._count += 1
        self._index(namespace, name)
        self._changed(ChangeKind.ADDED, deployment)

    def remove(self, namespace: str, name: str, *, as_last_seen: Deployment | None = None) -> None:
        """Remove one, if it is there. The change carries its last state (``as_last_seen``, if that is the same one)."""
        in_namespace = self._objects.get(namespace)
        old = in_namespace.pop(name, None) if in_namespace is not None else None
        if old is None:
            return
        if not in_namespace:
            del self._objects[namespace]
        self._count -= 1
        self._unindex(namespace, name)
        self.joined.forget(old.ref)
        last = as_last_seen if as_last_seen is not None and as_last_seen.uid == old.uid else old
        self._changed(ChangeKind.DELETED, last)

    def replace(self, namespace: str | None, objects: Mapping[str, Mapping[str, Deployment]]) -> None:
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
                for deployment in [found for name, found in new.items() if held.get(name) is not found]:
                    self.put(deployment)

    def _changed(self, kind: ChangeKind, deployment: Deployment) -> None:
        if self._sorted:
            self._sorted.pop(deployment.ref.namespace, None)
            self._sorted.pop(None, None)
        self.on_change(kind, deployment)

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
