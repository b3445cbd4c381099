"""Waiting for Pods, and showing how far they are: bars on a terminal, a line for each end elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from kdm_cli import waits
from kdm_cli.client.mirror import target_of
from kdm_cli.contexts import Context
from kdm_cli.exits import CommandError, Exit, of_several
from kdm_cli.news import Desk
from kdm_cli.output import live
from kdm_cli.output.text import printable, say
from kdm_cli.targets import Target
from kdm_cli.waits import Ended, Goal

_HINT: Final = "Ctrl-C ends the wait, not the change"


class Result(NamedTuple):
    """What came of waiting.

    Attributes:
        ended: How each wait ended.
    """

    ended: dict[Target, Ended]

    @property
    def exit(self) -> Exit:
        """The exit code for all of them."""
        return of_several([each.exit for each in self.ended.values()])


def await_goals(
    context: Context, goals: Sequence[Goal], wait_for: str, timeout_s: float, *, quiet: bool = False
) -> Result:
    """Wait until Pods have followed, or cannot, and show it.

    Args:
        context: Which kdm to ask.
        goals: What to wait for.
        wait_for: How far it must have come.
        timeout_s: How long to wait, in seconds.
        quiet: Whether to show nothing, because standard output is for something else.

    Raises:
        CommandError: The wait was interrupted.
    """
    if not goals:
        return Result({})
    try:
        with Desk() as desk:
            waits.begin(desk, context, goals, wait_for, timeout_s)
            if not quiet and live.wanted():
                ended = _with_bars(desk, context, goals)
            else:
                ended = _with_lines(desk, goals, quiet=quiet)
    except KeyboardInterrupt as error:
        names = " ".join(str(goal.target) for goal in goals[:3]) + (" ..." if len(goals) > 3 else "")
        text = f"interrupted; the change itself goes on. To wait again: kdm wait {names}"
        raise CommandError(text, Exit.INTERRUPTED) from error
    return Result(ended)


def _with_lines(desk: Desk, goals: Sequence[Goal], *, quiet: bool) -> dict[Target, Ended]:
    ended: dict[Target, Ended] = {}
    while len(ended) < len(goals):
        news = desk.take()
        if news is not None and news.kind == "ended":
            ended[news.origin] = news.data
            if not quiet:
                say(printable(waits.sentence(news.data)))
    return ended


def _with_bars(desk: Desk, context: Context, goals: Sequence[Goal]) -> dict[Target, Ended]:
    ended: dict[Target, Ended] = {}
    shown = {goal.target: live.Line(str(goal.target), 0, goal.replicas, "waiting") for goal in goals}
    namespaces = {target.namespace for target in shown}
    desk.follow(context, next(iter(namespaces)) if len(namespaces) == 1 else None)
    with live.View() as view:
        view.draw(list(shown.values()), _HINT)
        drawn_at = desk.clock()
        while len(ended) < len(goals):
            news = desk.take(live.REFRESH_S)
            if news is not None and news.kind == "ended":
                ended[news.origin] = news.data
                shown[news.origin] = _line_of_end(news.data)
            elif news is not None and news.kind == "change" and news.what != "deleted":
                target = target_of(news.data)
                if target in shown and target not in ended:
                    shown[target] = _line(target, news.data)
            if desk.clock() - drawn_at >= live.REFRESH_S:
                view.draw(list(shown.values()), _HINT)
                drawn_at = desk.clock()
        view.draw(list(shown.values()))
    return ended


def _line(target: Target, body: dict[str, Any]) -> live.Line:
    counts, rollout = body["replicas"], body["rollout"]
    return live.Line(str(target), counts["available"], counts["desired"], rollout["state"], rollout["message"])


def _line_of_end(ended: Ended) -> live.Line:
    rollout = ended.rollout or {}
    counts = rollout.get("replicas") or {"available": 0, "desired": ended.goal.replicas}
    outcome = str(rollout.get("outcome", "unknown"))
    note = str(ended.error) if ended.error is not None else str(rollout.get("message") or "")
    return live.Line(str(ended.goal.target), counts["available"], counts["desired"], outcome, note)
