"""kdm's domain: Deployments' replica counts, who may change them, and the ports to the outside.

Depends on the standard library and attrs alone. Usable on its own::

    service = DeploymentService(repository)
    service.get(DeploymentRef("shop", "web")).replicas.desired

Each name is imported when it is first used, so that a program that needs the errors alone does not load the rest.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kdm_core.attribution import LastChange
    from kdm_core.bulk import (
        Bulk,
        BulkItem,
        OnError,
        Park,
        Plan,
        Planned,
        Restore,
        Selection,
    )
    from kdm_core.bulk_progress import (
        BulkProgress,
        BulkResult,
        BulkWait,
        Halt,
        ItemOutcome,
        ItemResult,
    )
    from kdm_core.errors import (
        ERRORS,
        AmbiguousName,
        AuditUnavailable,
        BulkRefused,
        BulkTooLarge,
        CacheNotSynced,
        CacheStale,
        ChangedSinceParked,
        ClusterOverloaded,
        ClusterTimeout,
        ClusterUnreachable,
        ClusterUnrecognized,
        Contended,
        DeploymentNotFound,
        Forbidden,
        InvalidChange,
        InvalidInput,
        InvalidName,
        InvalidQuery,
        InvalidReplicas,
        InvalidSelector,
        KdmError,
        NamespaceNotWatched,
        NothingToPark,
        NotParked,
        NotSeenYet,
        NotTried,
        OutOfBounds,
        OverrideForbidden,
        OwnerConflict,
        ParkingFull,
        ParkingOff,
        ParkingRecordUnreadable,
        PlanChanged,
        PolicyError,
        PreconditionFailed,
        ReasonRequired,
        Unavailable,
        WriteConflict,
        WriteForbidden,
        WriteInvalid,
        WriteRejected,
    )
    from kdm_core.history import ChangeLog, ChangePage, CountChange, HistoryQuery
    from kdm_core.json_values import as_json
    from kdm_core.model import (
        ALL_NAMESPACES,
        LOCAL,
        AuditEvent,
        Caller,
        ChangeKind,
        Deployment,
        DeploymentChange,
        DeploymentCondition,
        DeploymentRef,
        Identity,
        Observation,
        Outcome,
        ReplicaStatus,
        SourceStatus,
        SyncStatus,
        Trouble,
        Verb,
    )
    from kdm_core.names import MAX_REPLICAS
    from kdm_core.owners import Effect, Judgement, Owner, OwnerType, judge
    from kdm_core.parked import Parked
    from kdm_core.parking import ParkedDeployment, ParkedState, Parking, ParkingStatus
    from kdm_core.policy import ALLOW_ALL, Policy, parse_policy
    from kdm_core.ports import (
        Announcer,
        AuditSink,
        DeploymentAnnotator,
        DeploymentFeed,
        DeploymentObserver,
        DeploymentReader,
        DeploymentRepository,
        DeploymentWriter,
        EventInstrument,
        ParkingLot,
        ServiceInstrument,
        WatchInstrument,
        WrappedRepository,
    )
    from kdm_core.queries import Page, Query
    from kdm_core.rollout import Rollout, RolloutOutcome, RolloutResult, RolloutState, Target, WaitFor, rollout_of
    from kdm_core.scaling import ANY, Change, Expect, OnBound, ScaleBy, Scaled, ScaleTimes, SetTo
    from kdm_core.selectors import EVERYTHING, LabelSelector
    from kdm_core.service import DEFAULT_MAX_REPLICAS, DeploymentService, Health
    from kdm_core.tracking import ChangeTracker

__all__ = [
    "ALLOW_ALL",
    "ALL_NAMESPACES",
    "ANY",
    "DEFAULT_MAX_REPLICAS",
    "ERRORS",
    "EVERYTHING",
    "LOCAL",
    "MAX_REPLICAS",
    "AmbiguousName",
    "Announcer",
    "AuditEvent",
    "AuditSink",
    "AuditUnavailable",
    "Bulk",
    "BulkItem",
    "BulkProgress",
    "BulkRefused",
    "BulkResult",
    "BulkTooLarge",
    "BulkWait",
    "CacheNotSynced",
    "CacheStale",
    "Caller",
    "Change",
    "ChangeKind",
    "ChangeLog",
    "ChangePage",
    "ChangeTracker",
    "ChangedSinceParked",
    "ClusterOverloaded",
    "ClusterTimeout",
    "ClusterUnreachable",
    "ClusterUnrecognized",
    "Contended",
    "CountChange",
    "Deployment",
    "DeploymentAnnotator",
    "DeploymentChange",
    "DeploymentCondition",
    "DeploymentFeed",
    "DeploymentNotFound",
    "DeploymentObserver",
    "DeploymentReader",
    "DeploymentRef",
    "DeploymentRepository",
    "DeploymentService",
    "DeploymentWriter",
    "Effect",
    "EventInstrument",
    "Expect",
    "Forbidden",
    "Halt",
    "Health",
    "HistoryQuery",
    "Identity",
    "InvalidChange",
    "InvalidInput",
    "InvalidName",
    "InvalidQuery",
    "InvalidReplicas",
    "InvalidSelector",
    "ItemOutcome",
    "ItemResult",
    "Judgement",
    "KdmError",
    "LabelSelector",
    "LastChange",
    "NamespaceNotWatched",
    "NotParked",
    "NotSeenYet",
    "NotTried",
    "NothingToPark",
    "Observation",
    "OnBound",
    "OnError",
    "OutOfBounds",
    "Outcome",
    "OverrideForbidden",
    "Owner",
    "OwnerConflict",
    "OwnerType",
    "Page",
    "Park",
    "Parked",
    "ParkedDeployment",
    "ParkedState",
    "Parking",
    "ParkingFull",
    "ParkingLot",
    "ParkingOff",
    "ParkingRecordUnreadable",
    "ParkingStatus",
    "Plan",
    "PlanChanged",
    "Planned",
    "Policy",
    "PolicyError",
    "PreconditionFailed",
    "Query",
    "ReasonRequired",
    "ReplicaStatus",
    "Restore",
    "Rollout",
    "RolloutOutcome",
    "RolloutResult",
    "RolloutState",
    "ScaleBy",
    "ScaleTimes",
    "Scaled",
    "Selection",
    "ServiceInstrument",
    "SetTo",
    "SourceStatus",
    "SyncStatus",
    "Target",
    "Trouble",
    "Unavailable",
    "Verb",
    "WaitFor",
    "WatchInstrument",
    "WrappedRepository",
    "WriteConflict",
    "WriteForbidden",
    "WriteInvalid",
    "WriteRejected",
    "as_json",
    "judge",
    "parse_policy",
    "rollout_of",
]

_PARTS = (
    "errors",
    "model",
    "scaling",
    "rollout",
    "queries",
    "selectors",
    "names",
    "json_values",
    "policy",
    "ports",
    "service",
    "owners",
    "parked",
    "parking",
    "attribution",
    "bulk",
    "bulk_progress",
    "history",
    "tracking",
)


def __getattr__(name: str) -> object:
    if name in __all__:
        for part in _PARTS:
            found = vars(import_module(f"kdm_core.{part}"))
            if name in found:
                globals()[name] = found[name]
                return found[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
