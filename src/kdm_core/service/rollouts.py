"""Everybody who waits for a rollout: judged from the cache, on each change of that Deployment and at each timer.

Nothing here asks the cluster, and nothing polls. Whoever waits for the same shares one state machine, so that a change
costs as many judgements as there are different things waited for, and nothing where nobody waits for that Deployment.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Final

from attrs import define, field

from kdm_core.model import Deployment, DeploymentRef, Identity, Observation, Trouble, Verb
from kdm_core.ports import DeploymentObserver
from kdm_core.rollout import RolloutOutcome, RolloutResult, Target, WaitFor
from kdm_core.service.permission import Permission
from kdm_core.timers import CallLater, Timer, call_later
from kdm_core.waiting import RolloutWait, Verdict

FORBIDDEN: Final = Verdict(RolloutOutcome.INTERRUPTED, "the policy does not let the caller read the Deployment")
_EXPIRED: Final = Verdict(RolloutOutcome.INTERRUPTED, "the caller's certificate has expired")


@define(eq=False)
class _Waiter:
    """Somebody who waits."""

    identity: Identity
    ended: asyncio.Future[tuple[Verdict, Deployment | None]]

    def end(self, verdict: Verdict, deployment: Deployment | None) -> None:
        if not self.ended.done():
            self.ended.set_result((verdict, deployment))


@define(eq=False)
class _Wait:
    """What some wait for."""

    machine: RolloutWait
    waiters: set[_Waiter] = field(factory=set)


class _Watched:
    """A Deployment that somebody waits for."""

    def __init__(self, ref: DeploymentRef, labels: Mapping[str, str]) -> None:
        self.ref = ref
        self.waits: dict[tuple[Target, WaitFor], _Wait] = {}
        self.labels = labels
        self.unfollow: Callable[[], None] = lambda: None
        self.look_soon = False
        self.timer: Timer | None = None


class Rollouts:
    """Everybody who waits through a service.

    Args:
        observer: What the cluster says.
        permission: Who may do what.
        clock: Monotonic seconds.
        call_later: For the deadlines and the timers.
    """

    def __init__(
        self,
        observer: DeploymentObserver,
        permission: Permission,
        clock: Callable[[], float],
        call_later: CallLater = call_later,
    ) -> None:
        self._observer = observer
        self._permission = permission
        self._clock = clock
        self._call_later = call_later
        self._watched: dict[DeploymentRef, _Watched] = {}
        self._stopped = ""

    async def wait(
        self,
        ref: DeploymentRef,
        identity: Identity,
        target: Target,
        wait_for: WaitFor,
        *,
        labels: Mapping[str, str],
        timeout_s: float,
        valid_s: float,
    ) -> RolloutResult:
        """Wait for a rollout. See :meth:`kdm_core.service.DeploymentService.rollout`.

        Args:
            ref: Of which Deployment.
            identity: Who waits.
            target: What is waited for.
            wait_for: How far it must have come.
            labels: The Deployment's labels, as far as they are known.
            timeout_s: How long to wait at most, in seconds.
            valid_s: How long the caller may wait, in seconds.
        """
        began = self._clock()
        waiter = _Waiter(identity, asyncio.get_running_loop().create_future())
        watched = self._watched.get(ref) or self._watch(ref, labels)
        wait = watched.waits.setdefault((target, wait_for), _Wait(RolloutWait(target, wait_for)))
        wait.waiters.add(waiter)
        timers: list[Timer] = []
        try:
            self._look(watched, wait)
            if not waiter.ended.done():
                timers.append(self._call_later(timeout_s, lambda: self._time_up(watched, wait, waiter)))
                if valid_s < math.inf:
                    timers.append(self._call_later(valid_s, lambda: waiter.end(_EXPIRED, None)))
            verdict, deployment = await waiter.ended
        finally:
            for each in timers:
                each.cancel()
            self._leave(watched, wait, waiter)
        elapsed_s = self._clock() - began
        return RolloutResult(
            verdict.outcome,
            target,
            wait_for,
            elapsed_s,
            verdict.message,
            verdict.warnings,
            deployment,
            verdict.superseded_by,
        )

    def policy_changed(self) -> None:
        """Have everybody leave who may not read what they wait for any more. Called on the event loop's thread."""
        for watched in self._watched.values():
            self._judge_permissions(watched)

    def stop(self, why: str) -> None:
        """Have everybody leave at once, now and from now on."""
        self._stopped = why
        for watched in self._watched.values():
            self._interrupt(watched, why)

    def _watch(self, ref: DeploymentRef, labels: Mapping[str, str]) -> _Watched:
        watched = _Watched(ref, labels)
        watched.unfollow = self._observer.follow(ref, lambda: self._look_soon(watched))
        self._watched[ref] = watched
        return watched

    def _leave(self, watched: _Watched, wait: _Wait, waiter: _Waiter) -> None:
        wait.waiters.discard(waiter)
        key = (wait.machine.target, wait.machine.wait_for)
        if not wait.waiters and watched.waits.get(key) is wait:
            del watched.waits[key]
        if not watched.waits and self._watched.get(watched.ref) is watched:
            del self._watched[watched.ref]
            watched.unfollow()
            if watched.timer is not None:
                watched.timer.cancel()

    def _look_soon(self, watched: _Watched) -> None:
        """Look on the loop's next turn: then the source has taken note of the change, and of those with it."""
        if not watched.look_soon:
            watched.look_soon = True
            asyncio.get_running_loop().call_soon(self._look, watched)

    def _look(self, watched: _Watched, only: _Wait | None = None) -> None:
        """Judge what the cluster says now; for one wait alone, which is new."""
        seen, now = self._observer.observed(watched.ref), self._clock()
        if only is None:
            watched.look_soon = False
        for wait in watched.waits.values() if only is None else (only,):
            verdict = wait.machine.observe(seen, now)
            if verdict is not None:
                for waiter in wait.waiters:
                    waiter.end(verdict, seen.deployment)
        if seen.deployment is not None and seen.deployment.labels is not watched.labels:
            watched.labels = seen.deployment.labels
            self._judge_permissions(watched)
        if why := self._stopped or _stopped(seen):
            self._interrupt(watched, why)
        if only is None or only.machine.next_look_at < math.inf:
            self._set_timer(watched, now)

    def _set_timer(self, watched: _Watched, now: float) -> None:
        if watched.timer is not None:
            watched.timer.cancel()
            watched.timer = None
        next_look_at = min((each.machine.next_look_at for each in watched.waits.values()), default=math.inf)
        if next_look_at < math.inf:
            watched.timer = self._call_later(max(0.0, next_look_at - now), lambda: self._look(watched))

    def _time_up(self, watched: _Watched, wait: _Wait, waiter: _Waiter) -> None:
        seen = self._observer.observed(watched.ref)
        verdict = wait.machine.time_up(seen, self._clock())
        for each in wait.waiters if wait.machine.verdict else (waiter,):
            each.end(verdict, seen.deployment)

    def _judge_permissions(self, watched: _Watched) -> None:
        allows = self._permission.policy.allows
        for waiter in _waiters(watched):
            if not allows(waiter.identity, Verb.READ, watched.ref, watched.labels):
                waiter.end(FORBIDDEN, None)

    def _interrupt(self, watched: _Watched, why: str) -> None:
        seen = self._observer.observed(watched.ref)
        for waiter in _waiters(watched):
            waiter.end(Verdict(RolloutOutcome.INTERRUPTED, why), seen.deployment)


def _waiters(watched: _Watched) -> list[_Waiter]:
    return [waiter for wait in watched.waits.values() for waiter in wait.waiters]


def _stopped(seen: Observation) -> str:
    return Trouble.STOPPED.value if seen.source.trouble is Trouble.STOPPED else ""
