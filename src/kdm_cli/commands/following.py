"""Lines for what happens to Deployments, as ``kdm get --watch`` prints them, and ``kdm watch`` into a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from kdm_cli.client.mirror import target_of
from kdm_cli.commands.options import Place
from kdm_cli.news import Desk, News
from kdm_cli.output import formats
from kdm_cli.output.text import Rows, coloured, warn
from kdm_cli.targets import Target


def follow(desk: Desk, place: Place, wanted: Sequence[Target], selector: str, states: str) -> None:
    """Open the streams that show some Deployments.

    Args:
        desk: Where their news go.
        place: Which kdm, and which namespace.
        wanted: The Deployments; empty for all that fit.
        selector: A label selector.
        states: States of a rollout.
    """
    namespaces = {each.namespace for each in wanted}
    for context in place.contexts:
        one = next(iter(namespaces)) if len(namespaces) == 1 else None
        namespace = one if wanted else None if place.everywhere else context.namespace
        desk.follow(context, namespace, selector, states)


def print_changes(place: Place, wanted: Sequence[Target], selector: str, states: str, form: str) -> int:
    """Print Deployments, then a line for each change, until the command is interrupted or nobody reads."""
    printer = _Printer(place, wanted, form)
    with Desk() as desk:
        desk.watch_pipe()
        follow(desk, place, wanted, selector, states)
        while news := desk.take():
            printer.show(news)
    return 0


class _Printer:
    """Prints news. A table's first rows are held back until all streams are complete, to make its columns fit."""

    def __init__(self, place: Place, wanted: Sequence[Target], form: str) -> None:
        self._wanted, self._form = frozenset(wanted), form
        self._several = len(place.contexts) > 1
        self._wide = form == "wide"
        self._namespaces = place.everywhere or len({each.namespace for each in wanted}) > 1
        self._unsynced = {context.name for context in place.contexts}
        titles = formats.titles(wide=self._wide, namespaces=self._namespaces, contexts=self._several)
        self._rows = Rows(titles, colours=coloured(sys.stdout))
        self._state_at = titles.index("STATE")

    def show(self, news: News) -> None:
        where = f"context {news.origin}: " if self._several else ""
        if news.kind == "lost":
            warn(f"{where}{news.what}; trying again")
        elif news.kind == "back":
            warn(f"{where}connected again")
        elif news.kind == "stale":
            warn(f"{where}this may be out of date: kdm hears nothing from the cluster")
        elif news.kind == "synced" and self._unsynced:
            self._unsynced.discard(news.origin)
            if not self._unsynced and self._form in {"table", "wide"}:
                self._rows.release()
        elif news.kind == "change" and (not self._wanted or target_of(news.data) in self._wanted):
            self._show(news.what, news.data, str(news.origin) if self._several else None)

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
