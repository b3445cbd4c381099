"""Packages that may be there or not: kdm's own extras, and what libraries load where they find it.

kdm_core, the memory adapter and ``kdm policy`` need no extra.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
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


class _Absent:
    """Finds that packages are not installed."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:  # noqa: ARG002 - the protocol
        if fullname in self._packages:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


@contextmanager
def hidden(*packages: str) -> Iterator[None]:
    """Keep a library from loading packages that kdm has no use for, as though they were not installed.

    Args:
        packages: Their names. One that is loaded already is still found.
    """
    absent = _Absent(packages)
    sys.meta_path.insert(0, absent)
    try:
        yield
    finally:
        sys.meta_path.remove(absent)
