"""``kdm serve``, ``kdm certs`` and ``kdm policy`` in the tree of commands. They have a parser of their own."""

from __future__ import annotations

from typing import Any, Final

import click

_AS_THEY_ARE: Final[dict[str, Any]] = {"ignore_unknown_options": True, "allow_interspersed_args": False}


def _passed_on(name: str, text: str) -> click.Command:
    def run(arguments: tuple[str, ...]) -> int:
        from kdm_cli.main import run_service  # noqa: PLC0415 - that module imports this tree

        return run_service([name, *arguments])

    run.__doc__ = text
    argument = click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="...")
    return click.command(name, context_settings=_AS_THEY_ARE, add_help_option=False)(argument(run))


serve: Final = _passed_on("serve", "Serve the API over mutual TLS.")
certs: Final = _passed_on("certs", "Make and look after certificates.")
policy: Final = _passed_on("policy", "Check and explain policy files.")
