"""The results of our own writes, kept over the published state until the watch has caught up."""

from __future__ import annotations

from typing import Generic

from attrs import evolve, frozen

from kdm_adapters.cache.store import Objects
from kdm_adapters.cache.watched import W
from kdm_core.model import Deployment
from kdm_core.versions import older


def written_over(held: Deployment, resource_version: str, desired: int) -> Deployment:
    """Return a Deployment as a write to its ``scale`` left it.

    Args:
        held: What was known of it before.
        resource_version: The version of the write.
        desired: The count that was stored.

    Returns:
        The Deployment. A new count changes the spec, so the generation is at least one higher: until the watch brings
        the true one, nobody mistakes the old status for the new one's.
    """
    if desired == held.replicas.desired:
        return evolve(held, resource_version=resource_version)
    replicas = evolve(held.replicas, desired=desired)
    return evolve(held, resource_version=resource_version, replicas=replicas, generation=held.generation + 1)


@frozen
class Before:
    """What a source knew when a write, or a look-up of one Deployment, was sent.

    etcd counts one revision up for every change. So what is answered afterwards is either the version that was held, or
    newer than everything that had been seen. Anything else comes from another history: the cluster was restored from a
    backup, or the source missed something.

    Attributes:
        era: Which cluster: counts the times the source was reset.
        seen: The newest version the source had seen.
        held: The version it held of the Deployment, "" where it held none.
        uid: The uid it held, "" where it held none.
    """

    era: int
    seen: str
    held: str = ""
    uid: str = ""

    def contradicts(self, resource_version: str) -> bool:
        """Return whether an answer of this version cannot belong to the history that the source has seen."""
        return resource_version != self.held and (
            older(resource_version, self.seen) or older(resource_version, self.held)
        )


class OwnWrites(Generic[W]):
    """The writes that a source has not delivered yet, by namespace and name."""

    def __init__(self) -> None:
        self._written: dict[tuple[str, str], W] = {}
        self._beneath: dict[tuple[str, str], W | None] = {}
        self._settled: set[tuple[str, str]] = set()
        self._unintroduced: set[str] = set()

    def __len__(self) -> int:
        return len(self._written)

    def keys(self) -> list[tuple[str, str]]:
        """Return the namespaces and names of what was written."""
        return list(self._written)

    def delivered_by(self, resource_version: str | None) -> list[tuple[str, str]]:
        """Return the namespaces and names of what was written up to a version; of all of it for None."""
        return [
            key
            for key, written in self._written.items()
            if resource_version is None or not older(resource_version, written.resource_version)
        ]

    def beneath(self, held: W | None, namespace: str, name: str) -> W | None:
        """Return what the source itself has said of a Deployment.

        Args:
            held: What is shown.
            namespace: Its namespace.
            name: Its name.
        """
        return self._beneath.get((namespace, name), held)

    def add(self, written: W, held: W | None, *, introduced: bool = True) -> None:
        """Keep a write until the source delivers it.

        Args:
            written: The Deployment as written.
            held: What is shown in its place.
            introduced: Whether the source has delivered this object before: its uid, not only its name.
        """
        key = (written.ref.namespace, written.ref.name)
        self._beneath.setdefault(key, held)
        self._written[key] = written
        self._settled.discard(key)
        if not introduced:
            self._unintroduced.add(written.uid)

    def discard(self, namespace: str, name: str) -> bool:
        """The source delivered something at least as new for this one. Returns whether something was written."""
        self._beneath.pop((namespace, name), None)
        return self._written.pop((namespace, name), None) is not None

    def overtook(self, delivered: W | None, namespace: str, name: str) -> bool:
        """The source delivered something older than the write. Returns whether something was written."""
        if (namespace, name) not in self._written:
            return False
        self._beneath[namespace, name] = delivered
        return True

    def introduces(self, kind: str, deployment: W, held: W | None) -> bool:
        """Return whether an event fits what is held.

        A watch announces a new object with ADDED. A MODIFIED for one that is not held, or held from a write's answer
        alone, means that its ADDED was missed.
        """
        introduced = held is not None and held.uid == deployment.uid
        if deployment.uid in self._unintroduced:
            introduced = False
            if kind != "MODIFIED" or not older(deployment.resource_version, self._version(deployment)):
                self._unintroduced.discard(deployment.uid)
        return introduced or kind != "MODIFIED"

    def list_begins(self, *, newest: bool) -> None:
        """A list is asked for. If for the newest state, it settles every write made before, whatever its version.

        That matters after a cluster was restored from a backup: its versions then start again below the writes'.
        """
        self._settled = set(self._written) if newest else set()

    def merge(self, listed: Objects[W], resource_version: str) -> None:
        """Lay the writes over a list's result that does not have them yet; forget the others."""
        for key in self._settled:
            self.discard(*key)
        self._settled = set()
        for key, written in list(self._written.items()):
            if older(resource_version, written.resource_version):
                found = listed.get(key[0], {}).get(key[1])
                if found is not written:  # as it is where the one listed could not be decoded
                    self._beneath[key] = found
                listed.setdefault(key[0], {})[key[1]] = written
            else:
                self.discard(*key)
        self._unintroduced.intersection_update({each.uid for each in self._written.values()})

    def _version(self, deployment: W) -> str:
        written = self._written.get((deployment.ref.namespace, deployment.ref.name))
        return written.resource_version if written is not None and written.uid == deployment.uid else ""
