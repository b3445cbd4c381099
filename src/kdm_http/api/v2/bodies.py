"""What API v2 shows: the bodies of its answers. Counts of zero are written out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import msgspec
from msgspec import UNSET, UnsetType

from kdm_core import (
    Deployment,
    LastChange,
    Parked,
    ReplicaStatus,
    RolloutOutcome,
    RolloutResult,
    RolloutState,
    WaitFor,
    rollout_of,
)
from kdm_core.attribution import moment
from kdm_http.api.v2.body import Body, Count
from kdm_http.api.v2.owner_bodies import OwnerBody


class Replicas(Body, frozen=True):
    """A Deployment's replica counts: how many are desired, and how many there are of which kind."""

    desired: Count
    current: Count
    updated: Count
    ready: Count
    available: Count

    @classmethod
    def of(cls, counts: ReplicaStatus) -> Self:
        """Show counts."""
        return cls(
            desired=counts.desired,
            current=counts.current,
            updated=counts.updated,
            ready=counts.ready,
            available=counts.available,
        )


class RolloutNow(Body, frozen=True):
    """Where a Deployment stands on its way to the desired count, in kind and in words."""

    state: RolloutState
    message: str


class Bounds(Body, frozen=True):
    """Counts that the caller may ask for: from min to max, and zero where it is allowed."""

    min: Count
    max: Count
    allow_zero: bool


class Access(Body, frozen=True):
    """What the caller may do to a Deployment."""

    verbs: list[str]
    bounds: list[Bounds]
    override: bool
    """Whether it may write a count that an owner changes back."""


class Condition(Body, frozen=True):
    """What the Deployment's controller says of it, as the Kubernetes API has it."""

    type: str
    """``Progressing``, or ``ReplicaFailure`` where Pods cannot be created."""
    status: str
    reason: str
    message: str
    """Empty where nothing is wrong."""


class ParkedBody(Body, frozen=True):
    """What is remembered of a parked Deployment."""

    replicas: Count
    """How many come back."""
    at: str
    by: str
    reason: str
    park_id: str
    """What was parked together."""

    @classmethod
    def of(cls, parked: Parked) -> Self:
        """Show what is remembered."""
        return cls(
            replicas=parked.replicas,
            at=moment(parked.at),
            by=parked.by,
            reason=parked.reason,
            park_id=parked.park_id,
        )


class LastChangeBody(Body, frozen=True):
    """The newest change of the count: when, and by which field manager; by whom and why, where kdm made it."""

    at: str | None
    """Null where it is not known: the API server keeps no time of a write through ``scale``."""
    manager: str
    actor: str
    reason: str

    @classmethod
    def of(cls, change: LastChange) -> Self:
        """Show a change."""
        at = moment(change.at) if change.at else None
        return cls(at=at, manager=change.manager, actor=change.actor, reason=change.reason)


class DeploymentBody(Body, frozen=True):
    """One Deployment."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    observed_generation: int
    labels: Mapping[str, str]
    paused: bool
    replicas: Replicas
    rollout: RolloutNow
    conditions: list[Condition]
    owners: list[OwnerBody]
    """Who else changes its count."""
    parked: ParkedBody | None
    """Null where it is not parked."""
    last_change: LastChangeBody | None
    """Null where it is not known."""
    access: Access | UnsetType = UNSET

    @classmethod
    def of(cls, deployment: Deployment, access: Access | UnsetType = UNSET) -> Self:
        """Show a Deployment.

        Args:
            deployment: The Deployment.
            access: What the caller may do to it, where it asks for that.
        """
        rollout = rollout_of(deployment)
        return cls(
            namespace=deployment.ref.namespace,
            name=deployment.ref.name,
            uid=deployment.uid,
            resource_version=deployment.resource_version,
            generation=deployment.generation,
            observed_generation=deployment.observed_generation,
            labels=deployment.labels,
            paused=deployment.paused,
            replicas=Replicas.of(deployment.replicas),
            rollout=RolloutNow(state=rollout.state, message=rollout.message),
            conditions=[
                Condition(type=name, status=each.status, reason=each.reason, message=each.message)
                for name, each in (
                    ("Progressing", deployment.progressing),
                    ("ReplicaFailure", deployment.replica_failure),
                )
                if each is not None
            ],
            owners=[OwnerBody.now(each, deployment) for each in deployment.owners],
            parked=None if deployment.parked is None else ParkedBody.of(deployment.parked),
            last_change=None if deployment.last_change is None else LastChangeBody.of(deployment.last_change),
            access=access,
        )


class ListMetadata(Body, frozen=True):
    """What is said of a list."""

    resource_version: str
    """How far the cluster has been seen."""
    continue_: str | None = msgspec.field(name="continue")
    """The token of the next page; null on the last one."""
    remaining_item_count: int | None
    """How many come after this page; null where they were not counted, because some are left out."""
    age_seconds: int
    stale: bool
    consistent: bool
    """Whether nothing has changed since the first page, as far as that is known."""


class DeploymentList(Body, frozen=True):
    """A list of Deployments, by namespace, then name. It is not made as such: its items may be encoded already."""

    metadata: ListMetadata
    items: list[DeploymentBody]


class DesiredReplicas(Body, frozen=True):
    """The count that is desired."""

    desired: Count


class ReplicasBody(Body, frozen=True):
    """What can be set: the count that is desired. How many Pods there are is said by the Deployment itself."""

    namespace: str
    name: str
    uid: str
    generation: int
    replicas: DesiredReplicas

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """Show a Deployment's desired count."""
        return cls(
            namespace=deployment.ref.namespace,
            name=deployment.ref.name,
            uid=deployment.uid,
            generation=deployment.generation,
            replicas=DesiredReplicas(desired=deployment.replicas.desired),
        )


class TargetBody(Body, frozen=True):
    """What a wait is for: a count that was written."""

    uid: str
    resource_version: str
    replicas: Count


class RolloutBody(Body, frozen=True):
    """What came of waiting for the Pods to follow."""

    outcome: RolloutOutcome
    for_: WaitFor = msgspec.field(name="for")
    message: str
    warnings: list[str]
    elapsed_seconds: float
    replicas: Replicas | None
    """The newest counts that the cluster has reported; null where there is no such Deployment."""
    target: TargetBody
    resume: str | None
    """Where to go on waiting for the same; null where that makes no sense."""
    superseded_by: LastChangeBody | None
    """Who set another count, where somebody did and it is known; null otherwise."""

    @classmethod
    def of(cls, result: RolloutResult, resume: str | None) -> Self:
        """Show what came of waiting."""
        target, found = result.target, result.deployment
        return cls(
            outcome=result.outcome,
            for_=result.wait_for,
            message=result.message,
            warnings=list(result.warnings),
            elapsed_seconds=round(result.elapsed_s, 3),
            replicas=None if found is None else Replicas.of(found.replicas),
            target=TargetBody(uid=target.uid, resource_version=target.resource_version, replicas=target.desired),
            resume=resume,
            superseded_by=None if result.superseded_by is None else LastChangeBody.of(result.superseded_by),
        )


class WrittenReplicas(Body, frozen=True):
    """The count before a write, where it is known, and after it."""

    previous: Count | None
    desired: Count


class WrittenBody(Body, frozen=True):
    """What came of a write."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    replicas: WrittenReplicas
    changed: bool
    dry_run: bool
    warnings: list[str]
    rollout: RolloutBody | None
    """What came of waiting; null where that was not asked for."""


class User(Body, frozen=True):
    """Who asks, as the client certificate proves it."""

    name: str
    groups: list[str]


class Features(Body, frozen=True):
    """Which optional features are on."""

    rollout: bool
    idempotency_key: bool
    watch: bool
    owners: bool
    parking: bool
    bulk: bool
    history: bool


class LimitsBody(Body, frozen=True):
    """The limits of what can be asked for. Times are in seconds, sizes in bytes."""

    max_replicas: Count
    max_wait_seconds: int
    max_body_bytes: int
    max_reason_length: int
    max_bulk_items: int
    idempotency_key_seconds: int


class About(Body, frozen=True):
    """What answers, and who asks."""

    version: str
    user: User
    features: Features
    owners_unknown: list[str]
    """Which owners are not known, and why, where kdm looks for them: each as ``source: reason``."""
    limits: LimitsBody
