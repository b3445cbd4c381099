"""What ``kdm ... --help`` prints."""

from __future__ import annotations

import contextlib
import io
import os

from kdm_http import cli


def describe_help(command: str) -> str:
    """Return a command's help as a block of text.

    Args:
        command: For example ``kdm certs init``.
    """
    os.environ["COLUMNS"] = "100"  # argparse wraps to the terminal's width
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        cli.main([*command.split()[1:], "--help"])
    return f"```text\n{printed.getvalue().strip()}\n```"
