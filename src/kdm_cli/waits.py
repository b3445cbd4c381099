"""Waiting for rollouts, over connections that break: in slices, each of which the server can take up again."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple

from kdm_cli.client.api import Kdm
from kdm_cli.contexts import Context
from kdm_cli.exits import OUTCOMES, CommandError, Exit
from kdm_cli.news import Desk, News
from kdm_cli.targets import Target

SLICE_S: Final = 30.0
"""How long one request waits, in seconds. A server that vanished without a word is noticed soon after that."""

AT_ONCE: Final = 16
"""How many rollouts are waited for at the same time. The others are looked at when one of these has ended."""

PAUSE_S: Final = 0.5
"""How long to pause before a server that went away is asked again, in seconds."""

_OPEN: Final = frozenset({"interrupted", "timeout", "unknown"})

FOR: Final = ("scaled", "ready", "available")
"""How far a rollout can be waited for."""


class Goal(NamedTuple):
    """A count that a Deployment's Pods are to follow.

    Attributes:
        target: Which Deployment.
        uid: The object that was written to; "" for what is desired when the wait begins.
        version: The resourceVersion of the write.
        replicas: The count.
    """

    target: Target
    uid: str = ""
    version: str = ""
    replicas: int = 0

    @classmethod
    def of_write(cls, target: Target, written: dict[str, Any]) -> Goal:
        """Return the goal of a write, by its answer."""
        return cls(target, written["uid"], written["resourceVersion"], written["replicas"]["desired"])

    def of_rollout(self, rollout: dict[str, Any]) -> Goal:
        """Return the same goal, with what a first answer says that it is."""
        aim = rollout["target"]
        return Goal(self.target, aim["uid"], aim["resourceVersion"], aim["replicas"])

    @property
    def query(self) -> dict[str, str]:
        """The query parameters of the route ``rollout``."""
        if not self.uid:
            return {}
        return {"uid": self.uid, "resourceVersion": self.version, "replicas": str(self.replicas)}


class Ended(NamedTuple):
    """How a wait ended.

    Attributes:
        goal: What was waited for.
        rollout: kdm's last answer; None where it gave none.
        error: Why there is no answer; None where there is one.
    """

    goal: Goal
    rollout: dict[str, Any] | None
    error: CommandError | None = None

    @property
    def exit(self) -> Exit:
        """The exit code of this wait."""
        if self.error is not None:
            return self.error.exit
        return OUTCOMES.get((self.rollout or {}).get("outcome", ""), Exit.OTHER)


def begin(desk: Desk, context: Context, goals: Iterable[Goal], wait_for: str, timeout_s: float) -> None:
    """Wait for rollouts in the background. The desk gets news ``ended`` for each, with an ``Ended``.

    Args:
        desk: Where the news go.
        context: Which kdm to ask.
        goals: What to wait for.
        wait_for: How far it must have come: one of ``FOR``.
        timeout_s: How long to wait in all, in seconds.
    """
    deadline = desk.clock() + timeout_s
    waiting: SimpleQueue[Goal] = SimpleQueue()
    for goal in goals:
        waiting.put(goal)
    for _ in range(min(AT_ONCE, waiting.qsize())):
        desk.start(partial(_work, desk, desk.kdm(context), waiting, wait_for, deadline))


def _work(desk: Desk, kdm: Kdm, waiting: SimpleQueue[Goal], wait_for: str, deadline: float) -> None:
    while not desk.stopping.is_set():
        try:
            goal = waiting.get_nowait()
        except Empty:
            break
        desk.put(News("ended", goal.target, data=_wait(desk, kdm, goal, wait_for, deadline)))
    kdm.close()


def _wait(desk: Desk, kdm: Kdm, goal: Goal, wait_for: str, deadline: float) -> Ended:
    rollout: dict[str, Any] | None = None
    while not desk.stopping.is_set():
        left_s = deadline - desk.clock()
        wait_s = max(0.0, min(SLICE_S, left_s)) if goal.uid else 0.0
        try:
            rollout = kdm.rollout(goal.target, {**goal.query, "for": wait_for}, wait_s)
        except CommandError as error:
            if not error.passing or not goal.uid:
                return Ended(goal, None, error)
            rollout = None
            if left_s <= 0:
                text = f"{error}; what came of {goal.target} is not known"
                return Ended(goal, None, CommandError(text, Exit.INTERRUPTED))
            desk.stopping.wait(min(PAUSE_S, left_s))
            continue
        known, goal = bool(goal.uid), goal.of_rollout(rollout)
        if rollout["outcome"] not in _OPEN or (known and left_s <= wait_s):
            return Ended(goal, rollout)
        if rollout["outcome"] == "interrupted":  # this kdm stops: another one, or its successor, goes on
            kdm.close()
            desk.stopping.wait(PAUSE_S)
    return Ended(goal, rollout, CommandError("interrupted", Exit.INTERRUPTED))


def sentence(ended: Ended) -> str:
    """Say how a wait ended, for a person."""
    if ended.error is not None:
        return f"{ended.goal.target}: {ended.error}"
    rollout = ended.rollout or {}
    counts = rollout.get("replicas") or {}
    text = f"{ended.goal.target}: {rollout.get('outcome')}"
    if rollout.get("outcome") == "done":
        text += f": {counts.get('available', 0)} of {counts.get('desired', 0)} available"
    elif rollout.get("message"):
        text += f": {rollout['message']}"
    return text
