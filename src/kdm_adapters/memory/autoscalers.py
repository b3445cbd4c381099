"""The autoscalers of a cluster in memory. They are there, and do nothing."""

from __future__ import annotations

from collections.abc import Callable

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

    def watch(self, watcher: Watcher) -> None:
        """Call a function with all there are, and from then on with every change."""
        for ref, (target, owner) in self._held.items():
            watcher(ref, target, owner)
        self.watchers.append(watcher)

    def _publish(self, ref: DeploymentRef) -> None:
        target, owner = self._held[ref]
        for watcher in self.watchers:
            watcher(ref, target, owner)
