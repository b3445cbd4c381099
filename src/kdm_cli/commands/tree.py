"""The tree of commands. A command's module is imported when the command is run, or its help is shown."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

import click

from kdm_cli.commands.rich_help import CONTEXT, Group
from kdm_cli.exits import CommandError, Exit
from kdm_cli.news import PipeClosed
from kdm_cli.output.text import blamed, forget, warn

_HERE: Final = "kdm_cli.commands"
COMMANDS: Final = {
    "get": f"{_HERE}.get:get",
    "watch": f"{_HERE}.watch:watch",
    "scale": f"{_HERE}.scale:scale",
    "wait": f"{_HERE}.wait:wait",
    "park": f"{_HERE}.park:park",
    "restore": f"{_HERE}.park:restore",
    "history": f"{_HERE}.history:history",
    "undo": f"{_HERE}.history:undo",
    "ui": f"{_HERE}.ui:ui",
    "whoami": f"{_HERE}.about:whoami",
    "health": f"{_HERE}.about:health",
    "context": f"{_HERE}.context:context",
    "completion": f"{_HERE}.completion:completion",
    "serve": f"{_HERE}.service:serve",
    "certs": f"{_HERE}.service:certs",
    "policy": f"{_HERE}.service:policy",
}
"""Where each command is, in the order of the help: the module, and the command in it."""

VARIABLE: Final = "_KDM_COMPLETE"
"""The environment variable by which a shell's function asks kdm what to offer (click's)."""

GROUPS: Final = [
    {"name": "Look", "commands": ["get", "watch", "history", "ui", "whoami", "health"]},
    {"name": "Change", "commands": ["scale", "wait", "park", "restore", "undo"]},
    {"name": "Set up", "commands": ["context", "completion"]},
    {"name": "Run kdm itself", "commands": ["serve", "certs", "policy"]},
]
"""The headings of the help."""


class Tree(Group):
    """The command `kdm`: its subcommands are imported one by one."""

    headings = GROUPS

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of the help."""
        del ctx
        return [name for name in COMMANDS if _is_there(name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; None where there is none of this name."""
        del ctx
        if not _is_there(cmd_name):
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the arguments, and print the help or the version where they ask for it."""
        with _output_judged():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        with _output_judged():
            result = super().invoke(ctx)
            try:
                sys.stdout.flush()
            except BrokenPipeError:  # what was asked for has come to its end
                forget(sys.stdout)
            return result


@contextmanager
def _output_judged() -> Iterator[None]:
    """Judge what cannot be printed: click would exit with 1 where a pipe was closed."""
    try:
        yield
    except BrokenPipeError as error:
        raise PipeClosed from error
    except OSError as error:
        raise CommandError(blamed(error)) from error


def _is_there(name: str) -> bool:
    return name in COMMANDS and importlib.util.find_spec(COMMANDS[name].partition(":")[0]) is not None


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from kdm_core.version import installed_version  # noqa: PLC0415 - which no other command needs

        click.echo(f"kdm {installed_version()}")
        ctx.exit()


@click.group(cls=Tree, context_settings=CONTEXT)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
def kdm() -> None:
    """Read and change how many replicas Deployments run."""


def run(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Its arguments; None for those of the process.

    Returns:
        The exit code; see :class:`kdm_cli.exits.Exit`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if VARIABLE in os.environ:
        importlib.import_module(f"{_HERE}.shells")  # which click then uses
    try:
        with _ended_by_signals():
            code: Any = kdm.main(arguments, prog_name="kdm", standalone_mode=False)
    except PipeClosed:
        forget(sys.stdout)
        return Exit.DONE
    except (CommandError, click.ClickException, click.Abort, KeyboardInterrupt) as error:
        return _fail(error)
    return code if isinstance(code, int) else Exit.DONE


class Terminated(KeyboardInterrupt):
    """SIGTERM came: everything is left as after Ctrl-C."""


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does, so that the terminal is left as it was."""

    def terminate(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    wanted = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: terminate}
    in_main = threading.current_thread() is threading.main_thread()
    ours = [number for number in wanted if in_main and signal.getsignal(number) == signal.SIG_DFL]
    try:
        for number in ours:
            signal.signal(number, wanted[number])
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _fail(error: BaseException) -> int:
    text, code = str(error), Exit.OTHER
    if isinstance(error, CommandError):
        code = error.exit
    elif isinstance(error, click.exceptions.NoArgsIsHelpError):  # it is the help
        print(error.format_message(), file=sys.stderr)
        return Exit.USAGE
    elif isinstance(error, click.UsageError):
        text, code = _usage(error), Exit.USAGE
    elif isinstance(error, click.ClickException):
        text = error.format_message()
    else:
        text, code = "interrupted", Exit.INTERRUPTED
    warn(text)
    return code


def _usage(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx else "kdm"
    text = error.format_message().replace("\n", " ").rstrip(".")
    return f"{text}; `{path} --help` shows what there is"
