"""The port to those who announce changes where others look for them."""

from __future__ import annotations

from abc import ABC, abstractmethod

from kdm_core.history import CountChange


class Announcer(ABC):
    """Announces each change of a count that was made through kdm."""

    @abstractmethod
    def announce(self, change: CountChange) -> None:
        """Announce a change, at some time soon or not at all.

        Called on the event loop's thread once the change was made. It never waits and never raises: no write is slower
        for it, and none fails.

        Args:
            change: The change.
        """
