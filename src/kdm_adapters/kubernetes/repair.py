"""When to read all anew although the watch works: something in it was not understood, or turned out to be wrong."""

from __future__ import annotations

import math
from random import Random

from kdm_adapters.kubernetes.backoff import Backoff


class Repair:
    """The next relist for the sake of what is published.

    Args:
        rng: For jitter.

    Attributes:
        due_at: When, in seconds on the view's clock; ``inf`` where there is no need.
        reason: What for.
    """

    def __init__(self, rng: Random) -> None:
        self.due_at = math.inf
        self.reason = ""
        # Objects that stay undecodable are read ever more rarely: after 1 s, 2 s, ... 10 minutes.
        self._backoff = Backoff(1.0, 600.0, reset_after_s=1800.0, rng=rng)

    def undecodable(self, now: float) -> None:
        """An object was not understood: read it anew before long."""
        if self.due_at == math.inf:
            self.due_at, self.reason = now + self._backoff.next_delay_s(now), "undecodable"

    def inconsistent(self) -> None:
        """What is published differs from the cluster: read it anew at once."""
        self.due_at, self.reason = -math.inf, "inconsistent"

    def done(self) -> None:
        """All was read anew."""
        self.due_at = math.inf
