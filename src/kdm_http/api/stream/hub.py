"""Follows the repository once, however many clients stream, and wakes those who have something to see."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Final

from attrs import frozen

from kdm_core import ALL_NAMESPACES, ChangeKind, Deployment, DeploymentChange, DeploymentRef, Identity, Query
from kdm_core.service.following import UnfilteredFeed
from kdm_http.api.stream.progress import Mark, Progress
from kdm_http.api.stream.ring import Held, Ring, Step
from kdm_http.api.stream.view import View, Watcher

_TURN: Final = 64
"""After how many changes in a row the clients get their turn: as many would be a millisecond."""

_log = logging.getLogger(__name__)


@frozen
class Pace:
    """How much is kept, and how often something is said. The defaults are what is documented.

    Attributes:
        steps: How many changes are kept for those who come back.
        size: How many bytes of them.
        tick_s: How often certificates and freshness are looked at, in seconds.
        heartbeat_ticks: After how many ticks each stream gets a comment.
        bookmark_ticks: After how many it gets a bookmark in its place.
        gather_s: After changes were sent, how long those that follow are gathered and sent together, in seconds. To
            write to each of many clients costs more than what is written: this bounds how often that is.
        linger_s: How long changes are kept when nobody streams any more, in seconds.
    """

    steps: int = 8192
    size: int = 8 * 1024 * 1024
    tick_s: float = 1.0
    heartbeat_ticks: int = 15
    bookmark_ticks: int = 60
    gather_s: float = 0.05
    linger_s: float = 60.0


USUAL: Final = Pace()


class Hub:
    """The present state, the newest changes, and the views that clients have of them. Belongs to one event loop.

    Nothing is followed while nobody streams, but for ``linger_s`` after the last one left.

    Args:
        feed: What happens.
        encode: Encodes a Deployment, on one line.
        pace: How much is kept, and how often something is said.

    Attributes:
        ring: The newest changes.
        released: The number of the newest change that may be sent.
        ticks: Counts the ticks.
        over: Why every stream has to end; "" while they go on.
        progress: How far the cluster has been seen by those who have read up to some step.
    """

    def __init__(
        self,
        feed: UnfilteredFeed,
        encode: Callable[[Deployment], bytes],
        pace: Pace,
    ) -> None:
        self.pace = pace
        self.ring = Ring(pace.steps, pace.size)
        self.released = 0
        self.ticks = 0
        self.over = ""
        self._instance = secrets.token_hex(4).encode()
        self._feed = feed
        self.progress = Progress(feed.sync_status, lambda: self.ring.head)
        self._encode = encode
        self._views: dict[tuple[str, frozenset[str], Query], View] = {}
        self._policies = [(0, feed.policy)]  # from which step on each was in force
        self._held: dict[DeploymentRef, Held] = {}
        self._ready: dict[str, bool] = {}  # of each source, whether its present state has been read
        self._stale: dict[str, bool] = {}  # of each source, whether it may be out of date
        self._following: list[asyncio.Task[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._unlisten: Callable[[], None] = lambda: None
        self._resting: asyncio.TimerHandle | None = None
        self._gathering: asyncio.TimerHandle | None = None
        self._concerned: set[View] = set()  # those for which something has been gathered

    # Clients

    def join(self, identity: Identity, query: Query, watcher: Watcher) -> View:
        """Give a client its view. It is woken when there may be something to see."""
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        if not self._following:
            self._begin()
        key = (identity.user, identity.groups, query)
        view = self._views.get(key)
        if view is None:
            policy = self._policies[-1][1]
            view = View(self._instance, identity, query, policy, self._encode)
            view.stale = self._is_stale(query.namespace)
            self._views[key] = view
        view.watchers.add(watcher)
        return view

    def leave(self, view: View, watcher: Watcher) -> None:
        """Let go of a client. Called twice, it does nothing more."""
        if watcher not in view.watchers:
            return
        view.watchers.discard(watcher)
        key = (view.identity.user, view.identity.groups, view.query)
        if not view.watchers and self._views.get(key) is view:
            del self._views[key]
        if self._views or not self._following:
            return
        if self.over:
            self._rest()
        else:
            self._resting = asyncio.get_running_loop().call_later(self.pace.linger_s, self._rest)

    def is_ready(self, namespace: str) -> bool:
        """Return whether the present state of a namespace has been read."""
        return all(self._ready[each] for each in self._sources(namespace))

    def mark(self, namespace: str) -> Mark | None:
        """Return how far a namespace has been seen by whoever has come to some step; None where that is not known."""
        return self.progress.of(self._sources(namespace))

    def present(self, namespace: str) -> tuple[Held, ...]:
        """Return the state of a namespace after the newest step."""
        if namespace == ALL_NAMESPACES:
            return tuple(self._held.values())
        return tuple(held for ref, held in self._held.items() if ref.namespace == namespace)

    def resumable(self, view: View, number: int) -> bool | None:
        """Return whether what comes after a step can be shown as if the client had never been away.

        Returns:
            None where the policy has shown it something else since; False where it is not kept any more.
        """
        if not self.ring.floor <= number <= self.ring.head:
            return False
        then = next(policy for since, policy in reversed(self._policies) if since <= number)
        return True if view.policy.reads_alike(view.identity, then) else None

    def backlog(self) -> int:
        """Return how many changes the slowest client has not looked at."""
        return max((each.backlog for view in self._views.values() for each in view.watchers), default=0)

    async def aclose(self) -> None:
        """Stop following."""
        following = self._following
        self._rest()
        if following:
            await asyncio.wait(following)

    # What happens

    def _begin(self) -> None:
        names = [each.source for each in self._feed.sync_status().sources] or [ALL_NAMESPACES]
        self._ready = dict.fromkeys(names, False)
        self.over = ""
        self.ring.start_over()
        self.released = self.ring.head
        self._policies = [(self.ring.head, self._feed.policy)]
        self._unlisten = self._feed.when_policy_changes(self._policy_changed)
        loop = asyncio.get_running_loop()
        self._following = [loop.create_task(self._follow(each)) for each in names]
        self._timer = loop.call_later(self.pace.tick_s, self._tick)
        self._look_at_freshness()

    def _rest(self) -> None:
        for task in self._following:
            task.cancel()
        for timer in (self._timer, self._resting, self._gathering):
            if timer is not None:
                timer.cancel()
        self._unlisten()
        self._unlisten = lambda: None
        self._following, self._timer, self._resting, self._gathering = [], None, None, None
        self._concerned.clear()
        self._held.clear()
        self.ring.start_over()
        self.progress.start_over()

    async def _follow(self, source: str) -> None:
        """Keep up with a source until the repository stops."""
        found: dict[DeploymentRef, Deployment] | None = {}  # while the present state is read
        changes = self._feed.changes(source)
        reason = "error"
        try:
            number = 0
            async for change in changes:
                number += 1
                if change.kind is ChangeKind.LAGGED:
                    found = {}
                elif found is None:
                    self._change(change)
                elif change.deployment is not None:
                    found[change.deployment.ref] = change.deployment
                else:
                    self._replace(source, found)
                    found = None
                if number % _TURN == 0:
                    self.progress.midway.add(source)
                    await asyncio.sleep(0)
                    self.progress.midway.discard(source)
                    self.progress.look()
            reason = "shutdown"
        except Exception:  # noqa: BLE001 - whatever it is, the clients are not left waiting
            _log.exception("the stream of changes failed", extra={"source": source})
        finally:
            await changes.aclose()
            if asyncio.current_task() in self._following:
                self.over = reason
                self._wake_all()

    def _change(self, change: DeploymentChange) -> None:
        deployment = change.deployment
        assert deployment is not None  # noqa: S101 - by its kind
        ref = deployment.ref
        if change.kind is ChangeKind.DELETED:
            before = self._held.pop(ref, None)
            if before is not None:
                self._step(before, None)
        else:
            before, after = self._held.get(ref), Held(deployment)
            self._held[ref] = after
            self._step(before, after)

    def _replace(self, source: str, found: dict[DeploymentRef, Deployment]) -> None:
        """Take over a present state: the first one, or what is different in a later one."""
        if not self._ready[source]:
            self._held.update((ref, Held(each)) for ref, each in found.items())
            self._ready[source] = True
            self.progress.look()  # first, so that it is known when those who wait have their turn
            self._wake_all()
            return
        for ref in [each for each in self._held if source in (ALL_NAMESPACES, each.namespace) and each not in found]:
            self._step(self._held.pop(ref), None)
        for ref, deployment in found.items():
            before = self._held.get(ref)
            if before is not None and before.deployment.uid != deployment.uid:
                self._step(self._held.pop(ref), None)
                before = None
            if before is None or before.deployment != deployment:
                after = self._held[ref] = Held(deployment)
                self._step(before, after)

    def _step(self, before: Held | None, after: Held | None) -> None:
        size = 0 if after is None else len(after.data(self._encode))
        step = Step(before, after, size)
        quarters = self.ring.quarters
        self.ring.append(step)
        number = self.ring.head
        if self.ring.quarters != quarters:  # those who see none of it keep up, too
            self._concerned.update(self._views.values())
        for view in self._views.values():
            if view.meaning(number, step) is not None:
                self._concerned.add(view)
        if self._gathering is None:
            self._release()

    def _release(self) -> None:
        """Let what was gathered be sent; and gather again, if there was anything."""
        self._gathering = None
        self.released = self.ring.head
        self.progress.look_again()
        if self._concerned:
            self._gathering = asyncio.get_running_loop().call_later(self.pace.gather_s, self._release)
            for view in self._concerned:
                view.wake()
            self._concerned.clear()

    def _policy_changed(self) -> None:
        policy = self._feed.policy
        self.ring.append(Step(None, None))  # so that no cursor of before means something else from now on
        self.released = self.ring.head
        self._policies.append((self.ring.head, policy))
        while len(self._policies) > 1 and self._policies[1][0] <= self.ring.floor:
            del self._policies[0]
        for view in self._views.values():
            generation = view.generation
            view.judge(policy)
            if view.generation != generation:
                view.wake()

    # Time

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.pace.tick_s, self._tick)
        self.ticks += 1
        self._look_at_freshness()
        self.progress.look()
        spoken = self.ticks % self.pace.heartbeat_ticks == 0 or self.ticks % self.pace.bookmark_ticks == 0
        for view in tuple(self._views.values()):
            for watcher in tuple(view.watchers):
                watcher.look()
            was, view.stale = view.stale, self._is_stale(view.query.namespace)
            if spoken or was != view.stale:
                view.wake()

    def _wake_all(self) -> None:
        for view in self._views.values():
            view.wake()

    def _look_at_freshness(self) -> None:
        self._stale = {each.source: each.stale or not each.synced for each in self._feed.sync_status().sources}

    def _is_stale(self, namespace: str) -> bool:
        return any(self._stale.get(each, False) for each in self._sources(namespace))

    def _sources(self, namespace: str) -> list[str]:
        """Return which sources a namespace is read from."""
        if namespace == ALL_NAMESPACES or ALL_NAMESPACES in self._ready:
            return list(self._ready)
        return [namespace]
