"""What can be a version of the cluster's state, and which of two is older (KEP-5504)."""

from __future__ import annotations

import re
from typing import Final

MAX_VERSION_DIGITS: Final = 64
"""More digits than any resourceVersion has. Python refuses to read a number of some thousand."""

is_version: Final = re.compile(rf"0|[1-9][0-9]{{0,{MAX_VERSION_DIGITS - 1}}}").fullmatch
"""Whether a string can be a resourceVersion: a decimal number without leading zeros. "0" is older than any other."""


def older(a: str, b: str) -> bool:
    """Return whether resourceVersion ``a`` is older than ``b``, compared as numbers (KEP-5504).

    False where one of them is no number: then the order is not known, and what arrives later counts.
    """
    return a.isdecimal() and b.isdecimal() and (len(a), a) < (len(b), b)
