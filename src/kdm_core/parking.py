"""How Deployments are parked and restored: what came of it, and how what is remembered compares with what is there."""

from __future__ import annotations

import enum
import re
from typing import Final

from attrs import frozen

from kdm_core.errors import InvalidChange
from kdm_core.model import Deployment, DeploymentRef
from kdm_core.parked import Parked
from kdm_core.scaling import Scaled

_is_park_id: Final = re.compile(r"[A-Za-z0-9](?:[-._A-Za-z0-9]{0,61}[A-Za-z0-9])?", re.ASCII).fullmatch
"""The grammar of a label's value in Kubernetes, which many a tool knows how to keep."""


def check_park_id(park_id: str) -> str:
    """Check what somebody calls a batch of parked Deployments. Returns it.

    Raises:
        InvalidChange: It is no such name.
    """
    if not _is_park_id(park_id):
        raise InvalidChange(
            "parkId: must be at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or "
            f"digit, not {park_id[:80]!r}"
        )
    return park_id


def check_may_return(ref: DeploymentRef, replicas: int, maximum: int) -> None:
    """Check that a count that is to be remembered may be written again: what cannot come back is not parked.

    Args:
        ref: The Deployment.
        replicas: The count that it has.
        maximum: The largest count.

    Raises:
        InvalidChange: It is larger.
    """
    if replicas > maximum:
        raise InvalidChange(
            f"Deployment '{ref}' has {replicas} replicas, and the largest count that may be set is {maximum}: "
            "parked, it could not be restored"
        )


class ParkedState(enum.StrEnum):
    """How what is remembered of a Deployment compares with the Deployment."""

    PARKED = "parked"
    """It is at zero: restoring it brings the count back."""
    WOKEN = "woken"
    """kdm woke it to a few replicas and keeps the record: restoring it brings the count back."""
    CHANGED = "changed"
    """Somebody has scaled it since: restoring leaves it alone and forgets the record."""
    GONE = "gone"
    """There is no such Deployment any more, or another one of that name: restoring forgets the record."""


def state_of(parked: Parked, found: Deployment | None) -> ParkedState:
    """Return how a record compares with the Deployment that it is of.

    Args:
        parked: The record.
        found: The Deployment of that name; None where there is none.
    """
    if found is None or found.uid != parked.uid:
        return ParkedState.GONE
    desired = found.replicas.desired
    if desired == 0:
        return ParkedState.PARKED
    return ParkedState.WOKEN if desired == parked.woken else ParkedState.CHANGED


@frozen
class ParkedDeployment:
    """One Deployment of which a count is remembered.

    Attributes:
        ref: Which one.
        parked: What is remembered.
        state: How that compares with the Deployment.
    """

    ref: DeploymentRef
    parked: Parked
    state: ParkedState


@frozen
class ParkingStatus:
    """How much is parked now, for metrics.

    Attributes:
        parked: How many Deployments are parked and not woken.
        oldest_at: When the first of them was parked, in seconds since 1970; None where none is.
        unreadable: Where records are that cannot be read.
    """

    parked: int = 0
    oldest_at: int | None = None
    unreadable: tuple[str, ...] = ()


@frozen
class Parking:
    """What came of parking or restoring a Deployment.

    Attributes:
        deployment: The Deployment as written; in a dry run, as it would be.
        previous: Its count before.
        replicas: The count that is desired now.
        parked: What is remembered of it now; in a dry run, what would be; None where nothing is.
        changed: Whether the count is another than before.
        dry_run: Whether nothing was stored.
        warnings: What did not come out as it should, for a person. The count is as asked for all the same.
    """

    deployment: Deployment
    previous: int | None
    replicas: int
    parked: Parked | None
    changed: bool
    dry_run: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def scaled(self) -> Scaled:
        """The write, for whoever waits until the Pods have followed."""
        return Scaled(self.deployment, self.previous, self.dry_run)
