"""What ``kdm ... --help`` prints."""

from __future__ import annotations

import contextlib
import io
import os
import textwrap
from typing import Final

from kdm_cli import main as cli


def describe_help(command: str) -> str:
    """Return a command's help as a block of text.

    Args:
        command: For example ``kdm certs init``.
    """
    os.environ["COLUMNS"] = str(_WIDTH)  # argparse wraps to the terminal's width
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        cli.main([*command.split()[1:], "--help"])
    if not printed.getvalue().startswith("usage: "):  # of click, wrapped by rich
        return f"```text\n{textwrap.dedent(printed.getvalue()).strip()}\n```"
    usage, rest = printed.getvalue().strip().split("\n\n", 1)
    return f"```text\n{_wrapped(usage)}\n\n{rest}\n```"


_WIDTH: Final = 100


def _wrapped(usage: str) -> str:
    """Wrap a usage line alike on every Python: since 3.13 argparse keeps an option and its value together."""
    indent = " " * usage.index("[-h]")
    return textwrap.fill(" ".join(usage.split()), _WIDTH, subsequent_indent=indent, break_on_hyphens=False)
