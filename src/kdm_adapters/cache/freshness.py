"""What proves that a source's published state is the cluster's, and since when."""

from __future__ import annotations

import math
import time
from typing import Final

RESUMED_S: Final = 1.0
"""A watch that has been open for this long, in seconds, has delivered what had happened before it was opened."""

SERVED_S: Final = 10.0
"""A watch that lasted this long, in seconds, came from a server that works."""

_AGEING: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine is suspended: on Linux by a clock of its own (clock_gettime(2)), on macOS always."""


def ageing_clock() -> float:
    """Return monotonic seconds on a clock that a suspended machine does not stop: what is held grows old meanwhile.

    ``time.monotonic`` stands still. After a laptop's night it would call yesterday's counts seconds old, and a watch
    that had died meanwhile would be waited for.
    """
    return time.clock_gettime(_AGEING)


class Freshness:
    """Until when everything that happened is known to have been seen. Times in seconds, on the watch's clock."""

    def __init__(self) -> None:
        self._proof_at = -math.inf
        self._resumed_at = math.inf  # when the watch under way was accepted, once it is known to begin where it should
        self._following_at = math.inf  # since when the watch under way follows the state published

    def proven(self, now: float) -> None:
        """Something newer than everything before arrived: an event, a bookmark, a complete list."""
        self._proof_at = now

    def following(self, now: float) -> None:
        """A watch was accepted, or a watch-list delivered its state and goes on as a watch."""
        self._following_at = now

    def resumed(self, at: float) -> None:
        """A watch that was accepted at this moment begins where the published state ends.

        That it was accepted does not show this: an API server accepts a version from its future, too, and stays silent.
        """
        self._resumed_at = at

    def interrupted(self, now: float) -> bool:
        """The watch under way, if there was one, ended. Returns whether it had lasted for a while."""
        served = now - self._following_at >= SERVED_S
        self._proof_at, self._resumed_at, self._following_at = self.at(now), math.inf, math.inf
        return served

    def at(self, now: float) -> float:
        """Return until when everything that happened is known to have been seen.

        A watch begins with all that is newer than its version. So where it has been open for a little while, what was
        there when it was opened has been seen, even if there is nothing new for an hour.
        """
        resumed = now - self._resumed_at >= RESUMED_S
        return max(self._proof_at, self._resumed_at) if resumed else self._proof_at
