"""Time that a test moves: the part of an event loop that timers use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast


class _Timer:
    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class ManualClock:
    """Calls back only from ``advance``.

    Attributes:
        set: How many timers were ever set.
    """

    def __init__(self) -> None:
        self._now = 100.0
        self._timers: list[_Timer] = []
        self.set = 0

    def time(self) -> float:
        return self._now

    def call_at(self, when: float, callback: Callable[[], object], *_: Any) -> asyncio.TimerHandle:
        timer = _Timer(when, callback)
        self._timers.append(timer)
        self.set += 1
        return cast("asyncio.TimerHandle", timer)

    def call_later(self, delay: float, callback: Callable[[], object], *_: Any) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback)

    @property
    def waiting(self) -> int:
        """How many timers are set."""
        return sum(not timer.cancelled for timer in self._timers)

    def advance(self, seconds: float) -> None:
        """Move on, and call what falls due on the way, in order."""
        end = self._now + seconds
        while due := [timer for timer in self._timers if not timer.cancelled and timer.when <= end]:
            timer = min(due, key=lambda each: each.when)
            self._timers.remove(timer)
            self._now = max(self._now, timer.when)
            timer.callback()
        self._now = end
