"""The command `kdm`: serve, make certificates, check policies."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from typing import Final

from kdm_cli import certs as certs_command
from kdm_cli import extras, settings
from kdm_cli import policy as policy_command
from kdm_cli import ui as ui_command
from kdm_core.version import installed_version

_UNUSED: Final = ("pydantic", "pydantic_settings", "rich")
"""What Litestar, dependency_injector and structlog would load where it is installed, and kdm does not use: 17 MB and a
quarter of the CPU of the start."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Its arguments; None for those of the process.

    Returns:
        The exit code: 0 done, 1 it could not be done, 2 it was asked for wrongly, or of an installation
        that lacks an extra.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter gets its number
    parser = argparse.ArgumentParser(prog="kdm", description="Read and change how many replicas Deployments run.")
    parser.add_argument("--version", action="version", version=f"kdm {installed_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="serve the API over mutual TLS",
        allow_abbrev=False,
        description="Serve both RFDs' APIs over mutual TLS. Each setting is a flag or an environment variable.",
    )
    settings.add_flags(serve)
    serve.set_defaults(handler=_serve)
    certs_command.register(commands)
    policy_command.register(commands)
    ui_command.register(commands)
    arguments = parser.parse_args(argv)
    try:
        code: int = arguments.handler(arguments)
    except extras.MissingExtra as error:
        print(f"kdm: {error}", file=sys.stderr)
        return 2
    return code


def _serve(arguments: argparse.Namespace) -> int:
    with extras.hidden(*_UNUSED):
        with extras.needed_for("serve", "server"):
            from kdm_cli import serve as serve_command  # noqa: PLC0415 - a second, which other commands do not need
        return serve_command.serve(arguments)
