"""What can go wrong with certificates and their files."""

from __future__ import annotations


class PkiError(Exception):
    """A certificate cannot be made, read or used; the message says why, on one line."""
