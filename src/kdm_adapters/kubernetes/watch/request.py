"""The request under way, as the watch state has to know it."""

from __future__ import annotations

import math
from typing import Final

from attrs import define

VERY_SHORT_WATCH_S: Final = 1.0
"""A watch that ends sooner than this is suspect, in seconds (client-go's VeryShortWatchError)."""


@define
class Request:
    """What has come of a request so far. Times in seconds, on the watch's clock.

    Attributes:
        started_at: When it was asked for.
        heard_at: When something last arrived, even a part of a message.
        opened_at: When the server accepted it, where it is a stream; ``inf`` before.
        events: How many messages the stream brought.
        unproven: The version that a watch was resumed from, until it is known that the cluster has come that far; "".
        from_zero: Whether a watch began at no version: its first ADDED events have none either.
        wanted: Whether to go on with it.
    """

    started_at: float
    heard_at: float
    opened_at: float = math.inf
    events: int = 0
    unproven: str = ""
    from_zero: bool = False
    wanted: bool = True

    def short(self, now: float) -> bool:
        """Return whether, if it ended now, it would have been too short to be believed."""
        return now - self.started_at < VERY_SHORT_WATCH_S
