"""The use cases: read, follow and change replica counts, within bounds and policy, leaving an audit trail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

from kdm_core.errors import Forbidden
from kdm_core.model import (
    ALL_NAMESPACES,
    LOCAL,
    Caller,
    DeploymentChange,
    DeploymentRef,
    SyncStatus,
    Verb,
)
from kdm_core.names import check_namespace, check_replicas
from kdm_core.policy import ALLOW_ALL, Policy
from kdm_core.ports import Announcer, AuditSink, DeploymentRepository, ParkingLot, ServiceInstrument
from kdm_core.queries import Page, Query
from kdm_core.scaling import ANY, Change, Expect, Scaled
from kdm_core.service.batch import Hands
from kdm_core.service.bulk import Batches, Bulks
from kdm_core.service.contention import CONTENTION_TIMEOUT_S, Contention
from kdm_core.service.following import Followers, UnfilteredFeed
from kdm_core.service.health import Health, SharedProbe
from kdm_core.service.history import Histories, OwnChanges
from kdm_core.service.listing import page_of
from kdm_core.service.look_up import LookUp
from kdm_core.service.parker import Parker
from kdm_core.service.parking import Parks
from kdm_core.service.permission import Permission
from kdm_core.service.recording import Recorder
from kdm_core.service.repeating import Repeats
from kdm_core.service.rollouts import Rollouts
from kdm_core.service.waits import Waits
from kdm_core.service.writing import Condition, Write, Writer
from kdm_core.timers import CallLater, call_later
from kdm_core.tracking import ChangeTracker

DEFAULT_MAX_REPLICAS: Final = 1000
"""The largest count a caller may ask for unless configured otherwise: guards against typos."""

_READ: Final = Verb.READ
_ALL: Final = Query()


class DeploymentService(LookUp, Histories, Bulks, Parks, Waits):
    """What callers may ask of kdm. One instance serves every caller; use it on its repository's event loop.

    Reads are synchronous and answered from memory.

    Args:
        repository: Where Deployments live. The service neither starts nor stops it.
        policy: Who may do what; may be replaced at any time through the attribute. By default everybody may do all.
        audit: Where write attempts and refused accesses are recorded; None for nowhere.
        instrument: Counts what is served.
        namespace: What a name without a namespace means: one in this namespace, or "*" for whichever has one.
        max_replicas: The largest count that may be asked for, inclusive.
        contention_timeout_s: How long a relative change tries to get its turn against others, in seconds.
        parking: Where the counts of parked Deployments are remembered; None where nothing is parked. The service
            neither starts nor stops it.
        sees_all: Whether a Deployment that the repository does not have does not exist, so that what is remembered of
            it can be forgotten. It is not so where the repository has only those of a selector.
        tracker: Keeps the history of who changed what; None for none.
        announcer: Announces each change that was made through this service, where a history is kept; None for nobody.
        clock: Monotonic seconds, for latencies, the age of a probe and the time a relative change has.
        sleep: Waits so many seconds.
        call_later: Calls a function after so many seconds: for the deadlines of waits.

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
        instrument: ServiceInstrument | None = None,
        namespace: str = ALL_NAMESPACES,
        max_replicas: int = DEFAULT_MAX_REPLICAS,
        contention_timeout_s: float = CONTENTION_TIMEOUT_S,
        parking: ParkingLot | None = None,
        sees_all: bool = True,
        tracker: ChangeTracker | None = None,
        announcer: Announcer | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        call_later: CallLater = call_later,
    ) -> None:
        self._repository = repository
        self._instrument = instrument or ServiceInstrument()
        self._namespace = namespace if namespace == ALL_NAMESPACES else check_namespace(namespace)
        self._max_replicas = check_replicas(max_replicas)
        self._permission = Permission(repository, policy)
        self._recorder = Recorder(audit, self._instrument, clock)
        contention = Contention(contention_timeout_s, clock, sleep)
        self._writer = Writer(
            repository,
            self._permission,
            self._recorder,
            max_replicas=self._max_replicas,
            contention=contention,
            tracker=tracker,
        )
        self._lot = parking
        self._sees_all = sees_all
        self._parker = None
        if parking is not None:
            self._parker = Parker(
                repository,
                parking,
                self._permission,
                self._recorder,
                max_replicas=self._max_replicas,
                sees_all=sees_all,
                contention=contention,
                tracker=tracker,
            )
            parking.on_change = self._show
        self._tracker = tracker
        if tracker is not None:
            tracker.on_own = OwnChanges(repository, announcer)
        self._synced_at = {}
        self._followers = Followers(UnfilteredFeed(repository, lambda: self._permission.policy))
        self._rollouts = Rollouts(repository, self._permission, clock, call_later)
        hands = Hands(self._writer, self._recorder, self._instrument, clock, self.rollout, self._parker)
        self._batches = Batches(
            repository, self._permission, hands, max_replicas=self._max_replicas, lot=parking, sees_all=sees_all
        )
        self._probe = SharedProbe(repository, clock)
        self.gives_again = Repeats(repository, self._permission, self._instrument).give_again

    @property
    def policy(self) -> Policy:
        """Who may do what. Replace it on the event loop's thread: it holds from the next request and change on."""
        return self._permission.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._permission.policy = policy
        self._followers.policy_changed()
        self._rollouts.policy_changed()

    @property
    def namespace(self) -> str:
        """What a name without a namespace means: one in this namespace, or "*" for whichever has one."""
        return self._namespace

    @property
    def max_replicas(self) -> int:
        """The largest count that may be asked for, inclusive."""
        return self._max_replicas

    def list(self, query: Query = _ALL, caller: Caller = LOCAL) -> Page:
        """Return the Deployments the caller may read and asks for, from memory.

        Args:
            query: What is asked for.
            caller: Who asks.

        Returns:
            A page of them, ordered by namespace, then name.

        Raises:
            InvalidName: No namespace can be called that.
            NamespaceNotWatched: It lies outside the watched ones.
            Forbidden: The policy lets the caller read nothing at all there.
            CacheNotSynced, CacheStale: The repository cannot answer now.
        """
        where = query.namespace
        policy, identity = self._permission.policy, caller.identity
        unrestricted = policy.unrestricted(identity, where)
        if not unrestricted:
            self._check_list(query, caller)
        elif where != ALL_NAMESPACES:
            check_namespace(where)
        deployments = self._repository.list(where)
        self._instrument.read_served("list")
        if unrestricted and query.plain:
            return Page(deployments, whole=True)
        return page_of(deployments, query, policy, identity, unrestricted=unrestricted)

    async def set_replicas(
        self,
        ref: DeploymentRef,
        change: Change,
        *,
        caller: Caller = LOCAL,
        expect: Expect = ANY,
        dry_run: bool = False,
        condition: Condition | None = None,
        exactly: bool = False,
        reason: str = "",
        override: bool = False,
        heed_owners: bool = True,
    ) -> Scaled:
        """Ask for another number of replicas. Leaves one audit event, whatever comes of it.

        The policy and the bounds judge the result. A relative change is written by compare-and-set, and tried again for
        a while where others change the count at the same time: none is lost.

        Args:
            ref: Which Deployment.
            change: ``SetTo`` or ``ScaleBy``.
            caller: Who asks.
            expect: What the Deployment must be like. The cluster judges it.
            dry_run: Whether only to try: everything is judged, by the cluster too, and nothing is stored.
            condition: Called with the Deployment, as the cache knows it, once the caller may write it; raises
                ``PreconditionFailed`` where it must not be written. None for no condition.
            exactly: Whether the Deployment must still have the uid and the count that ``condition`` judged when the
                cluster stores the write, as it must for a relative change. What fails there is judged again.
            reason: Why, in the caller's own words: one line of at most 256 characters, for the audit trail.
            override: Whether to write although something else will change the count back. The policy has to allow it.
            heed_owners: Whether to look at who else changes the count at all.

        Returns:
            What came of it. A read that follows shows it, except for a dry run.

        Raises:
            InvalidName, InvalidReplicas, InvalidChange: A value that can never be right.
            DeploymentNotFound: There is none.
            Forbidden: The policy does not let the caller scale it, or not to that count (``ReasonRequired``: or not
                without a reason; ``OverrideForbidden``: or not by overriding an owner).
            OwnerConflict: Something else would change it back; nothing was written.
            OutOfBounds: A relative change leads out of its bounds.
            PreconditionFailed: ``condition`` is not met; nothing was written.
            WriteConflict: It is not as expected; nothing was written.
            Contended: Others changed the count all the time; nothing was written.
            AuditUnavailable: The attempt could not be recorded; unless it says ``written``, nothing was.
            WriteRejected: The cluster refused; nothing was written.
            Unavailable: The cluster or the cache could not serve; its ``written`` says what is known.
        """
        write = Write(ref, change, caller, expect, dry_run, condition, reason, exactly, override, heed_owners)
        return await self._writer.write(write)

    def changes(self, query: Query = _ALL, caller: Caller = LOCAL) -> AsyncGenerator[DeploymentChange, None]:
        """Follow what happens to the Deployments the caller may read and asks for.

        As :meth:`kdm_core.ports.DeploymentFeed.changes`, but a Deployment that comes into view, because of its labels
        or a new policy, is ``ADDED``, and one that goes out of view is ``DELETED``, as it was last seen.

        Args:
            query: What to follow; its ``limit`` and ``after`` have no meaning here.
            caller: Who asks. The policy of each moment counts.

        Raises:
            InvalidName: No namespace can be called that.
            NamespaceNotWatched: It lies outside the watched ones.
            Forbidden: The policy lets the caller read nothing at all there.
        """
        self._check_list(query, caller)
        return self._followers.follow(query, caller.identity)

    @property
    def feed(self) -> UnfilteredFeed:
        """Everything that happens, whoever may see it: for what follows once and passes it on to many callers."""
        return self._followers.feed

    def sync_status(self) -> SyncStatus:
        """Return how far reads can be trusted at this moment. Never raises, never waits."""
        return self._repository.sync_status()

    async def health(self) -> Health:
        """Return whether kdm can do its job: the cache complete, connected and fresh, and the cluster reachable.

        Asks the cluster, but at most once a second however many ask for health.
        """
        sync = self.sync_status()
        if not sync.healthy:
            return Health(sync.reason or "the cache is not in sync with the cluster", sync)
        return Health(await self._probe.error(), sync)

    def _check_list(self, query: Query, caller: Caller) -> None:
        try:
            self._permission.check_list(caller.identity, query.namespace)
        except Forbidden as error:
            self._recorder.refusal(error, caller, query.namespace)
            raise
