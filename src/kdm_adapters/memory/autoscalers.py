"""The autoscalers of a cluster in memory. They are there, and do nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from kdm_adapters.cache.joined import Joined
from kdm_adapters.cache.targets import Targets
from kdm_adapters.memory.sources import Source
from kdm_core.model import DeploymentRef
from kdm_core.owners import DEFAULT_MIN, Owner, OwnerType

Watcher = Callable[[DeploymentRef, DeploymentRef | None, Owner], None]
"""Called with an autoscaler's own name, the Deployment that it is for (None where it is gone), and what it is to it."""


class MemoryAutoscalers:
    """The HorizontalPodAutoscalers of a cluster. Call it on the repository's event loop.

    Attributes:
        watchers: Called with every change.
    """

    def __init__(self) -> None:
        self.watchers: list[Watcher] = []
        self._held: dict[DeploymentRef, tuple[DeploymentRef, Owner]] = {}

    def put(
        self, ref: DeploymentRef, target: str, *, least: int | None = None, most: int, scaled_object: str = ""
    ) -> None:
        """Create or replace one.

        Args:
            ref: Its own namespace and name.
            target: The name of the Deployment that it is for.
            least: Its ``minReplicas``; None for the default.
            most: Its ``maxReplicas``.
            scaled_object: The name of KEDA's ScaledObject that it was made of; "" where it was not.
        """
        bounds = (DEFAULT_MIN if least is None else least, most)
        if scaled_object:
            owner = Owner("ScaledObject", scaled_object, *bounds, OwnerType.SCALED_OBJECT)
        else:
            owner = Owner("HorizontalPodAutoscaler", ref.name, *bounds, OwnerType.AUTOSCALER)
        self._held[ref] = DeploymentRef(ref.namespace, target), owner
        self._publish(ref)

    def delete(self, ref: DeploymentRef) -> None:
        """Delete one."""
        _, owner = self._held.pop(ref)
        for watcher in self.watchers:
            watcher(ref, None, owner)

    @property
    def held(self) -> Mapping[DeploymentRef, tuple[DeploymentRef, Owner]]:
        """Those there are by their own names: the Deployment that each is for, and what it is to that."""
        return self._held

    def _publish(self, ref: DeploymentRef) -> None:
        target, owner = self._held[ref]
        for watcher in self.watchers:
            watcher(ref, target, owner)


class SeenAutoscalers:
    """Joins autoscalers with Deployments, as far as a repository sees its cluster.

    Args:
        autoscalers: The cluster's.
        joined: Where they are joined.
        sources: What is seen of the cluster.
    """

    def __init__(self, autoscalers: MemoryAutoscalers, joined: Joined, sources: Iterable[Source]) -> None:
        self._autoscalers = autoscalers
        self._sources = sources
        self._targets = Targets(joined)
        self._seen: set[DeploymentRef] = set()

    def __call__(self, ref: DeploymentRef, target: DeploymentRef | None, owner: Owner) -> None:
        """Take in a change, unless it is not seen."""
        if any(each.seeing and each.covers(ref.namespace) for each in self._sources):
            self._targets.put(ref, target, owner)
            self._seen.add(ref)

    def catch_up(self, source: Source) -> None:
        """Take in what happened while a source was not seen."""
        held = self._autoscalers.held
        for ref in [each for each in self._seen if source.covers(each.namespace) and each not in held]:
            self._targets.remove(ref)
            self._seen.discard(ref)
        for ref, (target, owner) in held.items():
            if source.covers(ref.namespace):
                self(ref, target, owner)
