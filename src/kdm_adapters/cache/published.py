"""What one source shows to readers: its published state, and over it our own writes that it has not delivered yet."""

from __future__ import annotations

from typing import Generic

from kdm_adapters.cache.own_writes import Before, OwnWrites
from kdm_adapters.cache.store import Objects, ObjectStore
from kdm_adapters.cache.watched import W
from kdm_core.model import DeploymentRef
from kdm_core.versions import older


class Published(Generic[W]):
    """The objects of one source, in a store that sources share.

    Args:
        store: Where they are shown.
        namespace: The namespace, or None for all of them.
    """

    def __init__(self, store: ObjectStore[W], namespace: str | None) -> None:
        self._store = store
        self._namespace = namespace
        self._own_writes = OwnWrites[W]()
        self._era = 0

    def before(self, namespace: str, name: str, seen: str) -> Before:
        """Return what is known of a Deployment before something is sent that concerns it.

        Args:
            namespace: Its namespace.
            name: Its name.
            seen: The newest version the source has seen.
        """
        held = self._store.get(namespace, name)
        if held is None:
            return Before(self._era, seen)
        return Before(self._era, seen, held.resource_version, held.uid)

    def write(self, written: W, before: Before, seen: str) -> bool:
        """Show the result of a write, unless the source has already delivered as much, including its deletion.

        Args:
            written: The Deployment as written.
            before: What was known when the write was sent.
            seen: The newest version the source has seen by now.

        Returns:
            Whether the answer fits the history that the source has seen. Where it does not, it is shown all the same.
        """
        if before.era != self._era:
            return True  # it was written to a cluster that is not the source's any more
        held = self._store.get(written.ref.namespace, written.ref.name)
        known = seen if held is None or held.uid != written.uid else held.resource_version
        gone_back = older(seen, before.seen)  # and the source knows it
        fits = gone_back or not before.contradicts(written.resource_version)
        if not fits or (written.resource_version != known and not older(written.resource_version, known)):
            introduced = written.uid in {before.uid, "" if held is None else held.uid}
            self._own_writes.add(written, held, introduced=introduced)
            self._store.put(written)
        return fits

    def observed(self, namespace: str, name: str) -> W | None:
        """Return what the source itself has said of a Deployment: what is shown, without our own writes."""
        return self._own_writes.beneath(self._store.get(namespace, name), namespace, name)

    def event(self, kind: str, deployment: W, *, in_order: bool = False) -> bool:
        """Show what an event says.

        Args:
            kind: ADDED, MODIFIED or DELETED.
            deployment: The Deployment.
            in_order: Whether the source itself sees to it that its events go forward: what is older than an earlier one
                is so because the cluster went back.

        Returns:
            Whether it fits what was held.
        """
        namespace, name = deployment.ref.namespace, deployment.ref.name
        held = self._store.get(namespace, name)
        fits = self._own_writes.introduces(kind, deployment, held)
        if held is not None and older(deployment.resource_version, held.resource_version):
            if self._own_writes.overtook(None if kind == "DELETED" else deployment, namespace, name):
                self._store.on_observed(deployment.ref)
                return fits  # a write's answer overtook this event
            if not in_order:
                return fits
        delivered = bool(self._own_writes) and self._own_writes.discard(namespace, name)
        if kind == "DELETED":
            self._store.remove(namespace, name, as_last_seen=deployment)
        else:
            self._store.put(deployment)
        if delivered:
            self._store.on_observed(deployment.ref)  # it may be no change of what is shown
        return fits

    def list_begins(self, *, newest: bool) -> None:
        """A list is requested; ``newest`` says whether it is for the newest state."""
        self._own_writes.list_begins(newest=newest)

    def replace(self, complete: Objects[W], resource_version: str) -> None:
        """Show a complete state instead of what was there."""
        written = self._own_writes.keys()
        self._own_writes.merge(complete, resource_version)
        self._store.replace(self._namespace, complete)
        for namespace, name in written:
            self._store.on_observed(DeploymentRef(namespace, name))

    def settle(self, resource_version: str | None) -> None:
        """Show what the source itself says in place of what was written up to a version, which it has delivered.

        Args:
            resource_version: The version; None where the cluster went back, and so what was written is no more.
        """
        if resource_version is None:
            self._era += 1
        for namespace, name in self._own_writes.delivered_by(resource_version):
            said = self.observed(namespace, name)
            self._own_writes.discard(namespace, name)
            if said is None:
                self._store.remove(namespace, name)
            else:
                self._store.put(said)
            self._store.on_observed(DeploymentRef(namespace, name))

    def clear(self) -> None:
        """Show nothing: what was there belongs to another cluster, and so does what is still being written there."""
        self._era += 1
        self._own_writes = OwnWrites[W]()
        self._store.replace(self._namespace, {})
