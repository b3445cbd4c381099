"""The commands that ask a kdm, from the tree of commands itself."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc

import click

from kdm_cli.commands.tree import GROUPS, kdm
from kdm_cli.exits import MEANINGS


def list_exits(_: str) -> str:
    """Return the table of exit codes."""
    rows = [f"| {code.value} | {meaning} |" for code, meaning in MEANINGS.items()]
    return "\n".join(["| code | meaning |", "|---|---|", *rows])


def list_commands(_: str) -> str:
    """Return a table of the commands, in the order of the help."""
    context = click.Context(kdm, info_name="kdm")
    rows = []
    for group in GROUPS:
        for name in group["commands"]:
            command = kdm.get_command(context, name)
            if command is not None:
                rows.append(f"| {group['name']} | `kdm {name}` | {_first_sentence(command)} |")
    return "\n".join(["| | command | what it does |", "|---|---|---|", *rows])


def describe_command(path: str) -> str:
    """Return what a command does, and its arguments and options.

    Args:
        path: For example ``kdm context add``.
    """
    command: click.Command = kdm
    context = click.Context(kdm, info_name="kdm")
    for name in path.split()[1:]:
        found = command.get_command(context, name) if isinstance(command, click.Group) else None
        if found is None:
            raise ValueError(f"there is no command {path!r}")
        command, context = found, click.Context(found, info_name=name, parent=context)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    text = cleandoc(command.help or "").replace("\b\n", "").strip()
    parts = [f"```text\n{usage}\n```", *_paragraphs(text)]
    if options := list(_options(command, context)):
        parts.append("\n".join(["| option | what |", "|---|---|", *options]))
    return "\n\n".join(parts)


def _paragraphs(text: str) -> Iterator[str]:
    for part in text.split("\n\n"):
        lines = part.split("\n")
        yield f"```text\n{part}\n```" if any("   " in line for line in lines) else " ".join(lines)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for each in command.get_params(context):
        record = each.get_help_record(context) if isinstance(each, click.Option) else None
        if record is not None and each.name != "help":
            names, text = record
            yield f"| `{names.replace('|', chr(92) + '|')}` | {text.replace('|', chr(92) + '|')} |"


def _first_sentence(command: click.Command) -> str:
    return command.get_short_help_str(limit=200)
