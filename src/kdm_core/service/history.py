"""The use cases of history: who changed which count, as far as this process has seen it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import islice

from attrs import evolve

from kdm_core.errors import DeploymentNotFound, Forbidden, InvalidInput, NotSeenYet
from kdm_core.history import ChangePage, CountChange, HistoryQuery
from kdm_core.model import ALL_NAMESPACES, LOCAL, Caller, Deployment, DeploymentRef, Identity, Trouble, Verb
from kdm_core.ports import Announcer, DeploymentRepository
from kdm_core.scaling import Expect
from kdm_core.service.permission import Permission
from kdm_core.service.recording import Recorder
from kdm_core.tracking import ChangeTracker
from kdm_core.tracks import Track


class OwnChanges:
    """Shows with a Deployment who had kdm change its count, and has it announced.

    Args:
        repository: Shows it.
        announcer: Announces it; None for nobody.
    """

    def __init__(self, repository: DeploymentRepository, announcer: Announcer | None) -> None:
        self._repository = repository
        self._announcer = announcer

    def __call__(self, change: CountChange, after: Deployment) -> None:
        """Take note of a change that was made.

        Args:
            change: The change.
            after: The Deployment after it.
        """
        self._repository.annotate_change(after, change.actor, change.reason)
        if self._announcer is not None:
            self._announcer.announce(change)


async def sent(
    repository: DeploymentRepository,
    tracker: ChangeTracker | None,
    ref: DeploymentRef,
    replicas: int,
    *,
    expect: Expect,
    dry_run: bool,
    caller: Caller,
    reason: str,
    batch: str,
    previous: int | None,
    override: bool = False,
) -> Deployment:
    """Have a repository store a count, and a tracker take note of what comes of it. See ``set_replicas`` of the port.

    Args:
        repository: Stores it.
        tracker: Takes note; None for nobody.
        ref: Of which Deployment.
        replicas: The count.
        expect: What the Deployment must be like.
        dry_run: Whether only to try.
        caller: For whom.
        reason: Why.
        batch: Of which batch; "" of none.
        previous: The count before, as far as it is known.
        override: Whether owners are overridden that would change it back.
    """
    if override:
        expect = evolve(expect, override=True)
    if tracker is None or dry_run:
        return await repository.set_replicas(ref, replicas, expect=expect, dry_run=dry_run)
    exact = expect.replicas is not None
    with tracker.sending(ref, replicas, caller, reason=reason, batch=batch) as own:
        written = await repository.set_replicas(ref, replicas, expect=expect)
        tracker.answered(own, written, expect.replicas if exact else previous, exact=exact)
        return written


class Histories:
    """A part of the service, which sets what it needs."""

    _repository: DeploymentRepository
    _permission: Permission
    _recorder: Recorder
    _tracker: ChangeTracker | None
    _synced_at: dict[str, int]

    @property
    def keeps_history(self) -> bool:
        """Whether changes are remembered."""
        return self._tracker is not None

    @asynccontextmanager
    async def remembering(self) -> AsyncIterator[None]:
        """Remember the changes that happen until this is left. Entered once, after the repository."""
        tracker = self._tracker
        if tracker is None:
            yield
            return
        end = self._repository.follow_all(tracker.observe)
        status = self._repository.sync_status()
        sources = [each.source for each in status.sources] or [ALL_NAMESPACES]
        tasks = [asyncio.create_task(self._note_sync(each), name=f"kdm-history-{each}") for each in sources]
        try:
            yield
        finally:
            end()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def history(
        self, ref: DeploymentRef, caller: Caller = LOCAL, *, since: int | None = None, limit: int | None = None
    ) -> ChangePage:
        """Return who changed the count of a Deployment, the newest change first.

        Those of objects that had the name before are among them, each with its uid, as long as they are remembered.

        Args:
            ref: Which Deployment. It may be deleted.
            caller: Who asks.
            since: Only changes from this time on, in seconds since 1970.
            limit: At most how many; None for all that are remembered.

        Returns:
            The changes. They show each own write at once; what else happened, when the cluster has delivered it.

        Raises:
            InvalidInput: No history is kept.
            InvalidQuery: ``limit`` is not positive.
            InvalidName: A name no Deployment or namespace can have.
            DeploymentNotFound: There is none, and none is remembered.
            Forbidden: The policy does not let the caller read it; one that was deleted counts by its last labels.
            CacheNotSynced, CacheStale: The repository cannot answer now.
        """
        query = HistoryQuery(ref.namespace, since=since, limit=limit)
        tracks = [each for each in self._tracking().of(ref) if self._may_read(caller.identity, each)]
        try:
            known = self._permission.known(ref, Verb.READ, caller.identity)
        except Forbidden as error:
            if not tracks:
                self._recorder.refusal(error, caller, ref.namespace, ref.name)
                raise
        else:
            if known is None and not tracks:
                raise DeploymentNotFound(ref)
        changes = (change for track in tracks for change in track.newest_first())
        found = (each for each in changes if since is None or each.at >= since)
        return ChangePage(tuple(islice(found, query.limit)), self._since(ref.namespace))

    def recent_changes(self, query: HistoryQuery, caller: Caller = LOCAL) -> ChangePage:
        """Return who changed which counts, the newest change first, of all Deployments that the caller may read.

        Args:
            query: What is asked for.
            caller: Who asks.

        Returns:
            A page of them. Own writes that the cluster has not delivered yet are on the first.

        Raises:
            InvalidInput: No history is kept.
            InvalidName: No namespace can be called that.
            NamespaceNotWatched: It lies outside the watched ones.
            Forbidden: The policy lets the caller read nothing at all there.
            CacheNotSynced, CacheStale: The repository cannot answer now.
        """
        tracker = self._tracking()
        try:
            self._permission.check_list(caller.identity, query.namespace)
        except Forbidden as error:
            self._recorder.refusal(error, caller, query.namespace)
            raise
        self._repository.list(query.namespace)
        shown: dict[Track, bool] = {}
        found: list[CountChange] = []
        for track, change in _all_changes(tracker, query.before):
            if query.since is not None and change.at < query.since:
                continue
            show = shown.get(track)
            if show is None:
                show = shown[track] = self._is_asked_for(query, track) and self._may_read(caller.identity, track)
            if not show:
                continue
            if query.limit is not None and len(found) >= query.limit and change.number:
                # Those without a number, which the cluster has not delivered yet, are all on the first page.
                return ChangePage(tuple(found), self._since(query.namespace), change.number + 1)
            found.append(change)
        return ChangePage(tuple(found), self._since(query.namespace))

    def _tracking(self) -> ChangeTracker:
        if self._tracker is None:
            raise InvalidInput("this kdm keeps no history")
        return self._tracker

    def _may_read(self, identity: Identity, track: Track) -> bool:
        return self._permission.policy.allows(identity, Verb.READ, track.ref, track.labels)

    def _is_asked_for(self, query: HistoryQuery, track: Track) -> bool:
        return query.namespace in {ALL_NAMESPACES, track.ref.namespace} and query.selector.matches(track.labels)

    def _since(self, namespace: str) -> int | None:
        """Return from when on changes in a namespace were seen, or in all of them."""
        status = self._repository.sync_status()
        if namespace != ALL_NAMESPACES:
            return self._synced_at.get(status.of(namespace).source, self._synced_at.get(ALL_NAMESPACES))
        sources = [each.source for each in status.sources] or [ALL_NAMESPACES]
        if any(each not in self._synced_at for each in sources):
            return None
        return max(self._synced_at[each] for each in sources)

    async def _note_sync(self, source: str) -> None:
        """Take note of when a source was seen whole for the first time."""
        while True:
            try:
                await self._repository.wait_seen(source, "0", 3600)
            except NotSeenYet:
                if self._repository.sync_status().of(source).trouble is Trouble.STOPPED:
                    return
            else:
                self._synced_at[source] = int(time.time())
                return


def _all_changes(tracker: ChangeTracker, before: int | None) -> Iterator[tuple[Track, CountChange]]:
    if before is None:
        unconfirmed = [(change, track) for track in tracker.unconfirmed() for change in track.unconfirmed()]
        for change, track in sorted(unconfirmed, key=lambda each: each[0].at, reverse=True):
            yield track, change
    for ring, change in tracker.log.newest(before):
        assert isinstance(ring, Track)  # noqa: S101 - there are no others
        yield ring, change
