"""kdm's domain: Deployments' replica counts, who may change them, and the ports to the outside.

Depends on the standard library and attrs alone. Usable on its own::

    service = DeploymentService(repository)
    service.get("web", "shop").replicas.desired
"""

from kdm_core.errors import (
    AmbiguousName,
    AuditUnavailable,
    CacheNotSynced,
    CacheStale,
    ClusterOverloaded,
    ClusterTimeout,
    ClusterUnreachable,
    ClusterUnrecognized,
    DeploymentNotFound,
    Forbidden,
    InvalidInput,
    InvalidName,
    InvalidReplicas,
    KdmError,
    NamespaceNotWatched,
    PolicyError,
    Unavailable,
    WriteConflict,
    WriteForbidden,
    WriteInvalid,
    WriteRejected,
)
from kdm_core.model import (
    LOCAL,
    MAX_REPLICAS,
    AuditEvent,
    ChangeKind,
    Deployment,
    DeploymentChange,
    DeploymentRef,
    Identity,
    Outcome,
    ReplicaStatus,
    SyncStatus,
    Verb,
)
from kdm_core.policy import ALLOW_ALL, Policy, parse_policy
from kdm_core.ports import AuditSink, DeploymentRepository, Instrument
from kdm_core.service import ALL_NAMESPACES, DEFAULT_MAX_REPLICAS, DeploymentService, Health

__all__ = [
    "ALLOW_ALL",
    "ALL_NAMESPACES",
    "DEFAULT_MAX_REPLICAS",
    "LOCAL",
    "MAX_REPLICAS",
    "AmbiguousName",
    "AuditEvent",
    "AuditSink",
    "AuditUnavailable",
    "CacheNotSynced",
    "CacheStale",
    "ChangeKind",
    "ClusterOverloaded",
    "ClusterTimeout",
    "ClusterUnreachable",
    "ClusterUnrecognized",
    "Deployment",
    "DeploymentChange",
    "DeploymentNotFound",
    "DeploymentRef",
    "DeploymentRepository",
    "DeploymentService",
    "Forbidden",
    "Health",
    "Identity",
    "Instrument",
    "InvalidInput",
    "InvalidName",
    "InvalidReplicas",
    "KdmError",
    "NamespaceNotWatched",
    "Outcome",
    "Policy",
    "PolicyError",
    "ReplicaStatus",
    "SyncStatus",
    "Unavailable",
    "Verb",
    "WriteConflict",
    "WriteForbidden",
    "WriteInvalid",
    "WriteRejected",
    "parse_policy",
]
