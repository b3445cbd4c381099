"""How long a connection may wait, with a clock of the test's own."""

from __future__ import annotations

import math

import pytest

from kdm_http.server.deadlines import Deadlines, OneShot, Phase
from unit.http.server.manual_clock import ManualClock

ALLOWED_S = (75.0, 10.0, 20.0, math.inf)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def expired() -> list[Phase]:
    return []


@pytest.fixture
def deadlines(clock: ManualClock, expired: list[Phase]) -> Deadlines:
    return Deadlines(clock, ALLOWED_S, expired.append)


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.HEADER, Phase.BODY])
def test_each_phase_expires_after_its_own_time(
    phase: Phase, deadlines: Deadlines, clock: ManualClock, expired: list[Phase]
) -> None:
    deadlines.enter(phase)
    clock.advance(ALLOWED_S[phase] - 0.001)
    assert expired == []
    clock.advance(0.001)
    assert expired == [phase]
    clock.advance(1000)
    assert expired == [phase]


def test_a_response_may_take_as_long_as_it_likes(
    deadlines: Deadlines, clock: ManualClock, expired: list[Phase]
) -> None:
    deadlines.enter(Phase.HEADER)
    deadlines.enter(Phase.RESPONSE)
    clock.advance(100_000)
    assert expired == []


def test_a_phase_that_is_entered_again_has_its_whole_time_again(
    deadlines: Deadlines, clock: ManualClock, expired: list[Phase]
) -> None:
    deadlines.enter(Phase.HEADER)
    clock.advance(9)
    deadlines.enter(Phase.HEADER)
    clock.advance(9)
    assert expired == []
    clock.advance(1)
    assert expired == [Phase.HEADER]


def test_a_shorter_phase_expires_though_a_longer_one_set_the_timer(
    deadlines: Deadlines, clock: ManualClock, expired: list[Phase]
) -> None:
    deadlines.enter(Phase.IDLE)
    clock.advance(70)
    deadlines.enter(Phase.HEADER)
    clock.advance(10)
    assert expired == [Phase.HEADER]


def test_a_phase_that_is_hurried_expires_sooner_and_never_later(
    deadlines: Deadlines, clock: ManualClock, expired: list[Phase]
) -> None:
    """The next phase has its own time."""
    deadlines.enter(Phase.HEADER)
    deadlines.hurry(100)
    clock.advance(10)
    assert expired == [Phase.HEADER]
    deadlines.enter(Phase.IDLE)
    deadlines.hurry(5)
    deadlines.enter(Phase.BODY)
    clock.advance(19)
    deadlines.enter(Phase.IDLE)
    deadlines.hurry(5)
    clock.advance(5)
    assert expired == [Phase.HEADER, Phase.IDLE]


def test_a_thousand_requests_set_few_timers(deadlines: Deadlines, clock: ManualClock, expired: list[Phase]) -> None:
    """Each phase is entered at every request: moving a timer each time would cost more than the request."""
    deadlines.enter(Phase.IDLE)
    for _ in range(1000):
        for phase in (Phase.HEADER, Phase.BODY, Phase.IDLE):
            deadlines.enter(phase)
    assert clock.set <= 3
    assert clock.waiting == 1
    clock.advance(75)
    assert expired == [Phase.IDLE]


def test_a_connection_that_is_gone_leaves_no_timer(
    deadlines: Deadlines, clock: ManualClock, expired: list[Phase]
) -> None:
    deadlines.enter(Phase.IDLE)
    deadlines.cancel()
    assert clock.waiting == 0
    clock.advance(1000)
    assert expired == []


def test_a_one_shot_timer_is_replaced_and_cancelled(clock: ManualClock) -> None:
    called: list[str] = []
    timer = OneShot(clock)
    timer.start(5, lambda: called.append("first"))
    timer.start(3, lambda: called.append("second"))
    clock.advance(10)
    assert called == ["second"]
    timer.start(1, lambda: called.append("third"))
    timer.cancel()
    timer.cancel()
    clock.advance(10)
    assert called == ["second"]
