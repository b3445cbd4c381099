"""What a write does where others write the same Deployment at the same time: it tries again, for a while."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

from attrs import Factory, frozen

CONTENTION_TIMEOUT_S: Final = 10.0
"""How long a relative change tries to get its turn, in seconds: as long as one write may take."""

FIRST_PAUSE_S: Final = 0.02
MAX_PAUSE_S: Final = 0.5
"""The longest pause after a conflict, in seconds: it doubles from ``FIRST_PAUSE_S``, and is drawn from zero to that, so
that writers that met once do not meet again."""


@frozen
class Contention:
    """How long to try, and how long to pause between.

    Attributes:
        timeout_s: How long to try, in seconds.
        clock: Monotonic seconds.
        sleep: Waits so many seconds.
        rng: Draws the pauses.
    """

    timeout_s: float
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    rng: Random = Factory(Random)

    def until(self) -> float:
        """Return when a write that begins now gives up, in the clock's seconds."""
        return self.clock() + self.timeout_s

    async def pause(self, attempts: int) -> None:
        """Wait a moment after so many conflicts, the first of which is 1."""
        longest_s = min(FIRST_PAUSE_S * 2 ** min(attempts - 1, 10), MAX_PAUSE_S)
        await self.sleep(self.rng.uniform(0, longest_s))
