"""Where an error finds its place among the responses of one connection, with uvicorn's own cycles and no connection."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, cast

import pytest

from kdm_http.server.http_cycles import HttpCycles, Place
from kdm_http.server.responses import Refusal
from kdm_http.server.uvicorn_seam import ASGI3Application, RequestResponseCycle

TOO_SLOW = Refusal(408, "too slow", close=True)
APP = cast("ASGI3Application", None)


def cycle(*, started: bool = False, complete: bool = False) -> RequestResponseCycle:
    nothing: Any = None
    log = logging.getLogger(__name__)
    made = RequestResponseCycle(
        scope=nothing,
        transport=nothing,
        flow=nothing,
        logger=log,
        access_logger=log,
        access_log=False,
        default_headers=[],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=True,
        on_response=lambda: None,
    )
    made.response_started, made.response_complete = started or complete, complete
    return made


class Queue:
    """The part of uvicorn's protocol that holds requests."""

    def __init__(self) -> None:
        self.cycle: RequestResponseCycle = cast("RequestResponseCycle", None)
        self.pipeline: deque[tuple[RequestResponseCycle, ASGI3Application]] = deque()
        self.cycles = HttpCycles(self)

    def ask(self, made: RequestResponseCycle) -> RequestResponseCycle:
        """Do what uvicorn does with a request."""
        before, self.cycle = self.cycle, made
        if getattr(before, "response_complete", True):
            self.cycles.started(made)
        else:
            self.pipeline.appendleft((made, APP))
        return made


@pytest.fixture
def queue() -> Queue:
    return Queue()


def test_before_the_first_request_nothing_is_due(queue: Queue) -> None:
    assert not queue.cycles.due
    assert queue.cycles.place_error(in_body=False) is Place.NOW


def test_a_bad_header_is_answered_now_if_nothing_is_due(queue: Queue) -> None:
    queue.ask(cycle(complete=True))
    assert not queue.cycles.due
    assert queue.cycles.place_error(in_body=False) is Place.NOW


@pytest.mark.parametrize("started", [False, True])
def test_a_bad_header_is_answered_after_the_response_that_is_due(started: bool, queue: Queue) -> None:
    before = queue.ask(cycle(started=started))
    assert queue.cycles.place_error(in_body=False) is Place.LAST
    assert not before.disconnected
    queue.cycles.end_with(TOO_SLOW)
    assert queue.cycles.take_last() is None
    before.response_complete = True
    assert queue.cycles.take_last() is TOO_SLOW
    assert queue.cycles.take_last() is None


def test_a_bad_body_takes_its_request_from_the_application(queue: Queue) -> None:
    own = queue.ask(cycle())
    assert queue.cycles.place_error(in_body=True) is Place.NOW
    assert own.disconnected
    assert own.message_event.is_set()


def test_a_bad_body_of_a_response_half_written_cuts_the_connection(queue: Queue) -> None:
    own = queue.ask(cycle(started=True))
    assert queue.cycles.place_error(in_body=True) is Place.TOO_LATE
    assert not own.disconnected


def test_a_bad_body_of_a_request_that_has_its_response_is_answered_no_more(queue: Queue) -> None:
    queue.ask(cycle(complete=True))
    assert queue.cycles.place_error(in_body=True) is Place.NOWHERE


def test_a_bad_body_in_the_queue_is_answered_after_those_before_it_and_never_given_to_the_application(
    queue: Queue,
) -> None:
    first, second = queue.ask(cycle()), queue.ask(cycle())
    bad = queue.ask(cycle())
    assert queue.cycles.queued
    assert queue.cycles.place_error(in_body=True) is Place.LAST
    assert [each for each, _ in queue.pipeline] == [second]
    assert queue.cycle is second
    assert not bad.disconnected
    queue.cycles.end_with(TOO_SLOW)
    first.response_complete = True
    assert queue.cycles.take_last() is None
    running, _ = queue.pipeline.pop()
    queue.cycles.started(running)
    assert queue.cycles.take_last() is None
    second.response_complete = True
    assert queue.cycles.take_last() is TOO_SLOW


def test_a_bad_body_next_in_the_queue_leaves_the_running_request_as_the_newest(queue: Queue) -> None:
    running = queue.ask(cycle())
    queue.ask(cycle())
    assert queue.cycles.place_error(in_body=True) is Place.LAST
    assert queue.cycle is running
    assert not queue.cycles.queued
    assert queue.cycles.due


def test_a_lost_connection_is_noticed_by_the_running_request_though_others_wait(queue: Queue) -> None:
    """Uvicorn looks at the newest alone."""
    running, waiting = queue.ask(cycle()), queue.ask(cycle())
    queue.cycles.disconnect()
    assert running.disconnected
    assert running.message_event.is_set()
    assert not waiting.disconnected


def test_a_lost_connection_that_asked_for_nothing_is_no_error(queue: Queue) -> None:
    queue.cycles.disconnect()
