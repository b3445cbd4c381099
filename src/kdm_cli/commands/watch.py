"""``kdm watch``: a view of Deployments that stays up to date; in a pipe, a line for each change."""

from __future__ import annotations

from typing import Any

import click

from kdm_cli import targets
from kdm_cli.client.mirror import target_of
from kdm_cli.commands import following, options
from kdm_cli.commands.options import Place, Wanted
from kdm_cli.commands.rich_help import Command
from kdm_cli.news import Desk, News
from kdm_cli.output import formats, live
from kdm_cli.targets import Target


@click.command(cls=Command)
@options.names
@options.selector
@options.states
@options.place(several=True)
def watch(names: tuple[str, ...], selector: str, state: str, place: Place) -> int:
    """Show Deployments, and keep what is shown up to date until Ctrl-C.

    On a terminal: a row each, with a bar of available over desired. In a pipe: a line for each change.
    """
    if names and (selector or state or place.everywhere):
        raise targets.usage("names and -l, --state or -A exclude each other: a name says which Deployment it is")
    wanted = place.wanted(names)
    if not live.wanted():
        return following.print_changes(place, wanted, selector, state, "table")
    board, ends = _Board(place, wanted), following.Ends(place)
    with Desk() as desk, live.View() as view:
        following.follow(desk, place, wanted, selector, state)
        drawn_at, changed = 0.0, False
        while ends.exit is None:
            news = desk.take(live.REFRESH_S if changed else 1.0)
            if news is not None:
                board.apply(news)
                ends.note(news)
            changed = changed or news is not None
            if changed and desk.clock() - drawn_at >= live.REFRESH_S:
                view.draw(board.lines(), board.foot())
                drawn_at, changed = desk.clock(), False
        view.draw(board.lines(), board.foot())
    return ends.exit


class _Board:
    """What the view shows."""

    def __init__(self, place: Place, wanted: Wanted) -> None:
        self._wanted = wanted
        self._several = len(place.contexts) > 1
        self._namespaces = following.several_namespaces(place, wanted)
        self._held: dict[tuple[str, Target], dict[str, Any]] = {}
        self._trouble: dict[str, str] = {}

    def apply(self, news: News) -> None:
        if news.kind == "lost":
            self._trouble[news.origin] = f"{news.what}; trying again"
        elif news.kind == "gone":
            self._trouble[news.origin] = news.what
        elif news.kind == "stale":
            self._trouble[news.origin] = "this may be out of date: kdm hears nothing from the cluster"
        elif news.kind in {"back", "fresh"}:
            self._trouble.pop(news.origin, None)
        elif news.kind == "change":
            target = target_of(news.data)
            if news.what == "deleted":
                self._held.pop((news.origin, target), None)
            elif not (wanted := self._wanted[news.origin]) or target in wanted:
                self._held[news.origin, target] = news.data

    def lines(self) -> list[live.Line]:
        return [self._line(context, target, self._held[context, target]) for context, target in sorted(self._held)]

    def foot(self) -> str:
        count = len(self._held)
        text = f"{count} Deployment{'' if count == 1 else 's'}; Ctrl-C ends the view"
        return "; ".join([*(f"{name}: {why}" if self._several else why for name, why in self._trouble.items()), text])

    def _line(self, context: str, target: Target, body: dict[str, Any]) -> live.Line:
        name = str(target) if self._namespaces else target.name
        counts, owner = body["replicas"], formats.owner(body)
        note = body["rollout"].get("message") or ("" if owner == "-" else owner)
        shown = f"{context}: {name}" if self._several else name
        return live.Line(shown, counts["available"], counts["desired"], formats.state(body), note)
