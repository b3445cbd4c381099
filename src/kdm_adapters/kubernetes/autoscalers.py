"""Joins HorizontalPodAutoscalers with the Deployments whose counts they change."""

from __future__ import annotations

from kdm_adapters.cache.joined import Joined
from kdm_adapters.cache.store import ObjectStore
from kdm_adapters.cache.targets import Targets
from kdm_adapters.kubernetes.wire.autoscalers import Autoscaler
from kdm_core.model import ChangeKind


def joining(joined: Joined) -> ObjectStore[Autoscaler]:
    """Return a store of autoscalers that joins what a watch publishes there.

    Args:
        joined: Where they are joined with the Deployments.
    """
    targets = Targets(joined)

    def on_change(kind: ChangeKind, autoscaler: Autoscaler) -> None:
        if kind is ChangeKind.DELETED:
            targets.remove(autoscaler.ref)
        else:
            targets.put(autoscaler.ref, autoscaler.target, autoscaler.owner)

    store = ObjectStore[Autoscaler]()
    store.on_change = on_change
    return store
