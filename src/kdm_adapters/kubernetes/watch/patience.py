"""How long to wait for the bookmark that ends a watch-list's initial events."""

from __future__ import annotations

import math
from typing import Final

from attrs import define

EVENT_S: Final = 0.05
"""What an initial event adds to the patience, in seconds: the initial state has to arrive at 20 Deployments a second or
faster. On a real API server it is some thousands; what happens live in a cluster is a few a second at most."""


@define
class Patience:
    """The deadline of one watch-list. Times in seconds, on the watch's clock.

    Patience runs out as time passes, and each Deployment that arrives for the first time gives some back, never more
    than there was at first. So a big state may take as long as it needs, while events that trickle in after it, because
    somebody creates Deployments all the time, cannot put the end off for ever. client-go has no such deadline
    (kubernetes/kubernetes#140890) and relies on the server to end the watch after ``timeoutSeconds``, which is the last
    bound here, too.

    Attributes:
        patience_s: For how long nothing may arrive.
        timeout_s: How long the server was asked to let it last.
        ends_at: When it is over; ``inf`` before the server has accepted the watch-list.
    """

    patience_s: float
    timeout_s: float = math.inf
    ends_at: float = math.inf
    _latest: float = math.inf

    def opened(self, now: float) -> None:
        """The server accepted it."""
        self.ends_at, self._latest = now + self.patience_s, now + self.timeout_s

    def added(self, now: float) -> None:
        """A Deployment arrived for the first time."""
        self.ends_at = min(self.ends_at + EVENT_S, now + self.patience_s, self._latest)
