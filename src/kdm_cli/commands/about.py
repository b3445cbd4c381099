"""``kdm whoami`` and ``kdm health``."""

from __future__ import annotations

import click

from kdm_cli.commands import options
from kdm_cli.commands.options import Place
from kdm_cli.commands.rich_help import Command
from kdm_cli.exits import CommandError, Exit, of_several
from kdm_cli.output import formats
from kdm_cli.output.text import printable, say, table, warn


@click.command(cls=Command)
@options.output("table", "json", "yaml")
@options.place(several=True, everywhere=False)
def whoami(form: str, place: Place) -> int:
    """Show who kdm takes you for, which kdm it is, and what it offers."""
    several = len(place.contexts) > 1
    answers = []
    exits = []
    for context in place.contexts:
        try:
            answers.append((context, place.kdm(context).about()))
            exits.append(Exit.DONE)
        except CommandError as error:
            if not several:
                raise
            warn(f"context {context.name}: {error}")
            exits.append(error.exit)
    if form != "table":
        say(formats.dumped(formats.merged([(each.name, body) for each, body in answers], several=several), form))
        return of_several(exits)
    for number, (context, about) in enumerate(answers):
        if number:
            say("")
        on = [name for name, is_on in about["features"].items() if is_on]
        off = [name for name, is_on in about["features"].items() if not is_on]
        rows = [
            ("context", context.name or "-"),
            ("server", f"{context.server} (kdm {about['version']})"),
            ("user", about["user"]["name"]),
            ("groups", ", ".join(about["user"]["groups"]) or "-"),
            ("namespace", context.namespace),
            ("offers", ", ".join(on) or "-"),
            ("does not offer", ", ".join(off) or "-"),
        ]
        for title, text in rows:
            say(f"{title:<14}   {printable(text)}")
    return of_several(exits)


@click.command(cls=Command)
@options.output("table", "json", "yaml")
@options.place(several=True, everywhere=False)
def health(form: str, place: Place) -> int:
    """Show whether kdm can do its job now: its cache is complete and fresh, and its cluster answers."""
    several = len(place.contexts) > 1
    found: list[tuple[str, dict[str, str]]] = []
    exits = []
    for context in place.contexts:
        try:
            found.append((context.name, place.kdm(context).health()))
            exits.append(Exit.DONE)
        except CommandError as error:
            found.append((context.name, {"status": "unhealthy", "error": str(error)}))
            exits.append(error.exit)
    if form != "table":
        say(formats.dumped(formats.merged(found, several=several), form))
    else:
        rows = [[each["status"], each.get("error") or "-"] for _, each in found]
        titles = ["STATUS", "WHY"]
        if several:
            titles, rows = ["CONTEXT", *titles], [[name, *row] for (name, _), row in zip(found, rows, strict=True)]
        say("\n".join(table(titles, rows)))
    return of_several(exits)
