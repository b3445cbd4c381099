"""Which request comes next and when, by the rules: the part of a watch's state that obeys the table."""

from __future__ import annotations

import math
from random import Random
from typing import Final, Generic

from kdm_adapters.cache.backoff import Backoff
from kdm_adapters.cache.store import ObjectStore
from kdm_adapters.cache.watched import W
from kdm_adapters.kubernetes.watch.actions import Action, ListPage, Wait, WatchFrom, WatchList
from kdm_adapters.kubernetes.watch.listing import Listing
from kdm_adapters.kubernetes.watch.patience import Patience
from kdm_adapters.kubernetes.watch.relist_schedule import RelistSchedule
from kdm_adapters.kubernetes.watch.request import Request
from kdm_adapters.kubernetes.watch.rules import Phase, Situation, Then, rule_for
from kdm_adapters.kubernetes.watch.tuning import Tuning
from kdm_adapters.kubernetes.wire.messages import Failure
from kdm_core.ports import WatchInstrument

WATCH_LIST_PAUSE_S: Final = 3600.0
"""How long to list instead, in seconds, after a watch-list whose last bookmark never came."""

SILENT_WATCHES: Final = 2
"""After so many watches in a row that were never answered, a list is read: a proxy may hold watches back."""


class Plan(Generic[W]):
    """The phase that a source is in, and the request that is under way. Times in seconds, on the watch's clock.

    Args:
        source: What the source is called.
        store: What is published.
        tuning: The numbers.
        instrument: Counts watches that ended and backoffs.
        rng: For jitter.

    Attributes:
        phase: What kind of request comes next, or is under way.
        request: The request under way.
        listing: How the complete state is read, and what has been read so far.
        patience: With the watch-list under way.
        schedule: When to read everything again although the watch works.
    """

    def __init__(
        self, source: str, store: ObjectStore[W], tuning: Tuning, instrument: WatchInstrument, rng: Random
    ) -> None:
        self.phase = Phase.WATCH_LIST
        self.request = Request(0.0, 0.0, wanted=False)
        self.listing = Listing(store, tuning.page_size)
        self.patience = Patience(tuning.watch_list_deadline_s)
        self.schedule = RelistSchedule(rng)
        self._source = source
        self._tuning = tuning
        self._instrument = instrument
        self._rng = rng
        self._backoff = Backoff(rng=rng)
        self._wait_until = -math.inf
        self._watch_list_from = -math.inf  # watch-lists are not tried before
        self._silent_watches = 0  # in a row
        self._just_read = False  # the version to watch from is that of a list that has just been read

    def next_action(self, resource_version: str, now: float) -> Action:
        """Return what to do next. Unless that is to wait, it has begun.

        Args:
            resource_version: The newest version seen, "" before the first.
            now: Seconds on the watch's clock.
        """
        if now < self._wait_until:
            return Wait(self._wait_until - now)
        self.request = Request(now, now)
        if self.phase is Phase.WATCH:
            self.request.from_zero = resource_version in {"", "0"}
            if not (self._just_read or self.request.from_zero):
                self.request.unproven = resource_version
            self._just_read = False
            return WatchFrom(resource_version, self._timeout_s())
        return self._read(resource_version, now)

    def _read(self, resource_version: str, now: float) -> ListPage | WatchList:
        listing = self.listing
        if listing.started_at is None:
            listing.started_at = now
        if listing.on_later_page:
            return listing.next_page()
        if self.phase is Phase.LIST:
            listing.begin(resource_version or "0")
            return listing.first_page()
        listing.begin(resource_version)
        timeout_s = self._timeout_s()
        self.patience = Patience(self._tuning.watch_list_deadline_s, timeout_s)
        return WatchList(listing.asked, timeout_s)

    def _timeout_s(self) -> int:
        return self._rng.randint(self._tuning.min_watch_timeout_s, 2 * self._tuning.min_watch_timeout_s)

    @property
    def deadline(self) -> float:
        """When the request under way is over, unless something happens before."""
        if not self.request.wanted:
            return -math.inf
        deadline = self.request.heard_at + self._tuning.silence_s
        if self.phase is Phase.WATCH_LIST:
            deadline = min(deadline, self.patience.ends_at)
        elif self.phase is Phase.WATCH:
            deadline = min(deadline, self.schedule.due_at)
        return deadline

    def answered(self, now: float) -> None:
        """The server accepted a watch or watch-list."""
        self._silent_watches = 0
        self.request.heard_at = self.request.opened_at = now
        self.patience.opened(now)

    def served(self) -> None:
        """The request that ended had served for a while: what failed before has worked since.

        client-go waits for two minutes without a backoff. Where watches are cut every 20 s it never gets there, and is
        blind for up to a minute after each cut, although the server takes the next watch at once. Where a server fails
        when asked the delays still grow: there the watch does not last so long.
        """
        self._backoff.reset()

    def pause_watch_lists(self, now: float) -> None:
        """List for a while instead: a watch-list did not end its state."""
        self._watch_list_from = now + WATCH_LIST_PAUSE_S

    def refused(self, failure: Failure, *, progress: bool) -> Situation:
        """Return what a failure is for the request under way.

        Args:
            failure: What the server answered.
            progress: Whether something arrived since the last list.
        """
        if failure.expired and self.phase is Phase.WATCH:
            return Situation.EXPIRED if progress else Situation.EXPIRED_AGAIN
        if failure.expired and self.listing.on_later_page:
            return Situation.PAGE_EXPIRED
        unavailable = (failure.expired or failure.too_large) and self.phase is not Phase.WATCH
        if unavailable and not self.listing.newest:
            return Situation.VERSION_UNAVAILABLE
        if failure.unreached:
            return Situation.UNREACHED
        return Situation.THROTTLED if failure.throttled else Situation.FAILED

    def silence(self) -> Situation:
        """Return what silence is for the request under way."""
        if self.phase is Phase.LIST or self.request.opened_at < math.inf:
            return Situation.SILENT
        self._silent_watches += 1
        return Situation.UNANSWERED if self._silent_watches >= SILENT_WATCHES else Situation.SILENT

    def reset(self) -> None:
        """Forget everything. The request under way is dropped."""
        self.request.wanted = False
        self.schedule.done()
        self.listing.newest, self.listing.started_at = False, None
        self._wait_until = self._watch_list_from = -math.inf
        self._silent_watches = 0

    def follow(self, situation: Situation, now: float, *, reason: str = "", at_least_s: float = 0.0) -> None:
        """Do what the rule for a situation in the present phase says.

        Args:
            situation: What happened.
            now: Seconds on the watch's clock.
            reason: Why, where the rule does not say.
            at_least_s: How long a backoff has to be, in seconds: the server's ``Retry-After``.
        """
        rule = rule_for(self.phase, situation)
        reason = reason or rule.reason
        if rule.newest:
            self.listing.newest = True
        if rule.then is Then.RELIST_SOON:
            self.schedule.soon(now, reason)
        elif rule.then is Then.RELIST_AT_ONCE:
            self.schedule.at_once(now, reason)
        elif rule.then is Then.FOLLOW:
            self.phase = Phase.WATCH
        else:
            self._end(reason)
            if rule.backoff:
                self._wait(now, at_least_s)
            self._next(rule.then, reason)

    def _end(self, reason: str) -> None:
        if self.phase is Phase.WATCH and self.request.wanted:
            self._instrument.watch_ended(self._source, reason)
        self.request.wanted = False

    def _wait(self, now: float, at_least_s: float) -> None:
        delay_s = max(self._backoff.next_delay_s(now), at_least_s)
        self._wait_until = now + delay_s
        self._instrument.backed_off(self._source, delay_s)

    def _next(self, then: Then, reason: str) -> None:
        match then:
            case Then.WATCH:
                self._just_read = self.phase is Phase.LIST
                self.phase = Phase.WATCH
            case Then.AGAIN:
                self.listing.again()
            case Then.FULL_LIST:
                self.listing.again(full=True)
            case Then.LIST:
                self.listing.again()
                self.phase = Phase.LIST
            case Then.RELIST:
                self.listing.restart(reason)
                self.phase = Phase.WATCH_LIST if self._may_watch_list() else Phase.LIST

    def _may_watch_list(self) -> bool:
        begins_at = max(self._wait_until, self.request.started_at)
        return self._tuning.watch_list and begins_at >= self._watch_list_from and self._silent_watches < SILENT_WATCHES
