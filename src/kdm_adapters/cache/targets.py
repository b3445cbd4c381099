"""Joins Deployments with owners that are objects of their own and name the Deployment that they are for."""

from __future__ import annotations

from kdm_adapters.cache.joined import Joined
from kdm_core.model import DeploymentRef
from kdm_core.owners import Owner


class Targets:
    """Which owners are for which Deployments.

    Args:
        joined: Where they are joined with the Deployments.
    """

    def __init__(self, joined: Joined) -> None:
        self._joined = joined
        self._of: dict[DeploymentRef, DeploymentRef] = {}
        self._owners: dict[DeploymentRef, dict[DeploymentRef, Owner]] = {}

    def put(self, where: DeploymentRef, target: DeploymentRef | None, owner: Owner) -> None:
        """Join one that is new or has changed.

        Args:
            where: The namespace and name of the object that says so.
            target: The Deployment that it is for; None where it is for something else.
            owner: What it is to the Deployment.
        """
        before = self._of.get(where)
        if before is not None and before != target:
            self.remove(where)
        if target is not None:
            self._of[where] = target
            self._owners.setdefault(target, {})[where] = owner
            self._show(target)

    def remove(self, where: DeploymentRef) -> None:
        """Part one that is gone. Does nothing where it was for no Deployment."""
        target = self._of.pop(where, None)
        if target is not None:
            owners = self._owners[target]
            del owners[where]
            if not owners:
                del self._owners[target]
            self._show(target)

    def _show(self, target: DeploymentRef) -> None:
        owners = self._owners.get(target, {})
        self._joined.owners(target, tuple(owners[each] for each in sorted(owners)))
