"""When to read all again although the watch works: something in it was not understood, or turned out to be wrong."""

from __future__ import annotations

import math
from random import Random
from typing import Final

from kdm_adapters.cache.backoff import Backoff

HURRY_EVERY_S: Final = 60.0
"""How often all may be read again at once, in seconds. If that did not help, doing it faster does not help either."""


class RelistSchedule:
    """The next relist for the sake of what is published.

    Args:
        rng: For jitter.

    Attributes:
        due_at: When, in seconds on the watch's clock; ``inf`` where there is no need.
        reason: What for.
    """

    def __init__(self, rng: Random) -> None:
        self.due_at = math.inf
        self.reason = ""
        self._hurried_at = -math.inf
        # Objects that stay undecodable are read ever more rarely: after 1 s, 2 s, ... 10 minutes.
        self._backoff = Backoff(1.0, 600.0, reset_after_s=1800.0, rng=rng)

    def soon(self, now: float, reason: str) -> None:
        """Something may be missing: read all of it again before long."""
        if self.due_at == math.inf:
            self.due_at, self.reason = now + self._backoff.next_delay_s(now), reason

    def at_once(self, now: float, reason: str) -> None:
        """What is published is known to be wrong: read all of it again now, or before long if that was just tried."""
        if now - self._hurried_at < HURRY_EVERY_S:
            self.soon(now, reason)
        else:
            self._hurried_at = now
            self.due_at, self.reason = -math.inf, reason

    def done(self) -> None:
        """All was read again."""
        self.due_at = math.inf
