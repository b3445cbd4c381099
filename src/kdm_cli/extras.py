"""Packages that may be there or not: kdm's own extras.

kdm_core, the memory adapter and ``kdm policy`` need no extra.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

DISTRIBUTION: Final = "kdm-service"


class MissingExtra(Exception):
    """Something was asked for that needs an extra of kdm's package; the message says how to install it, on one line."""


@contextmanager
def needed_for(what: str, extra: str) -> Iterator[None]:
    """Say what to install where an import fails.

    Args:
        what: What was asked for, such as ``--otel``.
        extra: The extra of the package that it needs.

    Raises:
        MissingExtra: A package that is not kdm's own is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if not missing or missing.startswith("kdm_"):
            raise
        raise MissingExtra(
            f"{what} needs kdm's extra {extra}: pip install '{DISTRIBUTION}[{extra}]' ({missing} is missing)"
        ) from error
