"""What the commands that change counts have in common: the options of a write, and how it is waited for."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from kdm_cli import targets
from kdm_cli.commands import options, plans
from kdm_cli.commands.plans import How
from kdm_cli.commands.rich_help import Command
from kdm_cli.exits import CommandError
from kdm_cli.output.text import warn

_R = TypeVar("_R")

DEFAULT_WAIT = "5m"
RETRY_PAUSE_S: Final = 5.0
"""How long to wait before the whole command is tried again, in seconds."""


class WriteCommand(Command):
    """A command with ``--wait[=DURATION]``: only ``=`` gives it a value, so that it can stand before a name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give a bare ``--wait`` its default."""
        until = args.index("--") if "--" in args else len(args)
        filled = [f"--wait={DEFAULT_WAIT}" if arg == "--wait" else arg for arg in args[:until]]
        return super().parse_args(ctx, filled + args[until:])


_wait = click.option(
    "--wait", metavar="[=DURATION]", help=f"Wait until the Pods have followed.  [default: {DEFAULT_WAIT}, if given]"
)


def write(*, everywhere: bool = True) -> Callable[[Callable[..., _R]], Callable[..., _R]]:
    """Give a command the options of a write.

    Its argument ``how`` gets a ``How``, ``body`` what every write's body may have, and ``place`` a ``Place``.

    Args:
        everywhere: Whether all namespaces make sense.
    """

    def decorate(function: Callable[..., _R]) -> Callable[..., _R]:
        @functools.wraps(function)
        def writing(
            *args: Any,
            form: str,
            wait: str | None,
            wait_for: str,
            reason: str,
            override: bool,
            dry_run: bool,
            yes: bool,
            **given: Any,
        ) -> _R:
            source = click.get_current_context().get_parameter_source("wait_for")
            if wait is None and source is ParameterSource.COMMANDLINE:
                raise targets.usage("--for says how far --wait waits; add --wait")
            wait_s = targets.duration(wait, "--wait") if wait is not None else 0.0
            how = How(form, yes, dry_run, wait_for if wait is not None else "", wait_s)
            return function(*args, how=how, body=plans.common(reason, override=override), **given)

        command: Callable[..., _R] = writing
        for option in (
            options.place(everywhere=everywhere),
            options.output("table", "json", "yaml", "name"),
            options.yes,
            options.dry_run,
            options.override,
            options.reason,
            options.wait_for,
            _wait,
        ):  # the last to be added is the first that help shows
            command = option(command)
        return command

    return decorate


def pause() -> None:
    """Wait before the whole command is tried again."""
    time.sleep(RETRY_PAUSE_S)


def unattended(function: Callable[..., _R]) -> Callable[..., _R]:
    """Give a command the options for when nobody looks on. Only for one that can be given again without doing more.

    It stands below ``write``: the command's argument ``how`` gets what they say.
    """

    @functools.wraps(function)
    def going_on(*args: Any, how: How, on_error: str, retry: str | None, ignore_not_found: bool, **given: Any) -> _R:
        retry_s = targets.duration(retry, "--retry") if retry is not None else 0.0
        until = time.monotonic() + retry_s
        how = how._replace(goes_on=on_error == "continue", repeats=retry_s > 0, may_be_none=ignore_not_found)
        while True:
            try:
                return function(*args, how=how, **given)
            except CommandError as error:
                if not error.passing or time.monotonic() + RETRY_PAUSE_S > until:
                    raise
                warn(f"{error}; trying again in {RETRY_PAUSE_S:g} s")
            pause()

    command: Callable[..., _R] = going_on
    for option in (
        click.option("--ignore-not-found", is_flag=True, help="End with 0 where there is nothing to change."),
        click.option(
            "--retry",
            metavar="DURATION",
            help="Try for so long where kdm or the cluster cannot serve, or some are left to do.",
        ),
        click.option(
            "--on-error",
            metavar="abort|continue",
            type=click.Choice(("abort", "continue")),
            default="abort",
            help="Whether one of several that is refused keeps the others from being changed.  [default: abort]",
        ),
    ):
        command = option(command)
    return command
