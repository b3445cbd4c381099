"""How a response without an end learns that it has to end, without a connection and with a clock of the test's own."""

from __future__ import annotations

import asyncio

import pytest

from kdm_http.server.endless import FAREWELL_S, UNREAD_BYTES, Endless
from unit.http.server.manual_clock import ManualClock


class Transport(asyncio.Transport):
    limit: int | None = None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del low
        self.limit = high


class Connection:
    def __init__(self) -> None:
        self.transport = Transport()
        self.done: list[str] = []

    def revalidate(self) -> None:
        self.done.append("checked")

    def abort(self) -> None:
        self.done.append("cut")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def connection() -> Connection:
    return Connection()


@pytest.fixture
def endless(clock: ManualClock, connection: Connection) -> Endless:
    return Endless(clock, connection)


def test_a_response_is_told_why_it_ends_and_has_a_moment_to_say_so(
    endless: Endless, connection: Connection, clock: ManualClock
) -> None:
    told: list[str] = []
    endless.begin(lambda: told.append(endless.reason))
    assert connection.transport.limit == UNREAD_BYTES
    assert endless.end("shutdown")
    assert told == ["shutdown"]
    clock.advance(FAREWELL_S - 0.001)
    assert connection.done == []
    clock.advance(0.001)
    assert connection.done == ["cut"]


def test_the_first_reason_counts(endless: Endless) -> None:
    endless.begin(lambda: None)
    endless.end("certificate-expired")
    endless.end("shutdown")
    assert endless.reason == "certificate-expired"


def test_a_connection_without_such_a_response_is_not_cut(
    endless: Endless, connection: Connection, clock: ManualClock
) -> None:
    assert not endless.end("shutdown")
    endless.begin(lambda: None)
    assert endless.reason == "shutdown", "one that begins later learns it"
    endless.done()
    assert not endless.end("shutdown")
    clock.advance(FAREWELL_S)
    assert connection.done == []


def test_the_client_is_checked_when_the_response_asks(endless: Endless, connection: Connection) -> None:
    assert endless.check() == ""
    assert connection.done == ["checked"]


def test_a_connection_that_is_gone_is_said_and_let_go_of(
    endless: Endless, connection: Connection, clock: ManualClock
) -> None:
    told: list[str] = []
    endless.begin(lambda: told.append(endless.reason))
    endless.cancel()
    assert told == ["hang-up"]
    assert not endless.end("shutdown")
    assert endless.check() == "hang-up"
    assert clock.waiting == 0
    assert connection.done == []
