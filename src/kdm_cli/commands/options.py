"""What the commands have in common: which kdm to ask, which Deployments, and the form of the answer."""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar, cast

import click

from kdm_cli import contexts, targets
from kdm_cli.client.api import Kdm
from kdm_cli.commands import completing
from kdm_cli.contexts import Context
from kdm_cli.exits import CommandError, Exit

_R = TypeVar("_R")

FORMATS: Final = ("table", "wide", "json", "yaml", "name")
_FLAGS: Final = ("server", "ca", "cert", "key", "namespace")


Wanted = Mapping[str, Sequence[targets.Target]]
"""Deployments by the names of contexts."""


class Place(NamedTuple):
    """Where a command looks.

    Attributes:
        contexts: Which kdm to ask, one or several.
        everywhere: Whether all namespaces are meant.
        given: Whether a namespace was named on the command line.
    """

    contexts: Sequence[Context]
    everywhere: bool
    given: bool = False

    @property
    def context(self) -> Context:
        """The one kdm to ask."""
        return self.contexts[0]

    @property
    def namespace(self) -> str | None:
        """The namespace that is meant; None for all."""
        return None if self.everywhere else self.context.namespace

    def kdm(self, context: Context | None = None) -> Kdm:
        """Return a kdm to ask, whose connection is closed at the end of the command.

        Args:
            context: Which; None for the one there is.
        """
        kdm = Kdm(context or self.context)
        command = click.get_current_context()
        assert command is not None  # noqa: S101 - a command is running
        command.call_on_close(kdm.close)
        return kdm

    @property
    def is_of_several_namespaces(self) -> bool:
        """Whether lists may be of several: all, or those of contexts that have different ones."""
        return self.everywhere or len({each.namespace for each in self.contexts}) > 1

    def target(self, text: str, context: Context | None = None) -> targets.Target:
        """Read a name.

        Args:
            text: The name.
            context: Where it is looked for; None for the one there is.
        """
        return targets.target(text, (context or self.context).namespace)

    def wanted(self, names: Sequence[str]) -> Wanted:
        """Return which Deployments some names are of, in each context: one without a namespace is of the context's."""
        return {each.name: [self.target(name, each) for name in names] for each in self.contexts}


def place(*, several: bool = False, everywhere: bool = True) -> Callable[[Callable[..., _R]], Callable[..., _R]]:
    """Give a command the options that say which kdm to ask. Its argument ``place`` gets a ``Place``.

    Args:
        several: Whether several contexts make sense.
        everywhere: Whether all namespaces make sense.
    """
    many = "; several with commas between them" if several else ""
    options: list[Callable[..., Any]] = [
        click.option(
            "--context",
            metavar="NAME",
            shell_complete=completing.context_names,
            help=f"The context to use{many}. Default: $KDM_CONTEXT, or the current one.",
        ),
        click.option("--server", metavar="URL", help="kdm's URL, in the place of the context's."),
        click.option("--ca", metavar="FILE", type=click.Path(), help="The CA of kdm's certificate."),
        click.option("--cert", metavar="FILE", type=click.Path(), help="The client certificate."),
        click.option("--key", metavar="FILE", type=click.Path(), help="The client certificate's key."),
        click.option("-n", "--namespace", metavar="NS", shell_complete=completing.namespaces, help="The namespace."),
    ]
    if everywhere:
        options.append(click.option("-A", "--all-namespaces", is_flag=True, help="All namespaces."))

    def decorate(function: Callable[..., _R]) -> Callable[..., _R]:
        @functools.wraps(function)
        def with_place(*args: Any, **given: Any) -> _R:
            flags = {name: given.pop(name) for name in _FLAGS}
            anywhere = given.pop("all_namespaces", False)
            if anywhere and flags["namespace"]:
                raise targets.usage("-A and -n contradict each other: all namespaces, or one")
            chosen = given.pop("context")
            for name, value in [("context", chosen), *flags.items()]:
                if value == "":  # what an unset variable leaves; the context's own would be another place
                    raise targets.usage(f"--{name} is empty; leave it out for what is used without it")
            found = contexts.chosen(chosen, flags, several=several)
            return function(*args, place=Place(found, anywhere, flags["namespace"] is not None), **given)

        for option in reversed(options):
            with_place = option(with_place)
        return with_place

    return decorate


def output(*formats: str) -> Callable[[Callable[..., _R]], Callable[..., _R]]:
    """Give a command ``-o``, of these forms; the first is the default."""
    return click.option(
        "-o",
        "--output",
        "form",
        metavar="|".join(formats),
        type=click.Choice(formats),
        default=formats[0],
        help="The form of the output.",
    )


selector: Final = click.option(
    "-l", "--selector", metavar="SELECTOR", default="", help="Those with such labels: tier=web,env in (a,b)."
)

states: Final = click.option(
    "--state",
    metavar="STATE",
    default="",
    shell_complete=completing.states,
    help="Those whose rollout is in such a state; several with commas between them.",
)

names: Final = click.argument("names", metavar="[NAME...]", nargs=-1, shell_complete=completing.deployments)

reason: Final = click.option(
    "--reason",
    metavar="TEXT",
    default=lambda: os.environ.get("KDM_REASON", ""),
    help="Why, for the audit trail and the history. Default: $KDM_REASON.",
)

override: Final = click.option(
    "--override", is_flag=True, help="Write although an owner will change it back, where the policy lets you."
)

dry_run: Final = click.option(
    "--dry-run", is_flag=True, help="Have everything judged, in the cluster too; change nothing."
)

yes: Final = click.option("-y", "--yes", is_flag=True, help="Do it without asking. Needed where there is no terminal.")

wait_for: Final = click.option(
    "--for",
    "wait_for",
    metavar="scaled|ready|available",
    type=click.Choice(("scaled", "ready", "available")),
    default="available",
    help="How far the Pods must have come.  [default: available]",
)


def has_terminal() -> bool:
    """Return whether there is somebody to ask."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, *, yes: bool) -> None:
    """Ask whether to go on.

    Args:
        question: What to ask.
        yes: Whether it was answered on the command line.

    Raises:
        CommandError: No, or there is nobody to ask.
    """
    if yes:
        return
    if not has_terminal():
        raise CommandError("--yes is needed where there is no terminal to ask on; nothing was changed", Exit.USAGE)
    _forget_what_was_typed()
    answer = ""
    try:
        click.echo(f"{question} [y/N] ", nl=False, err=True)
        _wait_for_a_line()
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        pass  # as good as a no
    if not answer:
        click.echo(err=True)
    if answer.strip().lower() not in {"y", "yes"}:
        raise CommandError("nothing was changed", Exit.OTHER)


def _forget_what_was_typed() -> None:
    """Drop what was typed before the question was there: it answers another one, or none."""
    import termios  # noqa: PLC0415 - not on every system, and few commands ask

    with contextlib.suppress(OSError, ValueError, termios.error):
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


def _wait_for_a_line() -> None:
    """Wait for an answer, or a signal. A read alone misses the one that comes just before it, and waits for good."""
    heard, wakeup = os.pipe()
    try:
        os.set_blocking(wakeup, False)
        with contextlib.suppress(OSError, ValueError):  # no real terminal, or not the main thread: the read will do
            before = signal.set_wakeup_fd(wakeup)
            try:
                select.select([sys.stdin, heard], [], [])
            finally:
                signal.set_wakeup_fd(before)
    finally:
        os.close(heard)
        os.close(wakeup)


def typed(command: Any) -> click.Command:
    """Return a command as one; decorators of options hide that it is."""
    return cast("click.Command", command)
