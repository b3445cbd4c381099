"""``kdm completion``: what a shell needs to complete kdm's commands, flags, contexts, namespaces and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from kdm_cli.commands import shells  # noqa: F401 - registers them
from kdm_cli.commands.rich_help import Command
from kdm_cli.exits import CommandError


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    r"""Print a shell's completion.

    \b
    bash:  source <(kdm completion bash)        # in ~/.bashrc
    zsh:   source <(kdm completion zsh)         # in ~/.zshrc, after compinit
    fish:  kdm completion fish > ~/.config/fish/completions/kdm.fish
    """
    from kdm_cli.commands.tree import VARIABLE, kdm  # noqa: PLC0415 - the tree imports this module

    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - click has all three
    try:
        click.echo(found(kdm, {}, "kdm", VARIABLE).source())
    except (OSError, RuntimeError) as error:
        raise CommandError(f"kdm completion {shell}: {error}") from error
