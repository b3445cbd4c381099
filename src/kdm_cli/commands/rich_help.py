"""Commands of plain click whose help rich-click shows: it takes 40 ms to import, which only help is worth."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Final

import click

CONTEXT: Final[dict[str, Any]] = {"help_option_names": ["-h", "--help"]}


class Command(click.Command):
    """A command."""

    def get_help(self, ctx: click.Context) -> str:
        """Return the help, as rich-click lays it out where it is installed: the image is smaller without."""
        return _shown(self, ctx) if find_spec("rich_click") else super().get_help(ctx)


class Group(click.Group):
    """A command with subcommands.

    Attributes:
        headings: What rich-click groups the subcommands by.
    """

    command_class = Command
    headings: list[dict[str, Any]] = []  # noqa: RUF012 - overridden as a whole

    def get_help(self, ctx: click.Context) -> str:
        """Return the help, as rich-click lays it out where it is installed."""
        return _shown(self, ctx) if find_spec("rich_click") else super().get_help(ctx)


def _shown(command: click.Command, ctx: click.Context) -> str:
    import rich_click  # noqa: PLC0415

    config: dict[str, Any] = {"commands_table_column_types": ["name", "help"]}
    same: dict[str, Any] = {"name": command.name, "params": command.params, "help": command.help}
    settings: dict[str, Any] = {**CONTEXT, "rich_help_config": config}
    if isinstance(command, Group):
        config["command_groups"] = {ctx.command_path: command.headings} if command.headings else {}
        commands = {name: command.get_command(ctx, name) for name in command.list_commands(ctx)}
        ordered = {name: each for name, each in commands.items() if each is not None}

        class Ordered(rich_click.RichGroup):
            def list_commands(self, ctx: click.Context) -> list[str]:
                del ctx
                return list(self.commands)

        rich: rich_click.RichCommand = Ordered(**same, commands=ordered, context_settings=settings)
    else:
        rich = rich_click.RichCommand(**same, context_settings=settings)
    with rich_click.RichContext(rich, info_name=ctx.command_path, **settings) as shown:
        return rich.get_help(shown)
