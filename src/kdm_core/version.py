"""Which kdm this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """Return the version of the installed package; "unknown" where the source is run without being installed."""
    try:
        return version("kdm-service")
    except PackageNotFoundError:
        return "unknown"
