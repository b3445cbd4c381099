"""The time a connection may spend waiting.

uvicorn sets one timer, after a response. Here a connection is always in one phase, and each phase has its own limit:
idle (no byte of a request yet), header, body, and no limit while only a response is due: ``responses.within`` bounds
that one.
"""

from __future__ import annotations

import asyncio
import enum
import math
from collections.abc import Callable
from typing import Protocol


class Phase(enum.IntEnum):
    """What the server waits for on a connection."""

    IDLE = 0
    HEADER = 1
    BODY = 2
    RESPONSE = 3


class Clock(Protocol):
    """The part of an event loop that the timers here use. Times are in seconds, as of ``time()``."""

    def time(self) -> float:
        """Return the time now."""

    def call_at(self, when: float, callback: Callable[[], object], /) -> asyncio.TimerHandle:
        """Call back at a time."""

    def call_later(self, delay: float, callback: Callable[[], object], /) -> asyncio.TimerHandle:
        """Call back after a delay."""


class Deadlines:
    """The phase of one connection, and when it expires. Belongs to one event loop.

    Attributes:
        phase: The current phase. ``enter`` starts its time.
    """

    __slots__ = ("_allowed_s", "_clock", "_deadline", "_expired", "_time", "_timer", "_wakes_at", "phase")

    def __init__(
        self, clock: Clock, allowed_s: tuple[float, float, float, float], expired: Callable[[Phase], None]
    ) -> None:
        """Start in the idle phase, without a deadline until ``enter`` is called.

        Args:
            clock: The event loop.
            allowed_s: How long each phase may last, in seconds, in the order of ``Phase``.
            expired: Called with the phase when it has lasted too long.
        """
        self.phase = Phase.IDLE
        self._clock = clock
        self._time = clock.time
        self._allowed_s = allowed_s
        self._expired = expired
        self._deadline = self._wakes_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, phase: Phase) -> None:
        """Begin a phase, or the same one again."""
        self.phase = phase
        self._deadline = deadline = self._time() + self._allowed_s[phase]
        if deadline < self._wakes_at:
            self._wake_at_deadline()

    def hurry(self, allowed_s: float) -> None:
        """Let the current phase last no longer than this from now on, in seconds."""
        self._deadline = min(self._deadline, self._time() + allowed_s)
        if self._deadline < self._wakes_at:
            self._wake_at_deadline()

    def cancel(self) -> None:
        """Stop, and let go of the connection: it is gone."""
        self._deadline = math.inf
        self._expired = _nobody_waits
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake_at_deadline(self) -> None:
        # A timer that fires too early costs less than one that is moved at every step of every request.
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wakes_at = self._deadline
        if self._deadline < math.inf:
            self._timer = self._clock.call_at(self._deadline, self._wake)

    def _wake(self) -> None:
        self._timer, self._wakes_at = None, math.inf
        if self._time() >= self._deadline:
            self._expired(self.phase)
        else:
            self._wake_at_deadline()


def _nobody_waits(_: Phase) -> None:
    """Stand for a connection that is gone, so that its memory is freed at once and not by the garbage collector."""


class OneShot:
    """A timer that is started, moved and cancelled; starting it again replaces what was set before."""

    __slots__ = ("_clock", "_handle")

    def __init__(self, clock: Clock) -> None:
        """Make a timer that is not running."""
        self._clock = clock
        self._handle: asyncio.TimerHandle | None = None

    def start(self, delay_s: float, callback: Callable[[], object]) -> None:
        """Call back once after a delay, in seconds."""
        self.cancel()
        self._handle = self._clock.call_later(delay_s, callback)

    def cancel(self) -> None:
        """Do not call back."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
