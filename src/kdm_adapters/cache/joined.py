"""What is known of Deployments besides themselves, and shown with them: one place for everything that is joined."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from attrs import define, evolve

from kdm_core.attribution import FIELD_MANAGER, LastChange
from kdm_core.model import Deployment, DeploymentRef
from kdm_core.owners import Owner, OwnerType
from kdm_core.parked import Parked
from kdm_core.ports import DeploymentAnnotator
from kdm_core.versions import older

_JOINED: Final = frozenset({OwnerType.AUTOSCALER, OwnerType.SCALED_OBJECT})
"""The owners that are objects of their own. All others are marks of the Deployment itself."""


@define
class _Asked:
    """Who asked for a count that was written.

    Attributes:
        written: The Deployment as written.
        change: What is shown of it.
        before: The change that was the newest one before: the cluster has not delivered the write as long as it is.
        delivered: When the cluster says that it was, in seconds since 1970; None before it has been delivered.
    """

    written: Deployment
    change: LastChange
    before: LastChange | None
    delivered: int | None = None

    def shown_with(self, deployment: Deployment) -> LastChange | None:
        """Return what is shown as the newest change; None where this is no longer the newest one."""
        newest = deployment.last_change
        if deployment.uid != self.written.uid or deployment.replicas.desired != self.written.replicas.desired:
            return None
        if newest is None or newest in (self.before, self.change):
            return self.change
        if newest.manager != FIELD_MANAGER or newest.at != (self.delivered or newest.at):
            return None
        self.delivered = newest.at
        return evolve(self.change, at=newest.at)


class Joined:
    """Joins Deployments with what is known of them.

    Args:
        held: Returns the Deployment that is shown, if any.
        put: Called with it where something else is known of it now: it has to be joined again.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        held: Callable[[DeploymentRef], Deployment | None],
        put: Callable[[Deployment], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._held = held
        self._put = put
        self._clock = clock
        self._owners: dict[DeploymentRef, tuple[Owner, ...]] = {}
        self._parked: dict[DeploymentRef, Parked] = {}
        self._asked: dict[DeploymentRef, _Asked] = {}
        self._in_use = False

    def join(self, deployment: Deployment) -> Deployment:
        """Return a Deployment with what is known of it. One that has it already stays the same object."""
        if not self._in_use:
            return deployment
        ref = deployment.ref
        owners = self._owners.get(ref, ())
        if deployment.owners:
            owners = (*(each for each in deployment.owners if each.type not in _JOINED), *owners)
        parked = self._parked.get(ref)
        if parked is not None and parked.uid != deployment.uid:
            parked = None
        last_change = deployment.last_change
        asked = self._asked.get(ref)
        if asked is not None and not older(deployment.resource_version, asked.written.resource_version):
            shown = asked.shown_with(deployment)
            if shown is None:
                del self._asked[ref]
            else:
                last_change = shown
        if (owners, parked, last_change) == (deployment.owners, deployment.parked, deployment.last_change):
            return deployment
        return evolve(deployment, owners=owners, parked=parked, last_change=last_change)

    def owners(self, ref: DeploymentRef, owners: tuple[Owner, ...]) -> None:
        """Join the owners that are objects of their own: all that one Deployment has, or () for none."""
        if owners == self._owners.get(ref, ()):
            return
        if owners:
            self._owners[ref] = owners
        else:
            del self._owners[ref]
        self._changed(ref)

    def parked(self, ref: DeploymentRef, parked: Parked | None) -> None:
        """Join what is remembered of a parked Deployment; None where it is not parked."""
        if parked == self._parked.get(ref):
            return
        if parked is not None:
            self._parked[ref] = parked
        else:
            del self._parked[ref]
        self._changed(ref)

    def asked(self, written: Deployment, actor: str, reason: str) -> None:
        """Join who asked for a count, and why.

        Args:
            written: The Deployment as written.
            actor: Who asked.
            reason: Why.
        """
        held = self._held(written.ref)
        if held is None or held.uid != written.uid:
            return  # it is gone already, and nobody would say so again
        delivered = held.last_change if held.last_change != written.last_change else None
        at = delivered.at if delivered is not None and delivered.manager == FIELD_MANAGER else int(self._clock())
        change = LastChange(at, FIELD_MANAGER, actor, reason)
        self._asked[written.ref] = _Asked(written, change, written.last_change)
        self._changed(written.ref)

    def forget(self, ref: DeploymentRef) -> None:
        """Forget who asked for the count of a Deployment that is gone."""
        self._asked.pop(ref, None)

    def _changed(self, ref: DeploymentRef) -> None:
        self._in_use = True
        held = self._held(ref)
        if held is not None:
            self._put(held)


class ShowsJoined(DeploymentAnnotator):
    """The part of a repository that shows what is joined."""

    _joined: Joined

    def annotate_parked(self, ref: DeploymentRef, parked: Parked | None) -> None:
        """See the port."""
        self._joined.parked(ref, parked)

    def annotate_change(self, written: Deployment, actor: str, reason: str) -> None:
        """See the port."""
        self._joined.asked(written, actor, reason)
