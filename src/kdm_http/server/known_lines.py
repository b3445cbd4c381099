"""The request lines that were answered before, for each identity that is connected, and how to answer them again."""

from __future__ import annotations

from typing import Final

from kdm_core import Identity
from kdm_http.server.application import Again

KNOWN_LINES: Final = 16_384
"""How many request lines are known, of all identities together: some 20 MB at most."""

Key = tuple[str, frozenset[str]]


class Lines(dict[bytes, Again]):
    """The request lines of one identity."""

    __slots__ = ("connections", "key")

    def __init__(self, key: Key) -> None:
        """Start with none.

        Args:
            key: Whose they are.
        """
        super().__init__()
        self.key = key
        self.connections = 0


class KnownLines:
    """Keeps the request lines of each identity apart, as long as it has a connection. Belongs to one event loop.

    When there are too many, the identity with most of them starts over. So nobody who knows no more than an equal share
    loses a line to others.

    Args:
        most: How many there may be in all.
    """

    def __init__(self, most: int = KNOWN_LINES) -> None:
        self._most = most
        self._by_identity: dict[Key, Lines] = {}
        self._number = 0  # counted, and not added up for each new line: there may be a thousand identities

    def __len__(self) -> int:
        return self._number

    def join(self, identity: Identity) -> Lines:
        """Count a connection of an identity, and return its lines. ``leave`` them."""
        key = identity.user, identity.groups  # what a policy judges by
        lines = self._by_identity.setdefault(key, Lines(key))
        lines.connections += 1
        return lines

    def leave(self, lines: Lines) -> None:
        """Count one connection less, and forget the lines with the last one."""
        lines.connections -= 1
        if not lines.connections:
            del self._by_identity[lines.key]
            self._forget_all(lines)

    def add(self, lines: Lines, line: bytes, again: Again) -> None:
        """Know one line more, or another answer to it."""
        if line not in lines:
            if self._number >= self._most:
                self._forget_all(max(self._by_identity.values(), key=len))
            self._number += 1
        lines[line] = again

    def forget(self, lines: Lines, line: bytes) -> None:
        """Forget a line that was known."""
        del lines[line]
        self._number -= 1

    def _forget_all(self, lines: Lines) -> None:
        self._number -= len(lines)
        lines.clear()
