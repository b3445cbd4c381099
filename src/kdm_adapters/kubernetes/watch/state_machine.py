"""One source's view of the cluster, as a state machine: it decides to list, watch, wait and publish, and does no I/O.

The reflector asks :meth:`View.next_action`, performs it, and tells what came of it through :meth:`View.apply`. While
:attr:`View.unproven` says so, it also asks the cluster for its newest version: :meth:`View.newest`. Times are passed
in, in seconds on any monotonic clock. Everything that affects the state lives here; the rules are those of client-go's
Reflector (v0.36), and where they differ the comment says why.

================================  =====================================================================================
What happens                      What the view does
================================  =====================================================================================
start; a relist is due            watch-list; a list where the server cannot (or its bookmark never comes)
list, watch-list: 410, too large  at once again with resourceVersion ""; if that fails the same way, after a backoff
list, page 2 or later: 410        one full list, without a limit
list: any other failure           backoff, then all over again
watch-list: 429, not reached      backoff, then watch-list again
two watches are never answered    list: what holds watches back may let lists through
watch-list: any other failure     list, at once
watch: 429, not reached           backoff, then watch again from the last resourceVersion; no relist
watch: 410                        relist at once; after a backoff if nothing had arrived since the last one
watch: any other failure          backoff, then relist (StoreReadError too: its ghost is then gone)
watch ends in order               watch again from the last resourceVersion
watch ends in < 1 s, no event     backoff, then relist: lists may work where watches do not
watch ends in < 1 s, some event   backoff, then watch again: progress, but not in a busy loop
a watch that served 10 s ends     as above, but the backoff begins anew
silence                           watch again from the last resourceVersion
the cluster went back             relist at once with resourceVersion ""; see ADR 0016 for what shows it
an event does not fit             go on, relist soon
an object is not understood       go on, relist soon, and ever later if that does not help
================================  =====================================================================================
"""

from __future__ import annotations

import enum
import logging
import math
from collections.abc import Callable, Iterable
from random import Random
from typing import Final, Literal

from kdm_adapters.cache.backoff import Backoff
from kdm_adapters.cache.freshness import Freshness
from kdm_adapters.cache.own_writes import Before, older
from kdm_adapters.cache.published import Published
from kdm_adapters.cache.store import Store
from kdm_adapters.kubernetes.watch.actions import (
    Action,
    Ended,
    ListPage,
    Message,
    Opened,
    TimeUp,
    Wait,
    WatchFrom,
    WatchList,
)
from kdm_adapters.kubernetes.watch.patience import Patience
from kdm_adapters.kubernetes.watch.relist import Repair
from kdm_adapters.kubernetes.watch.request import Request
from kdm_adapters.kubernetes.watch.staging import Staging
from kdm_adapters.kubernetes.watch.troubles import trouble
from kdm_adapters.kubernetes.watch.tuning import Tuning
from kdm_adapters.kubernetes.wire.messages import Bookmark, Event, Failure, Page, Undecodable
from kdm_core.model import Deployment, DeploymentRef, SourceStatus, Trouble
from kdm_core.ports import WatchInstrument

_log = logging.getLogger(__name__)

WATCH_LIST_PAUSE_S: Final = 3600.0
"""How long to list instead, in seconds, after a watch-list whose last bookmark never came."""

SILENT_WATCHES: Final = 2
"""After so many watches in a row that were never answered, a list is read: a proxy may hold watches back."""


class _Phase(enum.Enum):
    LIST = "list"
    WATCH_LIST = "watch-list"
    WATCH = "watch"


class View:
    """The Deployments of one source: a namespace, or all of them.

    Args:
        store: Where complete states are published. Views of different namespaces share one.
        namespace: The namespace, or None for all of them.
        tuning: The numbers.
        instrument: Told what happens.
        rng: For jitter.
        on_synced: Told when the first complete state is published.
    """

    def __init__(
        self,
        store: Store,
        namespace: str | None = None,
        *,
        tuning: Tuning | None = None,
        instrument: WatchInstrument | None = None,
        rng: Random | None = None,
        on_synced: Callable[[], None] = lambda: None,
    ) -> None:
        self.namespace = namespace
        self.source = namespace or "*"
        self._store = store
        self._published = Published(store, namespace)
        self._tuning = tuning or Tuning()
        self._instrument = instrument or WatchInstrument()
        self._on_synced = on_synced
        self._rng = rng or Random()  # noqa: S311 - jitter, not cryptography
        self._backoff = Backoff(rng=self._rng)

        self._wait_until = -math.inf
        self._watch_list_from = -math.inf  # watch-lists are not tried before

        self._rv = ""  # the newest version seen
        self._rv_unavailable = False  # asking for it failed: ask for the newest instead
        self._list_rv = ""  # the version asked for in the list under way
        self._continue = ""
        self._full_list = False  # a page expired: without a limit now
        self._staging: Staging | None = None  # the list or watch-list under way
        self._staged_rv = ""
        self._list_started_at: float | None = None
        self._repair = Repair(self._rng)
        self._request = Request(0.0, 0.0, wanted=False)
        self._patience = Patience(self._tuning.watch_list_deadline_s)
        self._silent_watches = 0  # in a row
        self._progress = False  # something arrived since the last list
        self._just_read = False  # the version to watch from is that of a list that has just been read

        self.synced = False
        self.connected = False
        self.problem = ""
        self.trouble: Trouble | None = None
        self._freshness = Freshness()
        self._begin("initial", "the first list has not been read yet")

    # What to do

    def next_action(self, now: float) -> Action:
        """Return what to do next. Unless it is to wait, it has begun: the next call to ``apply`` tells of it."""
        if now < self._wait_until:
            return Wait(self._wait_until - now)
        self._request = Request(now, now)
        if self._phase is _Phase.WATCH:
            self._request.from_zero = self._rv in {"", "0"}
            if not (self._just_read or self._request.from_zero):
                self._request.unproven = self._rv
            self._just_read = False
            return WatchFrom(self._rv, self._timeout_s())
        if self._list_started_at is None:
            self._list_started_at = now
        if self._phase is _Phase.LIST and self._continue:
            return ListPage("", self._tuning.page_size, self._continue)
        self._staging = Staging(self._store)
        watch_list = self._phase is _Phase.WATCH_LIST
        self._list_rv = "" if self._rv_unavailable else self._rv or ("" if watch_list else "0")
        self._published.list_begins(newest=not self._list_rv)
        if watch_list:
            self._patience = Patience(self._tuning.watch_list_deadline_s)
            self._watch_list_s = self._timeout_s()
            return WatchList(self._list_rv, self._watch_list_s)
        # With a version (but "0") and no limit the server answers from its watch cache; with a limit, from etcd.
        unlimited = self._full_list or self._list_rv not in {"", "0"}
        return ListPage(self._list_rv, 0 if unlimited else self._tuning.page_size)

    @property
    def streaming(self) -> bool:
        """Whether the request under way is still wanted. Where not, drop it and ask for the next action."""
        return self._request.wanted

    @property
    def deadline(self) -> float:
        """When to apply ``TimeUp`` to the request under way, unless something happens before."""
        if not self._request.wanted:
            return -math.inf
        deadline = self._request.heard_at + self._tuning.silence_s
        if self._phase is _Phase.WATCH_LIST:
            deadline = min(deadline, self._patience.ends_at)
        elif self._phase is _Phase.WATCH:
            deadline = min(deadline, self._repair.due_at)
        return deadline

    def heard(self, now: float) -> None:
        """Note that bytes arrived, be they a whole message or not."""
        self._request.heard_at = now

    @property
    def resource_version(self) -> str:
        """The newest version seen, "" before the first."""
        return self._rv

    @property
    def settled(self) -> bool:
        """Whether what is published is the cluster's state at exactly ``resource_version``, and no more."""
        watching = self.synced and self._phase is _Phase.WATCH
        return watching and self._repair.due_at == math.inf and not self._published.overlaid

    @property
    def unproven(self) -> str:
        """The version that the open watch was resumed from, until it is known whether the cluster has come that far.

        A server accepts a version from its future and says nothing until it gets there: so does one whose etcd was
        restored from a backup. The cluster's newest version settles it, and so does whatever the watch tells.
        """
        opened = self._phase is _Phase.WATCH and self._request.wanted and self._request.opened_at < math.inf
        return self._request.unproven if opened else ""

    def status(self, now: float, stale_after_s: float = math.inf) -> SourceStatus:
        """Return how far this source can be trusted.

        Args:
            now: Seconds on the view's clock.
            stale_after_s: Past which age it is stale, in seconds.
        """
        well = self.synced and self.connected
        age_s = now - self._freshness.at(now)
        return SourceStatus(
            source=self.source,
            synced=self.synced,
            connected=self.connected,
            resource_version=self._rv,
            age_s=age_s,
            stale=self.synced and age_s > stale_after_s,
            reason="" if well else self.problem,
            trouble=None if well else self.trouble,
        )

    # What happened

    def apply(self, message: Message, now: float) -> None:
        """Take in what came of the action under way. What arrives for one that is not wanted any more is dropped."""
        if not self._request.wanted:
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
                self._on_failure(message, now)
            case Ended():
                self._on_ended(message, now)
            case TimeUp():
                self._on_time_up(now)

    def newest(self, resource_version: str, unproven: str, now: float) -> None:
        """Take in the cluster's newest version.

        Args:
            resource_version: It, by a consistent read.
            unproven: What ``unproven`` said before that read was sent.
            now: Seconds on the view's clock.
        """
        if unproven != self.unproven:
            return
        if older(resource_version, unproven):
            self._went_back(f"the newest resourceVersion is {resource_version}", now)
        else:
            self._prove()

    def newest_unknown(self, why: str) -> None:
        """The cluster did not tell its newest version. Until it does, the watch is not known to be any good."""
        if self.unproven:
            self.connected = False
            self.problem, self.trouble = (
                f"the watch is open, but may be ahead of the cluster: {why}",
                Trouble.INTERRUPTED,
            )

    def before(self, ref: DeploymentRef) -> Before:
        """Return what is known before a request is sent that concerns a Deployment. Pass it on with the answer."""
        return self._published.before(ref.namespace, ref.name, self._rv)

    def overlay(self, written: Deployment, before: Before, now: float) -> None:
        """Show a write's result at once, before the watch tells of it.

        It stays until the source tells a version at least as new: neither an event still in flight nor an older list
        takes it back. It is ignored where the source has told as much already, including the Deployment's end.

        Args:
            written: The Deployment as the cluster's answer to the write described it.
            before: What was known when the write was sent.
            now: Seconds on the view's clock.
        """
        if not self._published.write(written, before, self._rv):
            self._went_back(f"a write was answered with resourceVersion {written.resource_version}", now)

    def looked_up(self, found: Deployment, before: Before, now: float) -> None:
        """Take note of a Deployment that the cluster has and that was not held. It may be new, or have been missed.

        Args:
            found: As the cluster described it, in a consistent read.
            before: What was known when it was asked for.
            now: Seconds on the view's clock.
        """
        if before.contradicts(found.resource_version):
            self._repair.soon(now, "missed")

    def distrust(self) -> None:
        """Read everything again: the published state was found to differ from the cluster's."""
        self._repair.inconsistent()

    def reset(self) -> None:
        """Forget everything, as at the start: from now on the requests go to another cluster.

        Followers are told that what was held is gone. A request under way is dropped, and so is the answer to a write
        that was sent before.
        """
        self._published.clear()
        self._freshness = Freshness()
        self._repair.done()
        self._rv, self._rv_unavailable = "", False
        self._wait_until = self._watch_list_from = -math.inf
        self._silent_watches, self._list_started_at = 0, None
        self._request.wanted = self.synced = self.connected = False
        self._begin("reset", "the cluster's address has changed, its Deployments have not been read yet")

    def stop(self) -> None:
        """Note that nobody performs the actions any more."""
        self._request.wanted = self.connected = False
        self.problem, self.trouble = "stopped", Trouble.STOPPED

    def _begin(self, reason: str, problem: str) -> None:
        self.problem, self.trouble = problem, Trouble.NOT_READ
        self._relist(reason)

    def _on_opened(self, now: float) -> None:
        self._request.heard_at = self._request.opened_at = now
        self._silent_watches = 0
        if self._phase is _Phase.WATCH_LIST:
            self._patience.opened(now, self._watch_list_s)
        else:
            self._freshness.following(now)
            if not self._request.unproven:
                self._prove()
            elif not self.connected:
                self.problem, self.trouble = "the watch is open, but may be ahead of the cluster", Trouble.INTERRUPTED

    def _on_event(self, event: Event, now: float) -> None:
        self._request.events += 1
        self._instrument.watch_event(self.source, event.kind)
        deployment = event.deployment
        if self._staging is not None:
            if self._staging.take(event.kind, deployment):
                self._patience.told(now)
            return
        if not self._heard_of(deployment.resource_version, now):
            return
        self._freshness.proven(now)
        if not self._published.event(event.kind, deployment):
            self._repair.soon(now, "missed")
        self._advance(deployment.resource_version, initial=event.kind == "ADDED")

    def _on_bookmark(self, bookmark: Bookmark, now: float) -> None:
        self._request.events += 1
        self._instrument.watch_event(self.source, "BOOKMARK")
        if self._staging is not None:
            if bookmark.initial_events_end and self._publish(bookmark.resource_version, "watch-list", now):
                self._freshness.following(now)
                self._connect()
            return
        if self._heard_of(bookmark.resource_version, now):
            self._freshness.proven(now)
            self._advance(bookmark.resource_version)

    def _on_undecodable(self, poison: Undecodable, now: float) -> None:
        self._request.events += 1
        self._tell_undecodable((poison,))
        if self._staging is not None:
            self._staging.keep((poison,))
            return
        self._repair.soon(now, "undecodable")
        if poison.resource_version and self._heard_of(poison.resource_version, now):
            self._freshness.proven(now)
            self._advance(poison.resource_version)

    def _on_page(self, page: Page, now: float) -> None:
        if not self._continue:
            self._staged_rv = page.resource_version
        self._tell_undecodable(page.undecodable)
        if self._staging is not None:
            for deployment in page.deployments:
                self._staging.put(deployment)
            self._staging.keep(page.undecodable)
        if not page.last:
            return
        self._continue = page.continue_token
        self._request.wanted = False
        if not page.continue_token:
            self._publish(self._staged_rv, "list", now)

    def _on_failure(self, failure: Failure, now: float) -> None:
        self._interrupted(now)
        self.problem, self.trouble = failure.message, trouble(failure)
        self.connected = False
        self._request.wanted = False
        if self._phase is _Phase.WATCH:
            self._watch_failed(failure, now)
        elif self._phase is _Phase.WATCH_LIST:
            self._watch_list_failed(failure, now)
        else:
            self._list_failed(failure, now)

    def _watch_failed(self, failure: Failure, now: float) -> None:
        if failure.expired:
            self._ended("expired")
            if not self._progress:
                self._wait(now)
            self._relist("expired")
        elif failure.unreached or failure.throttled:
            self._ended("throttled" if failure.throttled else "unreached")
            self._wait(now, failure.retry_after_s)
        else:
            self._ended("error")
            self._wait(now, failure.retry_after_s)
            self._relist("error")

    def _watch_list_failed(self, failure: Failure, now: float) -> None:
        self._staging = None
        if failure.unreached or failure.throttled:
            self._wait(now, failure.retry_after_s)
        elif (failure.expired or failure.too_large) and not self._rv_unavailable:
            self._rv_unavailable = True
        else:
            _log.info("%s: no watch-list, listing instead: %s", self.source, failure.message)
            self._phase = _Phase.LIST

    def _list_failed(self, failure: Failure, now: float) -> None:
        later_page, self._continue = bool(self._continue), ""
        self._staging = None
        if failure.expired and later_page:
            self._full_list = True
        elif (failure.expired or failure.too_large) and not self._rv_unavailable:
            self._rv_unavailable = True
        else:
            self._wait(now, failure.retry_after_s)
            self._relist(self._reason)

    def _on_ended(self, ended: Ended, now: float) -> None:
        self._interrupted(now)
        short = self._request.short(now)
        if self._phase is not _Phase.WATCH:
            self._on_failure(Failure(200, "Ended", ended.detail or "the answer ended before the state was told"), now)
        elif short and not self._request.events:
            self._lost("very-short", "the watch ended at once, without an event", Trouble.INTERRUPTED)
            self._wait(now)
            self._relist("very-short")
        else:
            if ended.detail:
                self._lost("broken", ended.detail, Trouble.INTERRUPTED)
            else:
                self._ended("timeout")
            if short:
                self._wait(now)

    def _on_time_up(self, now: float) -> None:
        if now < self.deadline:
            return
        self._interrupted(now)
        if self._phase is _Phase.WATCH and now >= self._repair.due_at:
            self._ended(self._repair.reason)
            self._relist(self._repair.reason)
        elif self._phase is _Phase.WATCH_LIST and now >= self._patience.ends_at:
            self._watch_list_from = now + WATCH_LIST_PAUSE_S
            self._on_failure(Failure(200, "Deadline", "the bookmark that ends the state did not come"), now)
        elif self._phase is _Phase.WATCH:
            self._lost("silent", f"no sign of life for {self._tuning.silence_s:.0f} s", Trouble.UNREACHABLE)
            self._silent(now)
        else:
            self._on_failure(Failure(0, "Silent", f"no answer for {self._tuning.silence_s:.0f} s"), now)
            self._silent(now)

    # Transitions

    def _interrupted(self, now: float) -> None:
        if self._freshness.interrupted(now):
            # client-go waits for two minutes without a backoff. Where watches are cut every 20 s it never gets there,
            # and is blind for up to a minute after each cut, although the server takes the next watch at once. Where
            # a server fails when asked the delays still grow: there the watch does not last so long.
            self._backoff.reset()

    def _wait(self, now: float, at_least_s: float = 0.0) -> None:
        delay_s = max(self._backoff.next_delay_s(now), at_least_s)
        self._wait_until = now + delay_s
        self._instrument.backed_off(self.source, delay_s)

    def _relist(self, reason: str) -> None:
        self._reason = reason
        self._continue, self._full_list, self._staging = "", False, None
        wanted = self._tuning.watch_list and max(self._wait_until, self._request.started_at) >= self._watch_list_from
        self._phase = _Phase.WATCH_LIST if wanted and self._silent_watches < SILENT_WATCHES else _Phase.LIST

    def _ended(self, reason: str) -> None:
        self._request.wanted = False
        self._instrument.watch_ended(self.source, reason)

    def _lost(self, reason: str, problem: str, kind: Trouble) -> None:
        self.problem, self.trouble, self.connected = problem, kind, False
        self._ended(reason)

    def _silent(self, now: float) -> None:
        """A request was silent. If it is a watch that was not even accepted, as the one before, a list is due."""
        if self._phase is _Phase.LIST or self._request.opened_at < math.inf:
            return
        self._silent_watches += 1
        if self._silent_watches >= SILENT_WATCHES:
            if self._phase is _Phase.WATCH:
                self._wait(now)
                self._reason = "silent"
            self._relist(self._reason)

    def _connect(self) -> None:
        self.connected = True
        self.problem, self.trouble = "", None

    # Whether the cluster is where it was

    def _prove(self) -> None:
        """The watch under way begins where the published state ends."""
        self._request.unproven = ""
        self._freshness.resumed(self._request.opened_at)
        self._connect()

    def _heard_of(self, resource_version: str, now: float) -> bool:
        """Take note of the version that a watch tells. Returns whether it fits what was seen before."""
        self._progress = True
        if older(resource_version, self._rv):
            self._went_back(f"the watch tells resourceVersion {resource_version}", now)
            return False
        if self._request.unproven:
            self._prove()
        return True

    def _went_back(self, sign: str, now: float) -> None:
        """What is published is not the past of what the cluster has now: it was restored from a backup."""
        self.problem = f"the cluster's state went back, as after a restore from a backup: {sign}, {self._rv} was held"
        self.trouble, self.connected = Trouble.WENT_BACK, False
        self._request.unproven = ""
        self._rv_unavailable = True
        self._repair.at_once(now, "went-back")
        _log.warning("%s: %s; reading everything again", self.source, self.problem)

    def _timeout_s(self) -> int:
        return self._rng.randint(self._tuning.min_watch_timeout_s, 2 * self._tuning.min_watch_timeout_s)

    def _advance(self, resource_version: str, *, initial: bool = False) -> None:
        """Move on to a version. The ADDED events that begin a watch from no version come in no order: they do not."""
        if self._request.from_zero and initial:
            return
        self._request.from_zero = False
        if not older(resource_version, self._rv):
            self._rv = resource_version

    # Objects

    def _publish(self, resource_version: str, mode: Literal["list", "watch-list"], now: float) -> bool:
        """Make the staged state the published one. Returns False where it is older than what was asked for."""
        staging, self._staging = self._staging or Staging(self._store), None
        if older(resource_version, self._rv):
            if self._list_rv:  # whoever ignores what was asked for may be behind; a read of the newest state cannot be
                self._rv_unavailable = True
                self._request.wanted = False
                self._relist(self._reason)
                return False
            _log.warning("%s: the state went back from %s to %s", self.source, self._rv, resource_version)
        self._published.replace(staging.objects, resource_version)
        self._rv = resource_version
        self._rv_unavailable = self._full_list = self._progress = False
        self._just_read = mode == "list"
        self._freshness.proven(now)
        self._phase = _Phase.WATCH
        self._repair.done()
        if staging.poisoned:
            self._repair.soon(now, "undecodable")
        self.problem, self.trouble = "the watch is not open yet", Trouble.INTERRUPTED
        self._instrument.listed(self.source, mode, self._reason, now - (self._list_started_at or now))
        self._list_started_at = None
        if not self.synced:
            self.synced = True
            self._on_synced()
        return True

    # What was not understood

    def _tell_undecodable(self, poison: Iterable[Undecodable]) -> None:
        for each in poison:
            self._instrument.event_undecodable(self.source)
            _log.warning(
                "%s: left out what could not be understood: Deployment '%s/%s' at resourceVersion '%s': %s",
                self.source, each.namespace, each.name, each.resource_version, each.detail,
            )  # fmt: skip
