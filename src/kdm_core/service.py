"""The use cases: read and change replica counts, within bounds and policy, leaving an audit trail."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from attrs import frozen

from kdm_core.errors import (
    AmbiguousName,
    AuditUnavailable,
    DeploymentNotFound,
    Forbidden,
    KdmError,
    NamespaceNotWatched,
    Unavailable,
    WriteForbidden,
)
from kdm_core.model import (
    LOCAL,
    MAX_REPLICAS,
    AuditEvent,
    Deployment,
    DeploymentRef,
    Identity,
    Outcome,
    SyncStatus,
    Verb,
    check_name,
    check_namespace,
    check_replicas,
)
from kdm_core.policy import ALLOW_ALL, Policy
from kdm_core.ports import AuditSink, DeploymentRepository, Instrument
from kdm_core.trail import to_line

_log = logging.getLogger(__name__)

ALL_NAMESPACES: Final = "*"
"""As a namespace: every watched one."""

_READ: Final = Verb.READ

DEFAULT_MAX_REPLICAS: Final = 1000
"""The largest count a caller may ask for unless configured otherwise: a typing error should not buy a data centre."""

PROBE_MAX_AGE_S: Final = 1.0
"""A health answer may rest on a probe of the cluster this old, in seconds: health checks must not become a load."""


@frozen
class Health:
    """Whether kdm can do its job at this moment. ``error`` says why not, for a person; None when it can."""

    error: str | None
    sync: SyncStatus

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return self.error is None


class DeploymentService:
    """What callers may ask of kdm. One instance serves every caller; use it on its repository's event loop.

    Args:
        repository: Where Deployments live. The service neither starts nor stops it.
        policy: Who may do what; may be swapped at any time through the attribute. By default any actor may do all.
        audit: Where write attempts and refused accesses are recorded; None for nowhere.
        instrument: Told what is served.
        namespace: What a call that names no namespace means: one namespace, or "*" for every watched one.
        max_replicas: The largest count that may be asked for, inclusive.
        clock: Monotonic seconds, for latencies and the age of a probe.

    Raises:
        InvalidName: ``namespace`` is no namespace.
        InvalidReplicas: ``max_replicas`` is no count.
    """

    def __init__(
        self,
        repository: DeploymentRepository,
        *,
        policy: Policy = ALLOW_ALL,
        audit: AuditSink | None = None,
        instrument: Instrument | None = None,
        namespace: str = ALL_NAMESPACES,
        max_replicas: int = DEFAULT_MAX_REPLICAS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.policy = policy
        self._repository = repository
        self._audit = audit
        self._instrument = instrument or Instrument()
        self._namespace = namespace if namespace == ALL_NAMESPACES else check_namespace(namespace)
        self._max_replicas = check_replicas(max_replicas)
        self._clock = clock
        self._probe = _SharedProbe(repository, clock)

    @property
    def max_replicas(self) -> int:
        """The largest count that may be asked for, inclusive."""
        return self._max_replicas

    def get(
        self, name: str, namespace: str | None = None, *, actor: Identity = LOCAL, request_id: str = ""
    ) -> Deployment:
        """Return one Deployment, from memory.

        Args:
            name: Its name.
            namespace: Its namespace; None for the configured default, "*" for whichever has one of that name.
            actor: Who asks.
            request_id: Recorded if the access is refused.

        Returns:
            Its newest known state.

        Raises:
            InvalidName: A name no Deployment or namespace can have.
            DeploymentNotFound: There is none.
            AmbiguousName: "*", and several namespaces have one that the actor may read or scale.
            Forbidden: The policy does not let the actor read it.
            CacheNotSynced, CacheStale: The repository cannot answer now.
        """
        try:
            found = self._resolve(name, namespace, Verb.READ, actor)
        except Forbidden as error:
            self._record_refusal(error, actor, namespace, name, request_id)
            raise
        if isinstance(found, DeploymentRef):
            raise DeploymentNotFound(found)
        self._instrument.read_served("find" if self._asked(namespace) == ALL_NAMESPACES else "get")
        return found

    def peek(self, name: str, namespace: str | None = None, *, actor: Identity = LOCAL) -> Deployment | None:
        """Return what ``get`` would, where that is plain; None where it is not, without a trace: ``get`` knows why."""
        asked = self._namespace if namespace is None else namespace
        try:
            if asked == ALL_NAMESPACES:
                (found,) = self._repository.find(name)
            else:
                found = self._repository.get(DeploymentRef(asked, name))
        except (KdmError, ValueError):
            return None
        if not self.policy.allows(actor, _READ, found.ref, found.labels):
            return None
        self._instrument.read_served("find" if asked == ALL_NAMESPACES else "get")
        return found

    def list(
        self, namespace: str | None = None, *, actor: Identity = LOCAL, request_id: str = ""
    ) -> tuple[Deployment, ...]:
        """Return the Deployments the actor may read, from memory, ordered by namespace, then name.

        Args:
            namespace: The namespace to look in; None for the configured default, "*" for every watched one.
            actor: Who asks.
            request_id: Recorded if the access is refused.

        Raises:
            InvalidName: No namespace can be called that.
            NamespaceNotWatched: It lies outside the watched ones.
            Forbidden: The policy lets the actor read nothing at all there.
            CacheNotSynced, CacheStale: The repository cannot answer now.
        """
        where = self._where(namespace)
        if not self.policy.may_list(actor, where):
            error = Forbidden(actor, Verb.READ, f"namespace '{where}'" if where else "any namespace")
            self._record_refusal(error, actor, namespace, "", request_id)
            raise error
        deployments = self._repository.list(where)
        self._instrument.read_served("list")
        if self.policy.unrestricted(actor, where):
            return deployments
        return tuple(d for d in deployments if self.policy.allows(actor, Verb.READ, d.ref, d.labels))

    def peek_list(self, namespace: str | None = None, *, actor: Identity = LOCAL) -> tuple[Deployment, ...] | None:
        """Return what ``list`` would, or None where it would raise, without a trace: ``list`` knows why."""
        asked = self._asked(namespace)
        if not self.policy.may_list(actor, None if asked == ALL_NAMESPACES else asked):
            return None
        try:
            return self.list(namespace, actor=actor)
        except KdmError:
            return None

    def sees_all(self, namespace: str | None = None, *, actor: Identity = LOCAL) -> bool:
        """Return whether the policy lets the actor read every Deployment of a namespace.

        Args:
            namespace: The namespace; None for the configured default, "*" for every watched one.
            actor: Who asks.
        """
        asked = self._asked(namespace)
        return self.policy.unrestricted(actor, None if asked == ALL_NAMESPACES else asked)

    async def set_replicas(
        self,
        name: str,
        replicas: int,
        namespace: str | None = None,
        *,
        actor: Identity = LOCAL,
        request_id: str = "",
        resource_version: str | None = None,
        condition: Callable[[Deployment], None] | None = None,
    ) -> Deployment:
        """Ask for another number of replicas. Leaves one audit event, whatever comes of it.

        Args:
            name: The Deployment's name.
            replicas: How many, from 0 to ``max_replicas``.
            namespace: Its namespace; None for the configured default, "*" for whichever has one of that name.
            actor: Who asks.
            request_id: Recorded with the event.
            resource_version: Succeed only if the Deployment is still at this version; None for any.
            condition: Called with the Deployment, as the cache knows it, once the actor may write it; raises
                ``PreconditionFailed`` where it must not be written. None for no condition.

        Returns:
            The Deployment as written; a read that follows shows it.

        Raises:
            InvalidName, InvalidReplicas: A value that can never be right.
            DeploymentNotFound, AmbiguousName: As for ``get``.
            Forbidden: The policy does not let the actor scale it, or not to that count.
            PreconditionFailed: ``condition`` is not met; nothing was written.
            AuditUnavailable: The attempt could not be recorded; unless the message says otherwise, nothing was written.
            WriteRejected: The cluster refused; nothing was written.
            Unavailable: The cluster or the cache could not serve.
        """
        started = self._clock()
        old: int | None = None
        where = self._asked(namespace)
        outcome, reason = Outcome.FAILED, "cancelled: it may have been written"
        try:
            check_replicas(replicas, maximum=self._max_replicas)
            found = self._resolve(name, namespace, Verb.SCALE, actor, replicas)
            if isinstance(found, Deployment):
                ref, old = found.ref, found.replicas.desired
            else:
                ref = found  # the cache has none, but it may be behind: the cluster has the last word
            where = ref.namespace
            if condition is not None:
                _judge(condition, found)
            if self._audit is not None:
                self._audit.check()
            written = await self._repository.set_replicas(ref, replicas, resource_version=resource_version)
            outcome, reason = Outcome.SUCCESS, ""
            return written
        except KdmError as error:
            outcome, reason = _outcome(error), str(error)
            if isinstance(error, Forbidden):
                where = error.namespace or where
            raise
        except Exception as error:
            reason = f"internal error: {type(error).__name__}"
            raise
        finally:
            latency_s = self._clock() - started
            self._instrument.write(outcome.value, latency_s)
            self._record(
                AuditEvent(
                    time=datetime.now(UTC),
                    request_id=request_id,
                    actor=actor,
                    verb=Verb.SCALE,
                    namespace=where,
                    name=name,
                    old_replicas=old,
                    new_replicas=replicas if type(replicas) is int and abs(replicas) <= MAX_REPLICAS else None,
                    outcome=outcome,
                    reason=reason,
                    latency_s=latency_s,
                )
            )

    def sync_status(self) -> SyncStatus:
        """Return how far reads can be trusted at this moment. Never raises, never waits."""
        return self._repository.sync_status()

    async def health(self) -> Health:
        """Return whether kdm can do its job: the cache complete, connected and fresh, and the cluster reachable.

        Asks the cluster, but at most once a second however many ask for health.
        """
        sync = self._repository.sync_status()
        if not sync.healthy:
            return Health(sync.reason or "the cache is not in sync with the cluster", sync)
        return Health(await self._probe.error(), sync)

    def _asked(self, namespace: str | None) -> str:
        """Return the namespace a caller means, "*" for every one. It may be no valid one."""
        return self._namespace if namespace is None else namespace

    def _where(self, namespace: str | None) -> str | None:
        """Turn a caller's namespace into the repository's: None for every one."""
        asked = self._asked(namespace)
        return None if asked == ALL_NAMESPACES else check_namespace(asked)

    def _resolve(
        self, name: str, namespace: str | None, verb: Verb, actor: Identity, replicas: int | None = None
    ) -> Deployment | DeploymentRef:
        """Find the one Deployment that is meant, and check that the actor may do this to it.

        Returns:
            The Deployment; or, where a namespace was named and the cache has none there, its reference alone.
            Permission comes first: who may not touch a name does not learn whether it exists.
        """
        check_name(name)
        where = self._where(namespace)
        if where is None:
            return self._resolve_anywhere(name, verb, actor, replicas)
        ref = DeploymentRef(where, name)
        found: Deployment | None = None
        missing: DeploymentNotFound | None = None
        try:
            found = self._repository.get(ref)
        except DeploymentNotFound as error:
            missing = error
        if not self.policy.allows(actor, verb, ref, found.labels if found else {}, replicas):
            raise Forbidden(actor, verb, _target(str(ref), replicas), where)
        if isinstance(missing, NamespaceNotWatched):
            raise missing
        return found or ref

    def _resolve_anywhere(self, name: str, verb: Verb, actor: Identity, replicas: int | None) -> Deployment:
        """Do the same where no namespace is named: there must be one of that name that the actor may know of."""
        found = self._repository.find(name)
        if len(found) == 1 and self.policy.allows(actor, verb, found[0].ref, found[0].labels, replicas):
            return found[0]
        known = [each for each in found if self._knows(actor, each)]
        if len(known) > 1:
            raise AmbiguousName(name, [each.ref.namespace for each in known])
        if known:
            if not self.policy.allows(actor, verb, known[0].ref, known[0].labels, replicas):
                ref = known[0].ref
                raise Forbidden(actor, verb, _target(str(ref), replicas), ref.namespace)
            return known[0]
        if not self.policy.may_list(actor, None):
            raise Forbidden(actor, verb, _target(name, replicas))
        raise DeploymentNotFound(name)

    def _knows(self, actor: Identity, deployment: Deployment) -> bool:
        """Whether the actor may know of it: may read it, or scale it to some count."""
        ref, labels = deployment.ref, deployment.labels
        return any(self.policy.allows(actor, verb, ref, labels) for verb in (Verb.READ, Verb.SCALE))

    def _record_refusal(
        self, error: Forbidden, actor: Identity, namespace: str | None, name: str, request_id: str
    ) -> None:
        self._record(
            AuditEvent(
                time=datetime.now(UTC),
                request_id=request_id,
                actor=actor,
                verb=Verb.READ,
                namespace=error.namespace or self._asked(namespace),
                name=name,
                outcome=Outcome.DENIED,
                reason=str(error),
            )
        )

    def _record(self, event: AuditEvent) -> None:
        if self._audit is None:
            return
        try:
            self._audit.record(event)
        except AuditUnavailable as error:
            _log.error("an audit event was lost: %s: %s", error, to_line(event).decode().rstrip())
            if event.outcome is Outcome.SUCCESS:
                raise AuditUnavailable(f"the write was done, but not recorded: {error}") from error


def _judge(condition: Callable[[Deployment], None], found: Deployment | DeploymentRef) -> None:
    if isinstance(found, DeploymentRef):
        raise DeploymentNotFound(found)  # the cluster may have it, but there is nothing to judge the condition by
    condition(found)


def _outcome(error: KdmError) -> Outcome:
    if isinstance(error, Forbidden):
        return Outcome.DENIED
    return Outcome.FAILED if isinstance(error, Unavailable | WriteForbidden) else Outcome.REJECTED


def _target(name: str, replicas: int | None) -> str:
    return f"Deployment '{name}'" + ("" if replicas is None else f" to {replicas} replicas")


class _SharedProbe:
    """Asks the cluster at most once a ``PROBE_MAX_AGE_S``, however many want to know."""

    def __init__(self, repository: DeploymentRepository, clock: Callable[[], float]) -> None:
        self._repository = repository
        self._clock = clock
        self._asked_at = -math.inf
        self._task: asyncio.Task[str | None] | None = None

    async def error(self) -> str | None:
        now = self._clock()
        if self._task is None or (self._task.done() and now - self._asked_at > PROBE_MAX_AGE_S):
            self._asked_at = now
            self._task = asyncio.create_task(self._ask(), name="kdm-probe")
        task = self._task
        await asyncio.wait({task})  # a caller that gives up must not take the answer from the others
        if task.cancelled():
            if self._task is task:
                self._task = None  # the next one asks again
            return "the probe of the cluster was cancelled"
        return task.result()

    async def _ask(self) -> str | None:
        try:
            await self._repository.probe()
        except Unavailable as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - a defect there is no reason to fail whoever asks
            _log.exception("the probe of the cluster failed")
            return f"the probe of the cluster failed: {type(error).__name__}"
        return None
