"""How a connection ends in good order, without a connection and with a clock of the test's own."""

from __future__ import annotations

import asyncio

import pytest

from kdm_http.server.endless import Endless
from kdm_http.server.leaving import LEAVE_S, LINGER_S, Leaving
from unit.http.server.manual_clock import ManualClock

AGE_S, REQUEST_S, GRACE_S = 3600.0, 30.0, 10.0


class Ended:
    """A connection that only notes how it is ended."""

    transport = asyncio.Transport()

    def __init__(self) -> None:
        self.busy = False
        self.idle = True
        self.finished = False
        self.done: list[str] = []

    def finish(self) -> None:
        self.finished = True
        self.done.append("closed")

    def finish_with_response(self) -> None:
        self.done.append("last response")

    def abort(self) -> None:
        self.done.append("cut")

    def revalidate(self) -> None:
        """Its client is good."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def connection() -> Ended:
    return Ended()


@pytest.fixture
def leaving(clock: ManualClock, connection: Ended) -> Leaving:
    leaving = Leaving(clock, connection, Endless(clock, connection), age_s=AGE_S, request_s=REQUEST_S, grace_s=GRACE_S)
    leaving.open()
    return leaving


def respond(connection: Ended, leaving: Leaving) -> None:
    connection.busy = False
    leaving.continue_if_done()


def test_an_idle_connection_lingers_before_it_is_closed(
    leaving: Leaving, connection: Ended, clock: ManualClock
) -> None:
    leaving.begin()
    clock.advance(LINGER_S - 0.001)
    assert connection.done == []
    clock.advance(0.001)
    assert connection.done == ["closed"]
    clock.advance(LEAVE_S)
    assert connection.done == ["closed", "cut"]


def test_it_lingers_no_longer_than_half_the_grace_period(connection: Ended, clock: ManualClock) -> None:
    leaving = Leaving(clock, connection, Endless(clock, connection), age_s=AGE_S, request_s=REQUEST_S, grace_s=0.2)
    leaving.open()
    leaving.begin()
    clock.advance(0.1)
    assert connection.done == ["closed"]


def test_a_request_that_comes_meanwhile_is_answered(leaving: Leaving, connection: Ended, clock: ManualClock) -> None:
    leaving.begin()
    connection.idle = False
    clock.advance(LINGER_S)
    assert connection.done == []
    assert leaving.begun  # so its response says that it is the last
    respond(connection, leaving)
    clock.advance(LEAVE_S)
    assert connection.done == ["cut"]


def test_a_busy_connection_closes_with_its_response(leaving: Leaving, connection: Ended, clock: ManualClock) -> None:
    connection.busy, connection.idle = True, False
    leaving.begin()
    assert connection.done == ["last response"]
    clock.advance(LINGER_S + LEAVE_S)
    assert connection.done == ["last response"]
    respond(connection, leaving)
    clock.advance(LEAVE_S)
    assert connection.done == ["last response", "cut"]


def test_a_header_that_has_begun_is_waited_for(leaving: Leaving, connection: Ended, clock: ManualClock) -> None:
    connection.idle = False
    leaving.begin()
    clock.advance(LINGER_S + LEAVE_S)
    assert connection.done == []


def test_an_old_connection_that_is_idle_is_closed(leaving: Leaving, connection: Ended, clock: ManualClock) -> None:
    clock.advance(AGE_S - 0.001)
    assert not leaving.begun
    clock.advance(0.001 + LINGER_S)
    assert connection.done == ["closed"]


def test_an_old_connection_has_the_time_of_one_request_for_the_response_that_is_due(
    leaving: Leaving, connection: Ended, clock: ManualClock
) -> None:
    connection.busy, connection.idle = True, False
    clock.advance(AGE_S)
    assert leaving.begun
    assert connection.done == ["last response"]
    clock.advance(REQUEST_S)
    assert connection.done == ["last response", "cut"]


def test_a_response_while_the_server_stays_ends_nothing(
    leaving: Leaving, connection: Ended, clock: ManualClock
) -> None:
    respond(connection, leaving)
    clock.advance(LINGER_S + LEAVE_S)
    assert connection.done == []


@pytest.mark.parametrize(
    ("busy", "half_a_body", "done"),
    [(False, False, "closed"), (True, False, "last response"), (True, True, "closed"), (False, True, "closed")],
)
def test_what_a_client_asked_for_before_it_hung_up_is_answered_if_it_is_whole(
    busy: bool, half_a_body: bool, done: str, leaving: Leaving, connection: Ended
) -> None:
    connection.busy = busy
    leaving.hang_up(half_a_body=half_a_body)
    assert connection.done == [done]


def test_a_client_that_hangs_up_on_a_closed_connection_changes_nothing(leaving: Leaving, connection: Ended) -> None:
    connection.finished = True
    leaving.hang_up(half_a_body=False)
    assert connection.done == []


@pytest.mark.parametrize("busy", [False, True])
def test_a_connection_that_is_gone_leaves_no_timer(
    busy: bool, leaving: Leaving, connection: Ended, clock: ManualClock
) -> None:
    connection.busy = busy
    leaving.begin()
    leaving.cancel()
    respond(connection, leaving)
    leaving.begin()
    assert clock.waiting == 0


def test_a_connection_that_was_never_open_gets_no_timer(connection: Ended, clock: ManualClock) -> None:
    """Such as one whose client is turned away right after its handshake."""
    leaving = Leaving(clock, connection, Endless(clock, connection), age_s=AGE_S, request_s=REQUEST_S, grace_s=GRACE_S)
    leaving.begin()
    leaving.continue_if_done()
    assert clock.waiting == 0
