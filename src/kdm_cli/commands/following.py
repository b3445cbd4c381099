"""Lines for what happens to Deployments, as ``kdm get --watch`` prints them, and ``kdm watch`` into a pipe."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, Final

from kdm_cli.client.mirror import target_of
from kdm_cli.commands.options import Place, Wanted
from kdm_cli.exits import Exit, of_several
from kdm_cli.news import Desk, News
from kdm_cli.output import formats
from kdm_cli.output.text import Rows, coloured, warn

HOLD_S: Final = 2.0
"""How long the rows of one context wait for those of the others, in seconds."""


def several_namespaces(place: Place, wanted: Wanted) -> bool:
    """Return whether what is shown may be of several namespaces."""
    found = {target.namespace for targets in wanted.values() for target in targets}
    return len(found) > 1 if found else place.is_of_several_namespaces


def follow(desk: Desk, place: Place, wanted: Wanted, selector: str, states: str) -> None:
    """Open the streams that show some Deployments.

    Args:
        desk: Where their news go.
        place: Which kdm, and which namespace.
        wanted: The Deployments; empty lists for all that fit.
        selector: A label selector.
        states: States of a rollout.
    """
    for context in place.contexts:
        named = {each.namespace for each in wanted[context.name]}
        one = next(iter(named)) if len(named) == 1 else None
        namespace = one if named else None if place.everywhere else context.namespace
        desk.follow(context, namespace, selector, states, alone=len(place.contexts) == 1)


class Ends:
    """Which streams do not come back.

    Args:
        place: Whose streams there are.
    """

    def __init__(self, place: Place) -> None:
        self._open = {context.name for context in place.contexts}
        self._exits: list[Exit] = []

    @property
    def exit(self) -> Exit | None:
        """The exit code once none is left; None before."""
        return None if self._open else of_several(self._exits)

    def note(self, news: News) -> None:
        """Take news in."""
        if news.kind == "gone":
            self._open.discard(news.origin)
            self._exits.append(news.data.exit)


def print_changes(place: Place, wanted: Wanted, selector: str, states: str, form: str) -> int:
    """Print Deployments, then a line for each change, until the command is interrupted or nobody reads.

    Returns:
        The exit code: each of several streams has failed for good.
    """
    ends = Ends(place)
    with Desk() as desk:
        printer = _Printer(place, wanted, form, desk.clock)
        desk.watch_pipe()
        follow(desk, place, wanted, selector, states)
        while ends.exit is None:
            news = desk.take(printer.wait_s)
            if news is not None:
                printer.show(news)
                ends.note(news)
            printer.release()
    return ends.exit


class _Printer:
    """Prints news. A table's first rows are held back until all streams are complete, to make its columns fit.

    A stream that fails is not waited for, nor one that takes much longer than the others.
    """

    def __init__(self, place: Place, wanted: Wanted, form: str, clock: Callable[[], float]) -> None:
        self._wanted, self._form, self._clock = wanted, form, clock
        self._several = len(place.contexts) > 1
        self._wide = form == "wide"
        self._namespaces = several_namespaces(place, wanted)
        self._holding = form in {"table", "wide"}
        self._hold_until = math.inf
        self._unsynced = {context.name for context in place.contexts}
        titles = formats.titles(wide=self._wide, namespaces=self._namespaces, contexts=self._several)
        self._rows = Rows(titles, colours=coloured(sys.stdout))
        self._state_at = titles.index("STATE")

    @property
    def wait_s(self) -> float | None:
        """How long news may be waited for, in seconds; None for as long as it takes."""
        return self._hold_until - self._clock() if self._holding and self._hold_until < math.inf else None

    def release(self) -> None:
        """Print what was held back, where nothing is to be waited for any more."""
        if self._holding and (not self._unsynced or self._clock() >= self._hold_until):
            self._holding = False
            self._rows.release()

    def show(self, news: News) -> None:
        where = f"context {news.origin}: " if self._several else ""
        if news.kind == "lost":
            warn(f"{where}{news.what}; trying again")
        elif news.kind == "gone":
            warn(f"{where}{news.what}")
        elif news.kind == "back":
            warn(f"{where}connected again")
        elif news.kind == "stale":
            warn(f"{where}this may be out of date: kdm hears nothing from the cluster")
        elif news.kind == "fresh":
            warn(f"{where}this is up to date again")
        elif news.kind == "synced":
            self._hold_until = min(self._hold_until, self._clock() + HOLD_S)
        elif news.kind == "change" and self._is_wanted(news):
            self._show(news.what, news.data, str(news.origin) if self._several else None)
        if news.kind in {"lost", "gone", "synced"}:
            self._unsynced.discard(news.origin)

    def _is_wanted(self, news: News) -> bool:
        wanted = self._wanted[news.origin]
        return not wanted or target_of(news.data) in wanted

    def _show(self, what: str, body: dict[str, Any], context: str | None) -> None:
        if self._form in {"json", "yaml"}:
            print(formats.stream_line(what, body, context, self._form), flush=True)
        elif self._form == "name":
            print(formats.name(body), flush=True)
        else:
            cells = formats.row(body, wide=self._wide, namespaces=self._namespaces, context=context)
            if what == "deleted":
                cells[self._state_at] = "deleted"
            self._rows.add(cells)
