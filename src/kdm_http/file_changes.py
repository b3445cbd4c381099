"""Noticing that files hold something else now: by content, because a Kubernetes volume swaps a symlink."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

POLL_S: Final = 1.0
"""How often files in use are looked at, in seconds."""


class FileChanges:
    """Tells of a change once it has stood still from one look to the next: a writer may be in the middle of it.

    Args:
        state: What the files hold now, as a digest; anything else that differs where they cannot be read.
        handled: The state that is in use.
    """

    def __init__(self, state: Callable[[], str], handled: str) -> None:
        self._state = state
        self._handled = self._pending = handled

    def settled(self) -> bool:
        """Look at the files. Called once an interval.

        Returns:
            Whether they have changed since the last time this was true, and not since the last look.
        """
        state = self._state()
        if state == self._handled or state != self._pending:
            self._pending = state
            return False
        self._handled = state
        return True
