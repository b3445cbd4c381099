"""What the watch state says of itself: it may be behind, but it does not lie."""

from __future__ import annotations

import math

from kdm_adapters.kubernetes.watch.actions import ListPage, Opened, WatchFrom
from kdm_adapters.kubernetes.wire.messages import Bookmark, Event, Failure
from unit.adapters.kubernetes.objects import deployment
from unit.adapters.kubernetes.watch.state_machine_driver import LISTS, REFUSED, Driver


def test_before_the_first_list_nothing_is_claimed() -> None:
    status = Driver(LISTS).state.status(0.0)
    assert not status.synced
    assert not status.connected
    assert status.resource_version == ""
    assert status.age_s == math.inf
    assert status.reason == "the first list has not been read yet"


def test_the_reason_of_a_failed_first_list_is_told() -> None:
    driver = Driver(LISTS)
    driver.next(ListPage)
    driver.apply(Failure(403, "Forbidden", "kdm's identity lacks a permission"))
    assert driver.state.status(driver.now).reason == "kdm's identity lacks a permission"


def test_listed_but_not_yet_watching_is_not_connected() -> None:
    driver = Driver(LISTS).listed(rv=3)
    driver.next(WatchFrom)
    status = driver.state.status(driver.now)
    assert status.synced
    assert not status.connected
    driver.apply(Opened())
    assert driver.state.status(driver.now).connected
    assert driver.state.status(driver.now).reason == ""


def test_events_and_bookmarks_prove_freshness_and_bytes_alone_do_not() -> None:
    driver = Driver(LISTS).watching(rv=3)
    driver.pass_time(50)
    driver.state.heard(driver.now)
    assert driver.state.status(driver.now).age_s == 50
    driver.apply(Bookmark("4"))
    assert driver.state.status(driver.now).age_s == 0
    driver.pass_time(7)
    driver.apply(Event("ADDED", deployment("web", 5)))
    assert driver.state.status(driver.now + 2).age_s == 2


def test_a_lost_connection_is_told_with_its_reason_while_the_state_stays() -> None:
    driver = Driver(LISTS).watching(deployment("web", 1), rv=3)
    driver.ended_in_order()
    driver.next(WatchFrom)
    driver.apply(REFUSED)
    status = driver.state.status(driver.now)
    assert (status.synced, status.connected, status.reason) == (True, False, "connection refused")
    assert driver.held == {"web": "1"}


def test_after_a_stop_it_is_not_connected() -> None:
    driver = Driver(LISTS).watching(rv=3)
    driver.state.stop()
    assert driver.state.status(driver.now).reason == "stopped"


def test_a_resumed_watch_that_has_been_open_for_a_second_proves_freshness() -> None:
    """After an outage on a quiet cluster nothing is told until the next bookmark, but nothing is stale either."""
    driver = Driver(LISTS).watching(rv=3)
    driver.pass_time(200)
    driver.ended_in_order(0)
    driver.next(WatchFrom)
    driver.apply(Opened())
    driver.prove()
    assert driver.state.status(driver.now).age_s == 200, "what has happened meanwhile may be about to be told"
    driver.pass_time(1)
    assert driver.state.status(driver.now).age_s == 1


def test_a_resumed_watch_that_breaks_at_once_proves_nothing() -> None:
    driver = Driver(LISTS).watching(rv=3)
    driver.pass_time(200)
    driver.ended_in_order(0)
    driver.next(WatchFrom)
    driver.apply(Opened())
    driver.prove()
    driver.pass_time(0.5)
    driver.apply(REFUSED)
    driver.pass_time(5)
    assert driver.state.status(driver.now).age_s == 205.5
