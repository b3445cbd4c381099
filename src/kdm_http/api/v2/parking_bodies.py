"""What API v2 shows of parking: what came of it, and what is parked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from kdm_core import ParkedDeployment, ParkedState, Parking
from kdm_core.attribution import moment
from kdm_http.api.v2.bodies import ParkedBody, RolloutBody, WrittenReplicas
from kdm_http.api.v2.body import Body, Count


class ParkingBody(Body, frozen=True):
    """What came of parking or restoring a Deployment."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    replicas: WrittenReplicas
    changed: bool
    dry_run: bool
    warnings: list[str]
    parked: ParkedBody | None
    """What is remembered of it now; null where nothing is."""
    rollout: RolloutBody | None
    """What came of waiting; null where that was not asked for."""

    @classmethod
    def of(cls, parking: Parking, warnings: Iterable[str], rollout: RolloutBody | None) -> Self:
        """Show what came of it.

        Args:
            parking: What came of it.
            warnings: What else is to be said.
            rollout: What came of waiting.
        """
        found = parking.deployment
        return cls(
            namespace=found.ref.namespace,
            name=found.ref.name,
            uid=found.uid,
            resource_version=found.resource_version,
            replicas=WrittenReplicas(previous=parking.previous, desired=parking.replicas),
            changed=parking.changed,
            dry_run=parking.dry_run,
            warnings=[*parking.warnings, *warnings],
            parked=None if parking.parked is None else ParkedBody.of(parking.parked),
            rollout=rollout,
        )


class ParkedItem(Body, frozen=True):
    """One Deployment of which a count is remembered."""

    namespace: str
    name: str
    uid: str
    replicas: Count
    """How many come back."""
    at: str
    by: str
    reason: str
    park_id: str
    state: ParkedState
    """How that compares with the Deployment: restoring brings back what is parked or woken, and nothing else."""

    @classmethod
    def of(cls, found: ParkedDeployment) -> Self:
        """Show one."""
        ref, parked = found.ref, found.parked
        return cls(
            namespace=ref.namespace,
            name=ref.name,
            uid=parked.uid,
            replicas=parked.replicas,
            at=moment(parked.at),
            by=parked.by,
            reason=parked.reason,
            park_id=parked.park_id,
            state=found.state,
        )


class ParkedBatch(Body, frozen=True):
    """What was parked together, as far as it is shown here."""

    park_id: str
    at: str
    """When the first of them was parked."""
    by: str
    reason: str
    count: int


class ParkedMetadata(Body, frozen=True):
    """How far what is shown can be trusted."""

    resource_version: str
    """How far the Deployments of the cluster have been seen."""
    age_seconds: int
    stale: bool


class ParkedList(Body, frozen=True):
    """What is parked: by batch, the oldest first, and by namespace and name."""

    metadata: ParkedMetadata
    batches: list[ParkedBatch]
    items: list[ParkedItem]


def batches_of(found: Iterable[ParkedDeployment]) -> list[ParkedBatch]:
    """Return the batches that Deployments were parked with, the oldest first."""
    by_id: dict[str, list[ParkedDeployment]] = {}
    for each in found:
        by_id.setdefault(each.parked.park_id, []).append(each)
    batches = []
    for park_id, members in by_id.items():
        first = min(members, key=lambda each: each.parked.at).parked
        batches.append((first.at, park_id, first, len(members)))
    return [
        ParkedBatch(park_id=park_id, at=moment(at), by=first.by, reason=first.reason, count=count)
        for at, park_id, first, count in sorted(batches, key=lambda each: each[:2])
    ]
