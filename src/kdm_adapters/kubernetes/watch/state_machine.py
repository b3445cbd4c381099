"""The state of one source's watch: a machine that decides to list, watch, wait and publish, and does no I/O.

The reflector asks :meth:`WatchState.next_action`, performs it, and reports the outcome to :meth:`WatchState.apply`.
While :attr:`WatchState.unproven` is not empty, it also asks the cluster for its newest version and reports that to
:meth:`WatchState.newest`. Times are passed in, in seconds on any monotonic clock.

What follows what is a table, :mod:`kdm_adapters.kubernetes.watch.rules`. This module recognises the situations and
does what the rows say; everything that affects the state is here.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from random import Random
from typing import Generic, Literal

from kdm_adapters.cache.own_writes import Before
from kdm_adapters.cache.published import Published
from kdm_adapters.cache.store import ObjectStore
from kdm_adapters.cache.watched import W
from kdm_adapters.kubernetes.api.resources import DEPLOYMENTS, Resource
from kdm_adapters.kubernetes.watch.actions import Action, Ended, ListPage, Message, Opened, TimeUp, WatchList
from kdm_adapters.kubernetes.watch.health import Health
from kdm_adapters.kubernetes.watch.history import History
from kdm_adapters.kubernetes.watch.plan import Plan
from kdm_adapters.kubernetes.watch.rules import Phase, Situation
from kdm_adapters.kubernetes.watch.staging import Staging
from kdm_adapters.kubernetes.watch.tuning import Tuning
from kdm_adapters.kubernetes.wire.messages import Bookmark, Event, Failure, Page, Undecodable
from kdm_core.model import DeploymentRef, SourceStatus, Trouble
from kdm_core.ports import WatchInstrument
from kdm_core.versions import older

_log = logging.getLogger(__name__)


class WatchState(Generic[W]):
    """What is known of the objects of one source (a namespace, or all of them), and what to do next.

    Args:
        store: Where complete states are published. Sources share one.
        namespace: The namespace, or None for all of them.
        resource: Which kind of objects.
        tuning: The numbers.
        instrument: Counts what happens.
        rng: For jitter.
        on_synced: Called when the first complete state is published.

    Attributes:
        published: What is shown to readers.
        history: How far the source has come.
    """

    def __init__(
        self,
        store: ObjectStore[W],
        namespace: str | None = None,
        *,
        resource: Resource = DEPLOYMENTS,
        tuning: Tuning | None = None,
        instrument: WatchInstrument | None = None,
        rng: Random | None = None,
        on_synced: Callable[[], None] = lambda: None,
    ) -> None:
        self.namespace = namespace
        self.resource = resource
        self.source = resource.source(namespace)
        self._store = store
        self.published = Published(store, namespace)
        self._tuning = tuning or Tuning()
        self._instrument = instrument or WatchInstrument()
        self._on_synced = on_synced
        self._health = Health()
        self._plan = Plan(self.source, store, self._tuning, self._instrument, rng or Random())  # noqa: S311 - jitter
        self.history = History(self.source, self._plan, self._health)
        self._start("initial", "the first list has not been read yet")

    # What to do

    def next_action(self, now: float) -> Action:
        """Return what to do next. Unless that is to wait, it has begun: report what happens to ``apply``."""
        action = self._plan.next_action(self.history.resource_version, now)
        if isinstance(action, WatchList) or (isinstance(action, ListPage) and not action.continue_token):
            self.published.list_begins(newest=not action.resource_version)
        return action

    @property
    def streaming(self) -> bool:
        """Whether the request under way is still wanted. If not, drop it and ask for the next action."""
        return self._plan.request.wanted

    @property
    def deadline(self) -> float:
        """When to apply ``TimeUp`` to the request under way, unless something happens before."""
        return self._plan.deadline

    def heard(self, now: float) -> None:
        """Note that bytes arrived, whether or not they complete a message."""
        self._plan.request.heard_at = now

    # What is known

    @property
    def synced(self) -> bool:
        """Whether a complete state is published."""
        return self._health.synced

    @property
    def connected(self) -> bool:
        """Whether a watch is open that is known to follow what is published."""
        return self._health.connected

    @property
    def resource_version(self) -> str:
        """The newest version seen, "" before the first."""
        return self.history.resource_version

    @property
    def unproven(self) -> str:
        """The version that the open watch was resumed from, while it is not known to be the cluster's past; or ""."""
        return self.history.unproven

    def status(self, now: float, stale_after_s: float = math.inf) -> SourceStatus:
        """Return how far this source can be trusted.

        Args:
            now: Seconds on the watch's clock.
            stale_after_s: Past which age it is stale, in seconds.
        """
        return self._health.status(self.source, self.history.resource_version, now, stale_after_s)

    # What is reported from outside of the request under way

    def newest(self, resource_version: str, unproven: str, now: float) -> None:
        """Take in the cluster's newest version.

        Args:
            resource_version: The version, by a consistent read.
            unproven: What ``unproven`` was before that read was sent.
            now: Seconds on the watch's clock.
        """
        self.history.newest(resource_version, unproven, now)

    def newest_unknown(self, why: str) -> None:
        """Note that the newest version cannot be read. Until it can, the watch is not known to be any good."""
        self.history.newest_unknown(why)

    def before(self, ref: DeploymentRef) -> Before:
        """Return what is known before a request is sent that concerns a Deployment. Pass it on with the answer."""
        return self.published.before(ref.namespace, ref.name, self.history.resource_version)

    def overlay(self, written: W, before: Before, now: float) -> None:
        """Show a write's result at once, before the watch brings it.

        It stays until the source brings a version at least as new: neither an event still in flight nor an older list
        takes it back. It is ignored where the source has brought as much already, including the Deployment's deletion.

        Args:
            written: The Deployment as the cluster's answer to the write described it.
            before: What was known when the write was sent.
            now: Seconds on the watch's clock.
        """
        if not self.published.write(written, before, self.history.resource_version):
            self.history.went_back(f"a write was answered with resourceVersion {written.resource_version}", now)

    def looked_up(self, found: W, before: Before, now: float) -> None:
        """Take note of a Deployment that the cluster has and that was not held. It may be new, or have been missed.

        Args:
            found: As the cluster described it, in a consistent read.
            before: What was known when it was asked for.
            now: Seconds on the watch's clock.
        """
        if before.contradicts(found.resource_version):
            self._plan.follow(Situation.MISSED, now)

    def reset(self) -> None:
        """Forget everything, as at the start: from now on the requests go to another cluster.

        Followers see what was held disappear. A request under way is dropped, and so is the answer to a write that was
        sent before.
        """
        self.published.clear()
        self._health.reset()
        self._plan.reset()
        self.history.resource_version = ""
        self._start("reset", f"the cluster's address has changed, its {self.resource.plural} have not been read yet")

    def stop(self) -> None:
        """Note that nobody performs the actions any more."""
        self._plan.request.wanted = False
        self._health.disconnect("stopped", Trouble.STOPPED)

    def _start(self, reason: str, problem: str) -> None:
        self._health.explain(problem, Trouble.NOT_READ)
        self._plan.follow(Situation.START, -math.inf, reason=reason)

    # What comes of the request under way

    def apply(self, message: Message[W], now: float) -> None:
        """Take in what came of the action under way. What arrives for one that is not wanted any more is dropped."""
        if not self._plan.request.wanted:
            return
        match message:
            case Event():
                self._on_event(message, now)
            case Bookmark():
                self._on_bookmark(message, now)
            case Page():
                self._on_page(message, now)
            case Undecodable():
                self._on_undecodable(message, now)
            case Opened():
                self._on_opened(now)
            case Failure():
                self._on_failure(message, self._plan.refused(message, progress=self.history.progress), now)
            case Ended():
                self._on_ended(message, now)
            case TimeUp():
                self._on_time_up(now)

    def _on_opened(self, now: float) -> None:
        self._plan.answered(now)
        if self._plan.phase is Phase.WATCH:
            self._health.freshness.following(now)
            if not self._plan.request.unproven:
                self.history.prove()
            elif not self.connected:
                self._health.explain("the watch is open, but may be ahead of the cluster", Trouble.INTERRUPTED)

    def _on_event(self, event: Event[W], now: float) -> None:
        self._count(event.kind)
        deployment, staging = event.deployment, self._plan.listing.staging
        if staging is not None:
            if staging.take(event.kind, deployment):
                self._plan.patience.added(now)
        elif self.history.fits(deployment.resource_version, now):
            if not self.published.event(event.kind, deployment):
                self._plan.follow(Situation.MISSED, now)
            self.history.advance(deployment.resource_version, initial=event.kind == "ADDED")

    def _on_bookmark(self, bookmark: Bookmark, now: float) -> None:
        self._count("BOOKMARK")
        if self._plan.listing.staging is None:
            if self.history.fits(bookmark.resource_version, now):
                self.history.advance(bookmark.resource_version)
        elif bookmark.initial_events_end and self._publish(bookmark.resource_version, now):
            self._health.freshness.following(now)
            self._health.connect()

    def _on_undecodable(self, undecodable: Undecodable, now: float) -> None:
        self._plan.request.events += 1
        self._report_undecodable((undecodable,))
        if self._plan.listing.staging is not None:
            self._plan.listing.staging.keep((undecodable,))
            return
        self._plan.follow(Situation.UNDECODABLE, now)
        if undecodable.resource_version and self.history.fits(undecodable.resource_version, now):
            self.history.advance(undecodable.resource_version)

    def _on_page(self, page: Page[W], now: float) -> None:
        self._report_undecodable(page.undecodable)
        self._plan.listing.take(page)
        if page.last and page.continue_token:
            self._plan.follow(Situation.PAGE_READ, now)
        elif page.last:
            self._publish(self._plan.listing.resource_version, now)

    def _on_failure(self, failure: Failure, situation: Situation, now: float) -> None:
        self._interrupted(now)
        self._health.fail(failure)
        if self._plan.phase is Phase.WATCH_LIST and situation in {Situation.FAILED, Situation.BOOKMARK_MISSING}:
            _log.info("%s: no watch-list, listing instead: %s", self.source, failure.message)
        self._plan.follow(situation, now, at_least_s=failure.retry_after_s)

    def _on_ended(self, ended: Ended, now: float) -> None:
        if self._plan.phase is not Phase.WATCH:
            problem = ended.detail or "the answer ended before the state was complete"
            self._on_failure(Failure(200, "Ended", problem), Situation.FAILED, now)
            return
        self._interrupted(now)
        early = self._plan.request.short(now)
        if early and not self._plan.request.events:
            self._health.disconnect("the watch ended at once, without an event", Trouble.INTERRUPTED)
            situation = Situation.ENDED_AT_ONCE
        elif ended.detail:
            self._health.disconnect(ended.detail, Trouble.INTERRUPTED)
            situation = Situation.BROKEN_EARLY if early else Situation.BROKEN
        else:
            situation = Situation.ENDED_EARLY if early else Situation.ENDED
        self._plan.follow(situation, now)

    def _on_time_up(self, now: float) -> None:
        if now < self.deadline:
            return
        phase, silence_s = self._plan.phase, self._tuning.silence_s
        if phase is Phase.WATCH_LIST and now >= self._plan.patience.ends_at:
            self._plan.pause_watch_lists(now)
            failure = Failure(200, "Deadline", "the bookmark that ends the state did not come")
            self._on_failure(failure, Situation.BOOKMARK_MISSING, now)
        elif phase is not Phase.WATCH:
            self._on_failure(Failure(0, "Silent", f"no answer for {silence_s:.0f} s"), self._plan.silence(), now)
        elif now >= self._plan.schedule.due_at:
            self._interrupted(now)
            self._plan.follow(Situation.RELIST_DUE, now, reason=self._plan.schedule.reason)
        else:
            self._interrupted(now)
            self._health.disconnect(f"no sign of life for {silence_s:.0f} s", Trouble.UNREACHABLE)
            self._plan.follow(self._plan.silence(), now)

    # How

    def _count(self, kind: str) -> None:
        self._plan.request.events += 1
        self._instrument.watch_event(self.source, kind)

    def _interrupted(self, now: float) -> None:
        if self._health.freshness.interrupted(now):
            self._plan.served()

    def _publish(self, resource_version: str, now: float) -> bool:
        """Make the staged state the published one. Returns False where it is older than what was asked for."""
        listing = self._plan.listing
        mode: Literal["list", "watch-list"] = "list" if self._plan.phase is Phase.LIST else "watch-list"
        if older(resource_version, self.history.resource_version):
            if listing.asked:
                self._plan.follow(Situation.STATE_OLDER, now)
                return False
            _log.warning("%s: the state went back from %s to %s", self.source, self.resource_version, resource_version)
        staging = listing.staging or Staging(self._store)
        self.published.replace(staging.objects, resource_version)
        self.history.published(resource_version)
        self._instrument.listed(self.source, mode, listing.reason, listing.finish(now))
        self._health.freshness.proven(now)
        self._plan.schedule.done()
        self._plan.follow(Situation.STATE_READ, now)
        if staging.poisoned:
            self._plan.follow(Situation.UNDECODABLE, now)
        self._health.explain("the watch is not open yet", Trouble.INTERRUPTED)
        if not self.synced:
            self._health.synced = True
            self._on_synced()
        return True

    def _report_undecodable(self, undecodable: Iterable[Undecodable]) -> None:
        for each in undecodable:
            self._instrument.event_undecodable(self.source)
            _log.warning("%s: left out what could not be decoded: %s %s", self.source, self.resource.kind, each)
