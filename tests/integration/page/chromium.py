"""The browser that the page is tried and measured in."""

from __future__ import annotations

import shutil
from typing import Final

PACKAGE: Final = "chromium-headless-shell"
"""Debian's. The same engine without windows and menus takes three fifths of the processor time."""


def find() -> str | None:
    """Return the path of the first that is installed; None if none is."""
    return next(filter(None, map(shutil.which, (PACKAGE, "chromium", "chromium-browser", "google-chrome"))), None)
