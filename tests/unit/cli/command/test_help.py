"""The help of every command: as rich-click lays it out, and as click does in an image without it."""

from __future__ import annotations

import importlib

import click
import pytest

from kdm_cli.commands import rich_help
from kdm_cli.commands.tree import COMMANDS, GROUPS
from unit.cli.command.asking import Command

ASKING = [name for name in COMMANDS if name not in {"serve", "certs", "policy"}]


@pytest.fixture(params=["rich-click", "click"], autouse=True)
def layout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "200")  # nothing is cut, or broken into lines
    if request.param == "click":
        monkeypatch.setattr(rich_help, "find_spec", lambda _: None)
    return str(request.param)


def command_of(name: str) -> click.Command:
    module, _, attribute = COMMANDS[name].partition(":")
    found = getattr(importlib.import_module(module), attribute)
    assert isinstance(found, click.Command)
    return found


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("name", ASKING)
def test_it_says_what_a_command_does_and_names_every_option(bare: Command, name: str, flag: str) -> None:
    command = command_of(name)
    ran = bare(name, flag)
    assert (ran.code, ran.err) == (0, "")
    assert f"Usage: kdm {name}" in ran.out
    assert command.help
    assert command.help.splitlines()[0] in " ".join(ran.out.split())
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert all(each in ran.out for each in parameter.opts), parameter.opts


def test_it_names_every_command_in_its_order(bare: Command, layout: str) -> None:
    ran = bare("--help")
    assert (ran.code, ran.err) == (0, "")
    grouped = [str(name) for group in GROUPS for name in group["commands"]]
    assert sorted(grouped) == sorted(COMMANDS)
    words = [line.strip(" │").partition(" ")[0] for line in ran.out.splitlines()]
    expected = grouped if layout == "rich-click" else list(COMMANDS)
    assert [word for word in words if word in COMMANDS] == expected
    if layout == "rich-click":
        assert all(str(group["name"]) in ran.out for group in GROUPS)


def test_a_group_names_its_commands_and_each_has_help(bare: Command) -> None:
    group = command_of("context")
    assert isinstance(group, click.Group)
    overview = bare("context", "--help").out
    for name, command in group.commands.items():
        assert name in overview
        ran = bare("context", name, "--help")
        assert (ran.code, ran.err) == (0, "")
        assert command.help
        assert command.help.splitlines()[0] in " ".join(ran.out.split())
