"""A cluster as a plain dict and its history: what the adapter's view of it has to equal in the end.

A name is one in the namespace "shop"; "blog/web" is one in another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import evolve

from kdm_adapters.kubernetes.wire.messages import Event
from kdm_core.model import Deployment, DeploymentRef
from kdm_core.owners import Owner, released
from unit.adapters.kubernetes.objects import NAMESPACE, deployment
from unit.adapters.kubernetes.owned import marks

State = dict[str, Deployment]


class ClusterModel:
    """Deployments by name, every state they were in, and the events between."""

    def __init__(self) -> None:
        self.version = 1
        self.state: State = {}
        self.states: dict[int, State] = {1: {}}
        self.events: list[tuple[int, Event]] = []
        self.floor = 0
        self.ended: dict[str, int] = {}  # uid to the version it was deleted at
        self._born = 0

    def create(
        self, name: str, owners: Iterable[Owner] = (), *, desired: int = 1, paused: bool = False, **labels: str
    ) -> None:
        """Create a Deployment, or touch it where it exists."""
        if name in self.state:
            self.scale(name, self.state[name].replicas.desired + 1)
            return
        self._born += 1
        namespace, _, bare = name.rpartition("/")
        owned = tuple(owners)
        labels |= marks(DeploymentRef(namespace or NAMESPACE, bare), owned)["labels"]
        born = deployment(
            bare,
            self.version + 1,
            namespace=namespace or NAMESPACE,
            uid=f"uid-{self._born}",
            desired=desired,
            labels=labels,
        )
        self._store("ADDED", evolve(born, paused=paused, owners=owned))

    def scale(self, name: str, desired: int) -> Deployment | None:
        """Change a Deployment's count. Returns it, or None where there is none."""
        held = self.state.get(name)
        if held is None:
            return None
        if held.replicas.desired != desired:
            replicas = evolve(held.replicas, desired=desired)
            version = str(self.version + 1)
            changed = evolve(
                held,
                resource_version=version,
                replicas=replicas,
                generation=held.generation + 1,
                owners=released(held.owners),
            )
            self._store("MODIFIED", changed)
        return self.state[name]

    def relabel(self, name: str, **labels: str) -> None:
        """Change a Deployment's labels."""
        held = self.state[name]
        if held.labels != labels:
            self._store("MODIFIED", evolve(held, labels=labels, resource_version=str(self.version + 1)))

    def delete(self, name: str) -> None:
        """Delete a Deployment, if it exists."""
        held = self.state.get(name)
        if held is not None:
            self.ended[held.uid] = self.version + 1
            self._store("DELETED", evolve(held, resource_version=str(self.version + 1)))

    def compact(self) -> None:
        """Forget all history before now: watches from older versions are expired."""
        self.floor = self.version

    @property
    def oldest(self) -> int:
        """The oldest version there is a state of."""
        return min(self.states)

    def restore(self, version: int) -> None:
        """Go back to an earlier state, as when etcd is restored from a backup: the versions go on from there."""
        self.version, self.state = version, self.states[version]
        self.states = {at: state for at, state in self.states.items() if at <= version}
        self.events = [(at, event) for at, event in self.events if at <= version]
        self.floor = min(self.floor, version)
        self.ended = {uid: at for uid, at in self.ended.items() if at <= version}

    def after(self, version: int) -> Iterator[tuple[int, Event]]:
        """Yield what happened after a version."""
        return ((at, event) for at, event in self.events if at > version)

    def _store(self, kind: str, changed: Deployment) -> None:
        self.version += 1
        state = dict(self.state)
        name = changed.ref.name if changed.ref.namespace == NAMESPACE else str(changed.ref)
        if kind == "DELETED":
            del state[name]
        else:
            state[name] = changed
        self.state = self.states[self.version] = state
        self.events.append((self.version, Event(kind, changed)))
