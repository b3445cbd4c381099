"""API v2's bodies as the core's values."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from kdm_core.attribution import LastChange
from kdm_core.labels import NO_LABELS, Labels
from kdm_core.model import Deployment, DeploymentCondition, DeploymentRef, ReplicaStatus
from kdm_core.owners import Owner, OwnerType
from kdm_core.parked import Parked

_T = TypeVar("_T")


class _Body(msgspec.Struct, rename="camel", frozen=True):
    """A part of a body. What it has besides is ignored: a newer kdm may say more."""


class _Replicas(_Body, frozen=True):
    desired: int
    current: int = 0
    updated: int = 0
    ready: int = 0
    available: int = 0


class _Condition(_Body, frozen=True):
    type: str
    status: str
    reason: str = ""
    message: str = ""


class _Owner(_Body, frozen=True):
    kind: str
    name: str
    min: int | None = None
    max: int | None = None
    type: str = OwnerType.OPERATOR
    holds: bool = False


class _Parked(_Body, frozen=True):
    replicas: int
    at: datetime
    by: str = ""
    reason: str = ""
    park_id: str = ""


class _LastChange(_Body, frozen=True):
    manager: str
    at: datetime | None = None
    actor: str = ""
    reason: str = ""


class _Deployment(_Body, frozen=True):
    namespace: str
    name: str
    uid: str
    resource_version: str
    replicas: _Replicas
    generation: int = 0
    observed_generation: int = 0
    labels: dict[str, str] = {}
    paused: bool = False
    conditions: list[_Condition] = []
    owners: list[_Owner] = []
    parked: _Parked | None = None
    last_change: _LastChange | None = None


class Written(_Body, frozen=True):
    """What came of a write.

    Attributes:
        uid: Which object was written.
        resource_version: The version of the write; of a dry run, the version that it was tried on.
        replicas: The count before and after it; ``desired`` is the one after.
    """

    uid: str
    resource_version: str
    replicas: _Replicas


class Freshness(_Body, frozen=True):
    """How far the server has seen the cluster.

    Attributes:
        stale: Whether that is past its configured bound.
        connected: Whether changes are being delivered to it.
        resource_version: The version; "" where it is not known.
        age_seconds: How old the proof is, in seconds; None where there is none.
    """

    stale: bool = False
    connected: bool = True
    resource_version: str = ""
    age_seconds: float | None = None


class NotKdms(ValueError):
    """What was read is not what a kdm sends."""


_deployment: Final = msgspec.json.Decoder(_Deployment).decode
_written: Final = msgspec.json.Decoder(Written).decode
_freshness: Final = msgspec.json.Decoder(Freshness).decode


def read_deployment(data: bytes) -> Deployment:
    """Return the Deployment that a body shows.

    Raises:
        NotKdms: It shows none.
    """
    body = _decoded(_deployment, data, "Deployment")
    conditions = {each.type: DeploymentCondition(each.status, each.reason, each.message) for each in body.conditions}
    counts = body.replicas
    return Deployment(
        ref=DeploymentRef(body.namespace, body.name),
        uid=body.uid,
        resource_version=body.resource_version,
        generation=body.generation,
        observed_generation=body.observed_generation,
        replicas=ReplicaStatus(counts.desired, counts.current, counts.updated, counts.ready, counts.available),
        paused=body.paused,
        labels=Labels(body.labels) if body.labels else NO_LABELS,
        progressing=conditions.get("Progressing"),
        replica_failure=conditions.get("ReplicaFailure"),
        owners=tuple(map(_owned, body.owners)),
        parked=None if body.parked is None else _parked(body.parked, body.uid),
        last_change=None if body.last_change is None else _last_change(body.last_change),
    )


def read_written(data: bytes) -> Written:
    """Return what came of a write.

    Raises:
        NotKdms: The body does not say it.
    """
    return _decoded(_written, data, "answer to a write")


def read_freshness(data: bytes) -> Freshness:
    """Return how far the server has seen the cluster.

    Raises:
        NotKdms: The event does not say it.
    """
    return _decoded(_freshness, data, "bookmark")


def _decoded(decode: Callable[[bytes], _T], data: bytes, what: str) -> _T:
    try:
        return decode(data)
    except msgspec.DecodeError as error:
        raise NotKdms(f"no {what}: {error}") from None


def _owned(owner: _Owner) -> Owner:
    known = owner.type in set(OwnerType)
    kind = OwnerType(owner.type) if known else OwnerType.OPERATOR  # a newer kdm may know more
    return Owner(owner.kind, owner.name, owner.min, owner.max, kind, holds=owner.holds)


def _parked(parked: _Parked, uid: str) -> Parked:
    """Return the record of a parked Deployment: it is shown with the object alone that was parked."""
    return Parked(uid, parked.replicas, _seconds(parked.at), parked.by, parked.reason, parked.park_id)


def _last_change(change: _LastChange) -> LastChange:
    return LastChange(_seconds(change.at), change.manager, change.actor, change.reason)


def _seconds(moment: datetime | None) -> int:
    return 0 if moment is None else int(moment.timestamp())
