"""The domain's values: what a Deployment is to kdm, who asks, and what was done.

All of them are immutable, so they can be shared between threads and handed out of a cache without copies. All can be
copied, pickled, and turned into JSON with :func:`kdm_core.as_json`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from attrs import field, frozen

from kdm_core.errors import InvalidName, InvalidReplicas
from kdm_core.labels import NO_LABELS

MAX_SUBDOMAIN_LENGTH: Final = 253
"""Longest name of a Deployment, in characters (RFC 1123 subdomain, as Kubernetes validates object names)."""

MAX_LABEL_LENGTH: Final = 63
"""Longest name of a namespace, in characters (RFC 1123 label, as Kubernetes validates namespace names)."""

MAX_REPLICAS: Final = 2**31 - 1
"""Largest replica count the Kubernetes API can store: ``spec.replicas`` is an int32."""

_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_is_label: Final = re.compile(_LABEL, re.ASCII).fullmatch
_is_subdomain: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII).fullmatch


def check_name(name: str) -> str:
    """Check that a string can name a Deployment.

    Args:
        name: The candidate name.

    Returns:
        The same name.

    Raises:
        InvalidName: It is no DNS-1123 subdomain of at most 253 characters.
    """
    if len(name) > MAX_SUBDOMAIN_LENGTH or not _is_subdomain(name):
        raise InvalidName(
            "name",
            name,
            f"a DNS-1123 subdomain: at most {MAX_SUBDOMAIN_LENGTH} characters, lower-case letters, digits, '-' and "
            "'.', each dot-separated part beginning and ending with a letter or digit",
        )
    return name


def check_namespace(namespace: str) -> str:
    """Check that a string can name a namespace.

    Args:
        namespace: The candidate name.

    Returns:
        The same name.

    Raises:
        InvalidName: It is no DNS-1123 label of at most 63 characters.
    """
    if len(namespace) > MAX_LABEL_LENGTH or not _is_label(namespace):
        raise InvalidName(
            "namespace",
            namespace,
            f"a DNS-1123 label: at most {MAX_LABEL_LENGTH} characters, lower-case letters, digits and '-', beginning "
            "and ending with a letter or digit",
        )
    return namespace


def check_replicas(replicas: object, *, maximum: int = MAX_REPLICAS) -> int:
    """Check that a value can be a replica count.

    Args:
        replicas: The candidate count. ``True`` and ``3.0`` are refused: they are no integers to a caller.
        maximum: The largest count allowed, inclusive.

    Returns:
        The same count.

    Raises:
        InvalidReplicas: It is not an integer from 0 to ``maximum``.
    """
    if type(replicas) is not int or not 0 <= replicas <= maximum:
        raise InvalidReplicas(replicas, maximum)
    return replicas


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
class Deployment:
    """One Deployment as a repository last saw it.

    Attributes:
        ref: Its namespace and name.
        uid: The identity of this object: a Deployment deleted and created anew under the same name has another.
        resource_version: The version of the cluster's state this was read at, opaque but to comparison (KEP-5504).
        generation: Counts the changes of its spec.
        observed_generation: The generation that ``replicas`` (but ``desired``) tells about.
        replicas: The counts.
        paused: Whether its rollouts are paused.
        labels: Its labels. Read-only and possibly shared between Deployments: never mutate.
    """

    ref: DeploymentRef
    uid: str
    resource_version: str
    generation: int
    observed_generation: int
    replicas: ReplicaStatus
    paused: bool = False
    labels: Mapping[str, str] = field(default=NO_LABELS, hash=False)


class ChangeKind(enum.StrEnum):
    """What a :class:`DeploymentChange` tells."""

    PRESENT = "present"
    """Part of the state at the time of subscribing (or of resuming after ``LAGGED``)."""
    SYNCED = "synced"
    """All that was present has been told; changes follow. What was not told as present does not exist."""
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
    """

    synced: bool
    connected: bool
    resource_version: str
    age_s: float
    stale: bool = False
    objects: int = 0
    reason: str = ""
    sources: tuple[SourceStatus, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether reads are complete and current."""
        return self.synced and self.connected and not self.stale

    @property
    def serving(self) -> bool:
        """Whether there is anything to read: a complete state of one source at least."""
        return self.synced or any(each.synced for each in self.sources)


@frozen
class Identity:
    """Who is asking, as proven by a client certificate (or, for a library, as the embedding program says).

    Attributes:
        user: The certificate's common name, or its one ``spiffe://`` URI SAN where it has one.
        groups: The certificate's organizations.
        fingerprint: SHA-256 of the certificate's DER bytes, in lower-case hex; "" where there was no certificate.
        address: Where they ask from, ``host:port``; "" where nobody could tell. Told in the audit trail; two
            identities that differ in it alone are equal.
    """

    user: str
    groups: frozenset[str] = frozenset()
    fingerprint: str = ""
    address: str = field(default="", eq=False)


LOCAL: Final = Identity("local")
"""The identity of a program that embeds kdm as a library and has no callers of its own to tell apart."""


class Verb(enum.StrEnum):
    """What can be done through kdm."""

    READ = "read"
    SCALE = "scale"
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
        outcome: How it ended.
        reason: Why, for a person; "" on success.
        latency_s: How long it took, in seconds.
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
