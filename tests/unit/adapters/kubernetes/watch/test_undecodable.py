"""What the watch state does about objects that are not understood: go on, read anew soon, and never in a loop."""

from __future__ import annotations

import pytest

from kdm_adapters.kubernetes.watch.actions import ListPage, Opened, WatchFrom, WatchList
from kdm_adapters.kubernetes.wire.messages import Bookmark, Event, Page, Undecodable
from kdm_core.model import ChangeKind
from unit.adapters.kubernetes.objects import NAMESPACE, deployment
from unit.adapters.kubernetes.watch.state_machine_driver import LISTS, Driver

POISON = Undecodable("replicas: expected int, got str", "5", NAMESPACE, "web")


def test_an_event_not_understood_is_counted_and_logged_and_its_version_counts(caplog: pytest.LogCaptureFixture) -> None:
    driver = Driver(LISTS).watching(deployment("web", 1), rv=2)
    driver.apply(POISON)
    assert driver.told.undecodable == 1
    assert "Deployment 'shop/web' at resourceVersion '5': replicas: expected int, got str" in caplog.text
    assert driver.state.resource_version == "5"
    assert driver.streaming()


def test_the_watch_goes_on_and_one_relist_follows_within_two_seconds() -> None:
    driver = Driver(LISTS).watching(deployment("web", 1), rv=2)
    driver.apply(POISON, POISON, Event("ADDED", deployment("api", 6)))
    assert driver.held == {"web": "1", "api": "6"}
    assert 1.0 <= driver.state.deadline - driver.now < 2.0
    driver.time_up()
    driver.listed(deployment("web", 5), deployment("api", 6), rv=7)
    assert driver.held == {"web": "5", "api": "6"}
    assert driver.told.lists == [("list", "initial"), ("list", "undecodable")]
    driver.next(WatchFrom)
    driver.apply(Opened())
    assert driver.state.deadline - driver.now == 70


def test_an_object_never_understood_makes_ever_rarer_relists() -> None:
    """Not a loop: at most 20 lists in the first hour, and the watch delivers all the rest."""
    driver = Driver(LISTS)
    until = driver.now + 3600
    while driver.now < until:
        driver.next(ListPage)
        driver.apply(Page((deployment("api", 1),), "5", undecodable=(POISON,)))
        driver.next(WatchFrom)
        driver.apply(Opened())
        while driver.streaming() and driver.now < until:
            driver.pass_time(min(30.0, max(0.1, driver.state.deadline - driver.now)))
            driver.state.heard(driver.now)
            driver.apply(POISON)
            driver.time_up() if driver.now >= driver.state.deadline else None
    assert 8 < len(driver.told.lists) < 20


def test_a_listed_item_not_understood_spoils_nothing_else_and_keeps_what_was_known_of_it() -> None:
    """It exists, whatever it says: it must not be told as deleted."""
    driver = Driver(LISTS).watching(deployment("web", 1), rv=2)
    driver.apply(POISON)
    driver.time_up()
    driver.next(ListPage)
    driver.apply(Page((deployment("api", 6),), "7", undecodable=(POISON,)))
    assert driver.held == {"web": "1", "api": "6"}
    assert (ChangeKind.DELETED, "web") not in driver.changes


def test_a_watch_list_keeps_what_was_known_as_well() -> None:
    driver = Driver().watching(deployment("web", 1), rv=2)
    driver.apply(POISON)
    driver.time_up()
    driver.next(WatchList)
    driver.apply(Opened(), POISON, Event("ADDED", deployment("api", 6)), Bookmark("7", True))
    assert driver.held == {"web": "1", "api": "6"}


def test_without_a_readable_version_the_position_stays() -> None:
    driver = Driver(LISTS).watching(rv=2)
    driver.apply(Undecodable("nothing could be read"))
    assert driver.state.resource_version == "2"
    driver.time_up()
    driver.next(ListPage)


def test_what_was_known_is_not_kept_for_a_successor_of_the_same_name() -> None:
    driver = Driver(LISTS).watching(deployment("web", 1, uid="old"), rv=2)
    driver.apply(POISON)
    driver.time_up()
    driver.next(ListPage)
    driver.apply(Page((), "7", undecodable=(POISON._replace(uid="new"),)))
    assert driver.held == {}
