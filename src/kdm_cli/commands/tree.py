"""The tree of commands. A command's module is imported when the command is run, or its help is shown."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import rich_click as click

from kdm_cli.exits import CommandError, Exit
from kdm_cli.news import PipeClosed
from kdm_cli.output.text import printable

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
    "ui": "kdm_cli.ui:ui",
    "whoami": f"{_HERE}.about:whoami",
    "health": f"{_HERE}.about:health",
    "context": f"{_HERE}.context:context",
    "completion": f"{_HERE}.completion:completion",
    "serve": f"{_HERE}.service:serve",
    "certs": f"{_HERE}.service:certs",
    "policy": f"{_HERE}.service:policy",
}
"""Where each command is, in the order of the help: the module, and the command in it."""

GROUPS: Final = [
    {"name": "Look", "commands": ["get", "watch", "history", "ui", "whoami", "health"]},
    {"name": "Change", "commands": ["scale", "wait", "park", "restore", "undo"]},
    {"name": "Set up", "commands": ["context", "completion"]},
    {"name": "Run kdm itself", "commands": ["serve", "certs", "policy"]},
]
"""The headings of the help."""


class Tree(click.RichGroup):
    """The command `kdm`: its subcommands are imported one by one."""

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


def _is_there(name: str) -> bool:
    return name in COMMANDS and importlib.util.find_spec(COMMANDS[name].partition(":")[0]) is not None


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from kdm_core.version import installed_version  # noqa: PLC0415 - which no other command needs

        click.echo(f"kdm {installed_version()}")
        ctx.exit()


@click.group(cls=Tree, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
@click.rich_config({"command_groups": {"kdm": GROUPS}, "commands_table_column_types": ["name", "help"]})
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
    try:
        code: Any = kdm.main(arguments, prog_name="kdm", standalone_mode=False)
        sys.stdout.flush()
    except CommandError as error:
        return _fail(str(error), error.exit)
    except click.UsageError as error:
        return _fail(_usage(error), Exit.USAGE)
    except click.ClickException as error:
        return _fail(error.format_message(), Exit.OTHER)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", Exit.INTERRUPTED)
    except (BrokenPipeError, PipeClosed):
        _forget_output()
        return Exit.DONE
    except OSError as error:
        _forget_output()
        return _fail(f"cannot write the output: {error.strerror}", Exit.OTHER)
    return code if isinstance(code, int) else Exit.DONE


def _usage(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx else "kdm"
    text = error.format_message().replace("\n", " ").rstrip(".")
    return f"{text}; `{path} --help` shows what there is"


def _fail(text: str, code: Exit) -> int:
    print(f"kdm: {printable(text)}", file=sys.stderr, flush=True)
    return code


def _forget_output() -> None:
    """Let the interpreter find nothing to write when it exits: nobody reads it."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
