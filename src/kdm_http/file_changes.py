"""Noticing that files hold something else now: by content, because a Kubernetes volume swaps a symlink."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

POLL_S: Final = 1.0
"""How often files in use are looked at, in seconds."""


class FileChanges:
    """Tells of a change once it has stood still from one look to the next: a writer may be in the middle of it.

    Args:
        state: What the files hold now, as a digest; anything else that differs where they cannot be read. Not needed by
            callers of ``seen``, who read the files themselves, once for digest and content.
        handled: The state that is in use.
    """

    def __init__(self, state: Callable[[], str] | None, handled: str) -> None:
        self._state = state
        self._handled = self._pending = handled

    def settled(self) -> bool:
        """Look at the files. Called once an interval; see ``seen``."""
        assert self._state is not None  # noqa: S101 - for the type checker
        return self.seen(self._state())

    def seen(self, state: str) -> bool:
        """Take in what the files held at one look.

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
