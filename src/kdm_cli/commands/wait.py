"""``kdm wait``: until the Pods have followed the desired count."""

from __future__ import annotations

import click

from kdm_cli import targets, waits
from kdm_cli.commands import completing, options
from kdm_cli.commands.options import Place
from kdm_cli.commands.rich_help import Command
from kdm_cli.commands.waiting import await_goals


@click.command(cls=Command)
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=completing.deployments)
@options.wait_for
@click.option("--timeout", metavar="DURATION", default="5m", help="How long to wait: 90s, 5m, 1h30m.  [default: 5m]")
@options.place(everywhere=False)
def wait(names: tuple[str, ...], wait_for: str, timeout: str, place: Place) -> int:
    """Wait until the Pods have followed the count that is desired now.

    Exits with 0 only if they have; the other exit codes say what happened instead.
    """
    seconds = targets.duration(timeout, "--timeout")
    goals = [waits.Goal(each) for each in dict.fromkeys(place.target(name) for name in names)]
    return await_goals(place.context, goals, wait_for, seconds).exit
