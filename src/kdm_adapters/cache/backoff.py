"""How long to wait before trying again: client-go's exponential backoff."""

from __future__ import annotations

import math
from random import Random

from attrs import define, field


@define
class Backoff:
    """Delays that double up to a cap, jittered, and start over after a quiet time, or on ``reset``.

    The defaults are those of client-go's Reflector (``k8s.io/client-go/tools/cache/reflector.go``).

    Attributes:
        initial_s: The first delay, in seconds.
        cap_s: The largest delay before jitter, in seconds.
        jitter: A delay d becomes one in [d, d * (1 + jitter)).
        reset_after_s: Without a backoff for this long, the next one is the first again.
        rng: Where the jitter comes from.
    """

    initial_s: float = 0.8
    cap_s: float = 30.0
    jitter: float = 1.0
    reset_after_s: float = 120.0
    rng: Random = field(factory=Random)
    _next_s: float = field(default=0.0, init=False)
    _last_at: float = field(default=-math.inf, init=False)

    def reset(self) -> None:
        """Start over: what failed before has worked since."""
        self._last_at = -math.inf

    def next_delay_s(self, now: float, *, at_least_s: float = 0.0) -> float:
        """Return the delay to wait from ``now`` on (seconds on any monotonic clock), and double the next one.

        Args:
            now: The time.
            at_least_s: What the server asks to wait. Jitter of the delay comes on top: it asks many the same.
        """
        if now - self._last_at > self.reset_after_s:
            self._next_s = self.initial_s
        self._last_at = now
        delay_s = self._next_s
        self._next_s = min(delay_s * 2, self.cap_s)
        jitter_s = delay_s * self.jitter * self.rng.random()
        return max(delay_s, at_least_s) + jitter_s
