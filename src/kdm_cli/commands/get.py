"""``kdm get``: show Deployments once, or each change."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from kdm_cli import news, targets
from kdm_cli.client.api import Kdm
from kdm_cli.commands import following, options
from kdm_cli.commands.following import several_namespaces
from kdm_cli.commands.options import FORMATS, Place, Wanted
from kdm_cli.commands.rich_help import Command
from kdm_cli.exits import CommandError, Exit, of_several
from kdm_cli.output import formats
from kdm_cli.output.text import coloured, say, table, warn

T = TypeVar("T")


@click.command(cls=Command)
@options.names
@options.selector
@options.states
@options.output(*FORMATS)
@click.option("-w", "--watch", is_flag=True, help="Then go on, with a line for each change, until Ctrl-C.")
@options.place(several=True)
def get(names: tuple[str, ...], selector: str, state: str, form: str, watch: bool, place: Place) -> int:
    """Show Deployments: all of the namespace, those of a selector, or those that are named.

    NAME may be NAMESPACE/NAME. With several contexts a column says which one a row is of.
    """
    if names and (selector or state or place.everywhere):
        raise targets.usage("names and -l, --state or -A exclude each other: a name says which Deployment it is")
    wanted = place.wanted(names)
    if watch:
        return following.print_changes(place, wanted, selector, state, form)
    return _one_by_one(place, wanted, form) if names else _list(place, selector, state, form)


def _list(place: Place, selector: str, state: str, form: str) -> int:
    several = len(place.contexts) > 1

    def ask(kdm: Kdm) -> dict[str, Any] | CommandError:
        try:
            return kdm.list(None if place.everywhere else kdm.context.namespace, selector, state)
        except CommandError as error:
            return error

    answers = _ask(place, ask)
    lists: list[tuple[str, dict[str, Any]]] = []
    failed: list[CommandError] = []
    for context, answer in zip(place.contexts, answers, strict=True):
        if isinstance(answer, CommandError):
            failed.append(answer)
            if several:
                warn(f"context {context.name}: {answer}")
        else:
            lists.append((context.name, answer))
    if not several and failed:
        raise failed[0]
    if lists or form in {"json", "yaml"}:
        _print_lists(lists, form, several=several, namespaces=place.is_of_several_namespaces)
    for name, answer in lists:
        if answer["metadata"]["stale"]:
            where = f"context {name}: " if several else ""
            age = answer["metadata"]["ageSeconds"]
            warn(f"{where}this may be out of date: kdm has heard nothing from the cluster for {age} s")
    return of_several([*(error.exit for error in failed), *([Exit.DONE] * len(lists))])


def _print_lists(lists: list[tuple[str, dict[str, Any]]], form: str, *, several: bool, namespaces: bool) -> None:
    items = [(context, item) for context, answer in lists for item in answer["items"]]
    if form in {"json", "yaml"}:
        say(formats.dumped(formats.merged(lists, several=several), form))
    elif form == "name":
        for _, item in items:
            say(formats.name(item))
    elif items:
        _print_table(items, wide=form == "wide", several=several, namespaces=namespaces)
    else:
        warn("no Deployments found")


def _print_table(items: list[tuple[str, dict[str, Any]]], *, wide: bool, several: bool, namespaces: bool) -> None:
    titles = formats.titles(wide=wide, namespaces=namespaces, contexts=several)
    rows = [
        formats.row(item, wide=wide, namespaces=namespaces, context=context if several else None)
        for context, item in items
    ]
    say("\n".join(table(titles, rows, colours=coloured(sys.stdout))))


def _ask(place: Place, ask: Callable[[Kdm], T]) -> list[T]:
    if len(place.contexts) == 1:
        return [ask(place.kdm())]
    return news.ask_each(place.contexts, ask)


def _answers(kdm: Kdm, wanted: Wanted) -> Iterator[dict[str, Any] | CommandError]:
    """Yield what a kdm says of each Deployment, until it says something of all of them."""
    for target in wanted[kdm.context.name]:
        try:
            yield kdm.get(target)
        except CommandError as error:
            yield error
            if _ends(error):
                return


def _ends(error: CommandError) -> bool:
    return error.exit in {Exit.UNAVAILABLE, Exit.USAGE}


def _one_by_one(place: Place, wanted: Wanted, form: str) -> int:
    several = len(place.contexts) > 1
    found: list[tuple[str, dict[str, Any]]] = []
    exits: list[Exit] = []
    for context, answers in zip(place.contexts, _ask(place, lambda kdm: list(_answers(kdm, wanted))), strict=True):
        for answer in answers:
            if isinstance(answer, CommandError):
                if not several and (_ends(answer) or len(wanted[context.name]) == 1):
                    raise answer
                warn(f"context {context.name}: {answer}" if several else str(answer))
                exits.append(answer.exit)
            else:
                found.append((context.name, answer))
                exits.append(Exit.DONE)
    one = all(len(each) == 1 for each in wanted.values())
    namespaces = several_namespaces(place, wanted)
    if form in {"json", "yaml"}:
        _print_values(found, form, several=several, one=one)
    elif form == "name":
        for _, item in found:
            say(formats.name(item))
    elif found:
        _print_table(found, wide=form == "wide", several=several, namespaces=namespaces)
    return of_several(exits)


def _print_values(found: list[tuple[str, dict[str, Any]]], form: str, *, several: bool, one: bool) -> None:
    """Print Deployments as values: one as it is, several as a list; by context where there are several of these."""
    by_context: dict[str, Any] = {}
    for context, item in found:
        by_context.setdefault(context, []).append(item)
    values = {context: items[0] if one else items for context, items in by_context.items()}
    if values:
        say(formats.dumped(values if several else next(iter(values.values())), form))
