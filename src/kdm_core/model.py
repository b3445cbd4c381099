"""The domain's values: what a Deployment is to kdm, who asks, and what was done.

All of them are immutable, so they can be shared between threads and handed out of a cache without copies. All can be
copied, pickled, and turned into JSON with :func:`kdm_core.as_json`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from attrs import field, frozen

from kdm_core.attribution import LastChange
from kdm_core.labels import NO_LABELS
from kdm_core.names import check_name, check_namespace
from kdm_core.owners import Owner
from kdm_core.parked import Parked

ALL_NAMESPACES: Final = "*"
"""In the place of a namespace: every watched one. No namespace can have this name."""


@frozen(order=True, weakref_slot=False)
class DeploymentRef:
    """Which Deployment: a namespace and a name, both valid for Kubernetes. Orders by namespace, then name."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, namespace: str, name: str) -> DeploymentRef:
        """Make a reference from untrusted strings.

        Raises:
            InvalidName: One of them is no valid name.
        """
        return cls(check_namespace(namespace), check_name(name))

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@frozen(weakref_slot=False)
class ReplicaStatus:
    """A Deployment's replica counts, in Kubernetes' own terms.

    Attributes:
        desired: ``spec.replicas``: how many were asked for. This is the RFDs' ``replicaCount``.
        current: ``status.replicas``: how many Pods exist, of any revision.
        updated: ``status.updatedReplicas``: how many are of the newest revision.
        ready: ``status.readyReplicas``: how many pass their readiness probe.
        available: ``status.availableReplicas``: how many have been ready for ``minReadySeconds``.
    """

    desired: int
    current: int = 0
    updated: int = 0
    ready: int = 0
    available: int = 0


@frozen(weakref_slot=False)
class DeploymentCondition:
    """One of a Deployment's conditions: what its controller says of it.

    Attributes:
        status: "True", "False" or "Unknown".
        reason: Why, in one word, such as ``ProgressDeadlineExceeded``.
        message: Why, for a person: on one line, of bounded length. "" where there is nothing wrong, so that what is
            well costs no memory.
    """

    status: str
    reason: str = ""
    message: str = ""


@frozen(weakref_slot=False)
class Deployment:
    """One Deployment as a repository last saw it.

    Attributes:
        ref: Its namespace and name.
        uid: The identity of this object: a Deployment deleted and created again under the same name has another.
        resource_version: The version of the cluster's state this was read at, opaque but to comparison (KEP-5504).
        generation: Counts the changes of its spec.
        observed_generation: The generation that the counts but ``desired`` belong to.
        replicas: The counts.
        paused: Whether its rollouts are paused.
        labels: Its labels. Read-only and possibly shared between Deployments: never mutate.
        progressing: The condition ``Progressing``: whether its rollout gets on. None where the controller says nothing.
        replica_failure: The condition ``ReplicaFailure``: whether Pods cannot be created. None where they can.
        owners: Who else changes its count; () as well where nobody looks for them.
        last_change: The newest change of its count; None where that is not known.
        parked: What is remembered of it while it is parked; None where it is not.
    """

    ref: DeploymentRef
    uid: str
    resource_version: str
    generation: int
    observed_generation: int
    replicas: ReplicaStatus
    paused: bool = False
    labels: Mapping[str, str] = field(default=NO_LABELS, hash=False)
    progressing: DeploymentCondition | None = None
    replica_failure: DeploymentCondition | None = None
    owners: tuple[Owner, ...] = ()
    last_change: LastChange | None = None
    parked: Parked | None = None


class ChangeKind(enum.StrEnum):
    """What a :class:`DeploymentChange` says."""

    PRESENT = "present"
    """Part of the state at the time of subscribing (or of resuming after ``LAGGED``)."""
    SYNCED = "synced"
    """The present state is complete; changes follow. What was not part of it does not exist."""
    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"
    LAGGED = "lagged"
    """The subscriber fell behind and changes were dropped. ``PRESENT`` ... ``SYNCED`` follow."""


@frozen
class DeploymentChange:
    """One step of :meth:`DeploymentRepository.changes`.

    Attributes:
        kind: What happened.
        deployment: The Deployment after the change (for ``DELETED``, as it last was); None for ``SYNCED`` and
            ``LAGGED``.
    """

    kind: ChangeKind
    deployment: Deployment | None = None


class Trouble(enum.StrEnum):
    """What is wrong with a source, in kind.

    The value is a clause that is safe to show to anybody: none of it comes from a cluster, a proxy or a file.
    """

    NOT_READ = "it has not been read yet"
    UNREACHABLE = "the cluster cannot be reached"
    UNAUTHENTICATED = "the cluster does not accept kdm's credentials"
    FORBIDDEN = "the cluster does not let kdm read it"
    OVERLOADED = "the cluster asks for fewer requests"
    FAILED = "the cluster does not answer as it should"
    INTERRUPTED = "the watch is interrupted"
    WENT_BACK = "the cluster's state went back, as after a restore from a backup"
    STOPPED = "kdm has stopped reading it"


@frozen
class SourceStatus:
    """How far one source of a repository can be trusted at this moment: a namespace, or all of them.

    Attributes:
        source: The namespace, or "*" for all of them.
        synced: Whether a complete state of it has been read at least once: its reads are served.
        connected: Whether it is delivering changes now.
        resource_version: The newest version applied, "" before the first.
        age_s: Seconds since the newest proof of freshness. ``inf`` before.
        stale: Whether it was synced and ``age_s`` is past the configured bound.
        reason: Why it is not synced, connected or fresh, for a person; "" when all is well.
        trouble: Why it is not synced or connected, in kind; None when it is.
    """

    source: str
    synced: bool
    connected: bool
    resource_version: str
    age_s: float
    stale: bool = False
    reason: str = ""
    trouble: Trouble | None = None


@frozen
class Observation:
    """What the cluster itself has said of one Deployment: by a watch or a list, never by the answer to a write.

    Attributes:
        deployment: Its newest state; None where there is none, at ``source.resource_version``.
        source: The source that it comes from, and how far that can be trusted.
    """

    deployment: Deployment | None
    source: SourceStatus


@frozen
class SyncStatus:
    """How far a repository's memory can be trusted at this moment.

    Attributes:
        synced: Whether a complete state of every source has been read at least once.
        connected: Whether every source is delivering changes now.
        resource_version: The newest version applied ("" before the first; the oldest of several sources).
        age_s: Seconds since the newest proof of freshness: an event, a bookmark or a complete list. ``inf`` before. The
            oldest of several sources.
        stale: Whether one of the sources is: synced once, and ``age_s`` past the configured bound.
        objects: How many Deployments are held.
        reason: Why it is not synced, connected or fresh, for a person; "" when all is well.
        sources: Each source on its own, ordered by name: a namespace each, or "*" for all of them.
        owners: Each source of owners that are objects of their own, such as ``horizontalpodautoscalers/*``. What is
            wrong with one of them hurts no read; () where nobody looks for owners. None where they are known without.
    """

    synced: bool
    connected: bool
    resource_version: str
    age_s: float
    stale: bool = False
    objects: int = 0
    reason: str = ""
    sources: tuple[SourceStatus, ...] = ()
    owners: tuple[SourceStatus, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether reads are complete and current."""
        return self.synced and self.connected and not self.stale

    @property
    def serving(self) -> bool:
        """Whether there is anything to read: a complete state of one source at least."""
        return self.synced or any(each.synced for each in self.sources)

    def of(self, namespace: str) -> SourceStatus:
        """Return how far reads of one namespace can be trusted; "*" for all that are watched, taken together."""
        for each in self.sources:
            if each.source in (namespace, ALL_NAMESPACES):
                return each
        return SourceStatus(
            namespace, self.synced, self.connected, self.resource_version, self.age_s, self.stale, self.reason
        )


@frozen
class Identity:
    """Who is asking, as proven by a client certificate (or, for a library, as the embedding program says).

    Attributes:
        user: The certificate's common name, or its one ``spiffe://`` URI SAN where it has one.
        groups: The certificate's organizations.
        fingerprint: SHA-256 of the certificate's DER bytes, in lower-case hex; "" where there was no certificate.
        address: Where they ask from, ``host:port``; "" where that is not known. For the audit trail; two identities
            that differ in it alone are equal.
    """

    user: str
    groups: frozenset[str] = frozenset()
    fingerprint: str = ""
    address: str = field(default="", eq=False)


@frozen
class Caller:
    """Who asks, and with which request.

    Attributes:
        identity: Who asks.
        request_id: Ties the audit trail to the log; "" where there is none.
    """

    identity: Identity
    request_id: str = ""


LOCAL: Final = Caller(Identity("local"))
"""A program that embeds kdm as a library and has no callers of its own to tell apart."""


class Verb(enum.StrEnum):
    """What can be done through kdm."""

    READ = "read"
    SCALE = "scale"
    PARK = "park"
    """Remember the count and go to zero. Who may scale to zero may: here for the audit trail."""
    RESTORE = "restore"
    """Come back to the count that is remembered. Who may scale to that count may: here for the audit trail."""
    CONNECT = "connect"
    """Reach kdm at all. No policy grants it, mutual TLS does: here to audit the clients that were turned away."""


class Outcome(enum.StrEnum):
    """How an audited action ended."""

    SUCCESS = "success"
    DENIED = "denied"
    REJECTED = "rejected"
    """The request itself was at fault: bad input, no such Deployment, a conflict."""
    FAILED = "failed"
    """The cluster or kdm was at fault. A write that timed out may have happened all the same."""


@frozen
class AuditEvent:
    """One attempt to change something, or one refused access.

    Attributes:
        time: When it ended, in UTC.
        request_id: Ties it to the log; "" for library use.
        actor: Who tried; for ``CONNECT``, who the certificate claims to be, proven or not ("" where it says nothing).
        verb: What was tried.
        namespace: Where; "*" for any or all of them, "" where there is no saying.
        name: On what; "" for a list.
        old_replicas: The count that was cached before, where known.
        new_replicas: The count asked for, where one was.
        dry_run: Whether it was a trial: then nothing was stored, whatever the outcome.
        outcome: How it ended.
        reason: Why, for a person; "" on success.
        latency_s: How long it took, in seconds.
        change_reason: Why the caller wanted it, in the caller's own words; "" where none was given.
        batch: The id of the batch that it belongs to; "" where it was asked for on its own.
        park_id: The batch that was parked or restored with it; "" for anything else.
        overrides: The owners that would change the count back and were overridden, for a person; "" for none.
    """

    time: datetime
    request_id: str
    actor: Identity
    verb: Verb
    namespace: str
    name: str
    outcome: Outcome
    old_replicas: int | None = None
    new_replicas: int | None = None
    reason: str = ""
    latency_s: float = 0.0
    dry_run: bool = False
    change_reason: str = ""
    batch: str = ""
    park_id: str = ""
    overrides: str = ""
