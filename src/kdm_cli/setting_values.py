"""How the text of a setting becomes its value. A ``ValueError`` says what would have been allowed."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from kdm_core import ALL_NAMESPACES
from kdm_core.names import check_namespace

EVERY_INTERFACE: Final = "*"
"""As an address to listen on: every one of this machine, of IPv4 and of IPv6, whichever it has."""

BRACKETED: Final = re.compile(r"\A\[(.*:.*)\]\Z")


def text(value: str) -> str:
    """Take any text."""
    return value


def host(value: str) -> str:
    """Read an address to listen on, one of IPv6 with or without brackets; ``*`` becomes "", every interface."""
    return "" if value == EVERY_INTERFACE else BRACKETED.sub(r"\1", value)


def name_list(value: str) -> tuple[str, ...]:
    """Read namespaces, separated by commas.

    Raises:
        ValueError: There is none, or one is no namespace.
    """
    names = tuple(check_namespace(each.strip()) for each in value.split(",") if each.strip())
    if not names:
        raise ValueError("one namespace at least")
    return names


def namespace(value: str) -> str:
    """Read a namespace, or ``*`` for all of them.

    Raises:
        ValueError: It is no namespace.
    """
    return value if value == ALL_NAMESPACES else check_namespace(value)


def one_namespace(value: str) -> str:
    """Read a namespace.

    Raises:
        ValueError: It is none.
    """
    return check_namespace(value)


def _expanded(value: str) -> str:
    """Replace a leading ``~`` or ``~user`` by that user's home, as a shell does for an unquoted word."""
    expanded = os.path.expanduser(value)  # noqa: PTH111 - Path.expanduser would take the ./ off ./allow-all
    if expanded.startswith("~"):
        user = value.partition("/")[0]
        raise ValueError(
            f"a path without '{user}', whose home directory is not known; ./{value} is a file of that name"
        )
    return expanded


def path(value: str) -> Path:
    """Read a path.

    Raises:
        ValueError: It begins with the home directory of a user that is not known.
    """
    return Path(_expanded(value))


def file_or(word: str) -> Callable[[str], str]:
    """Read a path, or a word that stands for something else."""
    return lambda value: value if value == word else _expanded(value)


def switch(value: str) -> bool:
    """Read a boolean.

    Raises:
        ValueError: It is none.
    """
    try:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[value.lower()]
    except KeyError:
        raise ValueError("true or false") from None


def one_of(*choices: str) -> Callable[[str], str]:
    """Read one of several words."""

    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return value

    return parse


def whole(minimum: int, maximum: int) -> Callable[[str], int]:
    """Read an integer between two bounds, both included."""

    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", value) or not minimum <= int(value) <= maximum:
            raise ValueError(f"an integer from {minimum} to {maximum}")
        return int(value)

    return parse


def seconds(minimum: float = 0.0) -> Callable[[str], float]:
    """Read a duration in seconds."""

    def parse(value: str) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not math.isfinite(seconds) or seconds < minimum or (seconds == 0 and minimum == 0 and value.startswith("-")):
            raise ValueError(f"a number of at least {minimum:g}")
        return seconds

    return parse
