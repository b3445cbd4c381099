"""One of every error of the core, at least, with members that are all different."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kdm_core import (
    AmbiguousName,
    AuditUnavailable,
    BulkRefused,
    BulkTooLarge,
    ChangedSinceParked,
    ClusterOverloaded,
    Contended,
    Deployment,
    DeploymentNotFound,
    DeploymentRef,
    Expect,
    Forbidden,
    Identity,
    InvalidName,
    InvalidReplicas,
    InvalidSelector,
    KdmError,
    NamespaceNotWatched,
    NothingToPark,
    NotParked,
    OutOfBounds,
    OverrideForbidden,
    OwnerConflict,
    ParkingFull,
    ParkingOff,
    ParkingRecordUnreadable,
    PlanChanged,
    PreconditionFailed,
    ReasonRequired,
    ReplicaStatus,
    Verb,
    WriteConflict,
)
from kdm_core.errors import ERRORS
from kdm_core.owners import Effect, Judgement, Owner, OwnerType

WEB = DeploymentRef("shop", "web")
FOUND = Deployment(WEB, "u-1", "48", 7, 0, ReplicaStatus(5))
WORDED = frozenset(ERRORS) - {
    "invalid-name", "invalid-replicas", "invalid-selector", "deployment-not-found", "namespace-not-watched",
    "owner-conflict", "override-forbidden",
    "ambiguous-name", "forbidden", "reason-required", "out-of-bounds", "contended",
    "nothing-to-park", "not-parked", "changed-since-parked", "parking-record-unreadable", "parking-full", "parking-off",
    "bulk-refused", "bulk-too-large", "plan-changed",
}  # fmt: skip
"""Those that are made of a message alone."""


def _examples() -> Iterator[KdmError]:
    """Yield them."""
    yield InvalidName("namespace", "No Name", "a DNS label")
    yield InvalidReplicas(-7, 99)
    yield InvalidSelector("a in b", "a value list is in parentheses")
    yield DeploymentNotFound(WEB)
    yield DeploymentNotFound("web")
    yield NamespaceNotWatched("kube-system", ["batch", "shop"])
    yield AmbiguousName("web", ["batch", "shop"])
    yield Forbidden(Identity("bob"), Verb.SCALE, "Deployment 'shop/web'", "shop")
    yield ReasonRequired(Identity("bob"), Verb.SCALE, "Deployment 'shop/web'", "shop")
    yield OutOfBounds(WEB, 3, 12, 1, 10)
    yield Contended(WEB, 4)
    yield OverrideForbidden(Identity("bob"), Verb.SCALE, "Deployment 'shop/web'", "shop")
    autoscaler = Owner("HorizontalPodAutoscaler", "web", 2, 10, OwnerType.AUTOSCALER, holds=True)
    yield OwnerConflict(WEB, 12, [Judgement(autoscaler, Effect.REVERTS, "it puts 10 there", "change maxReplicas")])
    yield ParkingOff()
    yield NothingToPark(WEB)
    yield NotParked(WEB, "nobody parked it")
    yield ChangedSinceParked(WEB, 5, 3, "was scaled", forgotten=True)
    yield ParkingRecordUnreadable(WEB, "ConfigMap 'kdm-parked-0'", "no JSON")
    yield ParkingFull("ConfigMap 'kdm-parked-0'", "1 MiB")
    yield BulkTooLarge(612, 500)
    yield BulkRefused(
        [(WEB, OutOfBounds(WEB, 3, 12, 1, 10)), (DeploymentRef("shop", "api"), DeploymentNotFound(WEB))], 40
    )
    yield PlanChanged("c84ffcb8")
    yield ClusterOverloaded("busy", retry_after_s=7)
    yield AuditUnavailable("the disk is full", written=True)
    for code in sorted(WORDED):
        yield ERRORS[code](f"what went wrong: {code}")
    met = PreconditionFailed("it has changed")
    met.current = FOUND
    yield met
    yield WriteConflict("it is not as expected", FOUND)
    for expect in (Expect(replicas=0), Expect(resource_version="47", uid="u-0"), Expect("47", 3, "u-0")):
        conflict = WriteConflict("it is not as expected", FOUND)
        conflict.expected = expect
        yield conflict


EXAMPLES: Final = tuple(_examples())
