"""What a test says that needs more than this machine has."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def unavailable(reason: str) -> NoReturn:
    """Skip, telling why. In CI that is a failure: there nothing may be left out.

    Args:
        reason: What is missing.
    """
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
