"""Joins HorizontalPodAutoscalers with the Deployments whose counts they change."""

from __future__ import annotations

from kdm_adapters.cache.joined import Joined
from kdm_adapters.cache.store import ObjectStore
from kdm_adapters.kubernetes.wire.autoscalers import Autoscaler
from kdm_core.model import ChangeKind, DeploymentRef
from kdm_core.owners import Owner


class Autoscalers:
    """The autoscalers of a cluster, by the Deployments that they are for.

    Args:
        joined: Where they are joined with the Deployments.

    Attributes:
        store: Where a watch publishes them.
    """

    def __init__(self, joined: Joined) -> None:
        self.store = ObjectStore[Autoscaler]()
        self.store.on_change = self._on_change
        self._joined = joined
        self._targets: dict[DeploymentRef, DeploymentRef] = {}
        self._owners: dict[DeploymentRef, dict[DeploymentRef, Owner]] = {}

    def _on_change(self, kind: ChangeKind, autoscaler: Autoscaler) -> None:
        target = None if kind is ChangeKind.DELETED else autoscaler.target
        before = self._targets.pop(autoscaler.ref, None)
        if before is not None and before != target:
            owners = self._owners[before]
            del owners[autoscaler.ref]
            if not owners:
                del self._owners[before]
            self._show(before)
        if target is not None:
            self._targets[autoscaler.ref] = target
            self._owners.setdefault(target, {})[autoscaler.ref] = autoscaler.owner
            self._show(target)

    def _show(self, target: DeploymentRef) -> None:
        owners = self._owners.get(target, {})
        self._joined.owners(target, tuple(owners[each] for each in sorted(owners)))
