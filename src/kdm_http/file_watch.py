"""Noticing that files hold something else now: by content, because a Kubernetes volume swaps a symlink."""

from __future__ import annotations

from typing import Final

POLL_S: Final = 1.0
"""How often files in use are looked at, in seconds."""


class FileChanges:
    """Tells of a change once it has stood still from one look to the next: a writer may be in the middle of it.

    Args:
        handled: The digest of what is in use.
    """

    def __init__(self, handled: str) -> None:
        self._handled = self._pending = handled

    def seen(self, state: str) -> bool:
        """Take in what the files held at one look, of one each interval.

        Args:
            state: The digest of what was read, or what was wrong.

        Returns:
            Whether they have changed since the last time this was true, and not since the last look.
        """
        if state == self._handled or state != self._pending:
            self._pending = state
            return False
        self._handled = state
        return True
