"""Who may do what, to which Deployments, within which bounds. Pure: no files, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kdm_core.model import DeploymentRef, Identity, Verb


class Policy:
    """Decides whether an actor may do something. This one lets every actor do everything."""

    def allows(
        self,
        actor: Identity,
        verb: Verb,
        ref: DeploymentRef,
        labels: Mapping[str, str],
        replicas: int | None = None,
    ) -> bool:
        """Return whether the actor may do this.

        Args:
            actor: Who asks.
            verb: What is asked.
            ref: Of which Deployment.
            labels: The Deployment's labels, empty where it is not known.
            replicas: The count asked for, where one is.
        """
        return True

    def may_list(self, actor: Identity, namespace: str | None) -> bool:
        """Return whether there could be a Deployment that the actor may read.

        Args:
            actor: Who asks.
            namespace: The namespace asked for; None for every one.
        """
        return True

    def unrestricted(self, actor: Identity, namespace: str | None) -> bool:
        """Return whether the actor may read every Deployment there, so that a list needs no filter.

        Args:
            actor: Who asks.
            namespace: The namespace asked for; None for every one.
        """
        return True


ALLOW_ALL: Final = Policy()
