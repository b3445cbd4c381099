"""The command `kdm`: serve, make certificates, check policies; and ask a kdm that serves."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import Final

from kdm_cli import extras, unused
from kdm_core.version import installed_version

SERVICE: Final = ("serve", "certs", "policy")
"""The commands that run kdm itself. They have a parser of their own, and need no extra ``cli``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Its arguments; None for those of the process.

    Returns:
        The exit code: 0 done, 1 it could not be done, 2 it was asked for wrongly, or of an installation
        that lacks an extra. The commands that ask a kdm have more: :class:`kdm_cli.exits.Exit`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter gets its number
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] and arguments[0] in SERVICE and "_KDM_COMPLETE" not in os.environ:
            return run_service(arguments)
        with extras.needed_for(f"kdm {arguments[0]}" if arguments else "kdm", "cli"):
            from kdm_cli.commands import tree  # noqa: PLC0415 - an extra, which kdm itself does not need
        return tree.run(arguments)
    except extras.MissingExtra as error:
        if arguments == ["--version"]:
            print(f"kdm {installed_version()}")
            return 0
        if arguments[:1] in ([], ["-h"], ["--help"]):
            _parser().print_help()
        print(f"kdm: {error}", file=sys.stderr)
        return 2


def run_service(arguments: Sequence[str]) -> int:
    """Run one of the commands that run kdm itself.

    Args:
        arguments: Which, and its arguments.

    Raises:
        MissingExtra: It needs packages that are not installed.
    """
    parsed = _parser().parse_args(arguments)
    code: int = parsed.handler(parsed)
    return code


def _parser() -> argparse.ArgumentParser:
    from kdm_cli import certs, policy, settings  # noqa: PLC0415 - 150 ms, which those who ask a kdm do not need

    parser = argparse.ArgumentParser(prog="kdm", description="Read and change how many replicas Deployments run.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="serve the API over mutual TLS",
        allow_abbrev=False,
        description="Serve both RFDs' APIs over mutual TLS. Each setting is a flag or an environment variable.",
    )
    settings.add_flags(serve)
    serve.add_argument(
        "--dev-context",
        metavar="NAME",
        help="with --dev: write a context of this name for the commands that ask a kdm, if the name is free",
    )
    serve.set_defaults(handler=_serve)
    certs.register(commands)
    policy.register(commands)
    return parser


def _serve(arguments: argparse.Namespace) -> int:
    with unused.hidden(*unused.PACKAGES):
        with extras.needed_for("serve", "server"):
            from kdm_cli import serve as serve_command  # noqa: PLC0415 - a second, which other commands do not need
        return serve_command.serve(arguments)
