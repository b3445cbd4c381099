"""Watching: what is applied, from where it goes on, and what the end or an error of a watch leads to."""

from __future__ import annotations

import pytest

from kdm_adapters.kubernetes.watch.actions import Ended, ListPage, Opened, TimeUp, Wait, WatchFrom
from kdm_adapters.kubernetes.wire.messages import Bookmark, Event, Failure, Undecodable
from kdm_core.model import ChangeKind
from unit.adapters.kubernetes.objects import deployment
from unit.adapters.kubernetes.watch.state_machine_driver import EXPIRED, INTERNAL, LISTS, REFUSED, THROTTLED, Driver


def test_what_is_added_modified_and_deleted_is_applied_and_the_version_follows() -> None:
    driver = Driver(LISTS).watching(deployment("web", 1), deployment("api", 2), rv=2)
    driver.apply(
        Event("ADDED", deployment("db", 3)),
        Event("MODIFIED", deployment("web", 4, desired=5)),
        Event("DELETED", deployment("api", 5)),
    )
    assert driver.held == {"web": "4", "db": "3"}
    assert driver.state.resource_version == "5"
    assert driver.changes[2:] == [
        (ChangeKind.ADDED, "db"),
        (ChangeKind.MODIFIED, "web"),
        (ChangeKind.DELETED, "api"),
    ]


def test_an_object_of_the_wrong_kind_is_skipped_and_the_version_follows() -> None:
    driver = Driver(LISTS).watching(rv=2)
    driver.apply(Undecodable("a Pod, not a Deployment", "3"), Event("ADDED", deployment("web", 4)))
    assert driver.held == {"web": "4"}
    assert driver.state.resource_version == "4"


def test_an_event_told_twice_is_told_once_to_subscribers() -> None:
    driver = Driver(LISTS).watching(rv=2)
    driver.apply(*[Event("ADDED", deployment("web", 4))] * 2, *[Event("DELETED", deployment("web", 5))] * 2)
    assert driver.changes == [(ChangeKind.ADDED, "web"), (ChangeKind.DELETED, "web")]


def test_a_deployment_created_anew_is_told_as_deleted_and_added() -> None:
    driver = Driver(LISTS).watching(deployment("web", 1, uid="old"), rv=2)
    driver.apply(Event("MODIFIED", deployment("web", 9, uid="new")))
    assert driver.changes[1:] == [(ChangeKind.DELETED, "web"), (ChangeKind.ADDED, "web")]


def test_a_bookmark_moves_the_version_alone() -> None:
    driver = Driver(LISTS).watching(deployment("web", 1), rv=2)
    driver.apply(Bookmark("8"), Bookmark("6"))
    assert driver.state.resource_version == "8"
    assert driver.held == {"web": "1"}


def test_a_watch_that_ends_in_order_goes_on_from_the_last_version_without_a_list() -> None:
    driver = Driver(LISTS).watching(rv=2)
    driver.apply(Event("ADDED", deployment("web", 4)))
    driver.ended_in_order()
    assert driver.next(WatchFrom).resource_version == "4"
    assert driver.state.status(driver.now).connected, "a watch's ordinary end is no outage"
    assert len(driver.told.lists) == 1


def test_timeouts_are_spread_over_300_to_600_s() -> None:
    driver = Driver(LISTS).watching(rv=2)
    asked = {driver.next(WatchFrom).timeout_s for _ in range(2000)}
    assert min(asked) == 300
    assert max(asked) == 600
    assert len(asked) > 250


def test_a_watch_that_ends_at_once_without_an_event_is_an_error() -> None:
    """It backs off, then relists: lists may work where watches do not."""
    driver = Driver(LISTS).watching(rv=2)
    driver.pass_time(0.9)
    driver.apply(Ended())
    assert driver.told.ends == ["very-short"]
    assert not driver.state.status(driver.now).connected
    driver.wait_out()
    driver.next(ListPage)


def test_a_watch_that_ends_at_once_after_an_event_backs_off_but_does_not_relist() -> None:
    driver = Driver(LISTS).watching(rv=2)
    driver.apply(Bookmark("3"), Ended())
    driver.wait_out()
    assert driver.next(WatchFrom).resource_version == "3"


def test_a_quiet_watch_that_lasted_a_second_is_no_error() -> None:
    driver = Driver(LISTS).watching(rv=2)
    driver.ended_in_order(after_s=1.0)
    driver.next(WatchFrom)


@pytest.mark.parametrize("failure", [REFUSED, THROTTLED])
def test_refused_or_throttled_watches_back_off_and_do_not_relist(failure: Failure) -> None:
    driver = Driver(LISTS).watching(rv=2)
    driver.ended_in_order()
    driver.next(WatchFrom)
    driver.apply(failure)
    assert driver.wait_out() >= 0.8
    assert driver.next(WatchFrom).resource_version == "2"
    assert not driver.state.status(driver.now).connected
    driver.apply(Opened())
    driver.prove()
    assert driver.state.status(driver.now).connected


def test_429_as_an_error_event_backs_off_and_does_not_relist() -> None:
    driver = Driver(LISTS).watching(rv=2)
    driver.apply(Event("ADDED", deployment("web", 4)), THROTTLED)
    driver.wait_out()
    assert driver.next(WatchFrom).resource_version == "4"


def test_four_times_429_is_one_list_and_five_watches() -> None:
    driver = Driver(LISTS).listed(rv=2)
    for _ in range(4):
        driver.next(WatchFrom)
        driver.apply(THROTTLED)
        driver.wait_out()
    driver.next(WatchFrom)
    driver.apply(Opened())
    assert driver.told.lists == [("list", "initial")]


def test_retry_after_is_honoured() -> None:
    driver = Driver(LISTS).listed(rv=2)
    driver.next(WatchFrom)
    driver.apply(THROTTLED._replace(retry_after_s=45.0))
    assert driver.wait_out() == 45.0


def test_an_expired_watch_relists_at_once() -> None:
    driver = Driver(LISTS).watching(rv=2)
    driver.apply(Bookmark("3"), EXPIRED)
    driver.listed(deployment("web", 9), rv=9)
    assert driver.told.ends == ["expired"]
    assert driver.told.lists[-1] == ("list", "expired")


def test_a_watch_that_expires_each_time_does_not_make_a_loop_of_lists() -> None:
    driver = Driver(LISTS).watching(rv=2)
    started = driver.now
    for _ in range(10):
        driver.apply(EXPIRED)
        driver.wait_out()
        driver.listed(rv=2)
        driver.next(WatchFrom)
    assert driver.now - started > 100


@pytest.mark.parametrize(
    "failure", [INTERNAL, Failure(403, "Forbidden", "no"), Failure(200, "ProtocolError", "<html>")]
)
def test_any_other_error_backs_off_and_relists(failure: Failure) -> None:
    driver = Driver(LISTS).watching(rv=2)
    driver.apply(failure)
    assert driver.state.status(driver.now).reason == failure.message
    driver.wait_out()
    driver.listed(rv=3)
    assert driver.told.lists[-1] == ("list", "error")


def test_a_store_read_error_removes_the_ghost() -> None:
    """An object that etcd cannot read any more sends no DELETED; the relist after the error does away with it."""
    driver = Driver(LISTS).watching(deployment("ghost", 1), deployment("web", 2), rv=2)
    driver.apply(Failure(500, "StoreReadError", "data from the storage is not transformable"))
    driver.wait_out()
    driver.listed(deployment("web", 2), rv=8)
    assert driver.held == {"web": "2"}
    assert driver.changes[-1] == (ChangeKind.DELETED, "ghost")


def test_deletions_missed_while_disconnected_are_told_as_deletions() -> None:
    driver = Driver(LISTS).watching(deployment("gone", 1), deployment("web", 2), rv=2)
    driver.apply(REFUSED)
    driver.wait_out()
    driver.next(WatchFrom)
    driver.apply(EXPIRED)
    driver.wait_out()
    driver.changes.clear()
    driver.listed(deployment("web", 6), deployment("new", 5), rv=8)
    assert sorted(driver.changes, key=lambda change: change[1]) == [
        (ChangeKind.DELETED, "gone"),
        (ChangeKind.ADDED, "new"),
        (ChangeKind.MODIFIED, "web"),
    ]


@pytest.mark.parametrize("start", ["", "0"])
def test_the_added_events_that_begin_a_watch_from_no_version_do_not_move_it(start: str) -> None:
    """They come in no order: the first of them may be the newest, and the rest would be lost by a reconnection."""
    driver = Driver(LISTS).listed(rv=start)
    driver.next(WatchFrom)
    driver.apply(Opened(), Event("ADDED", deployment("web", 9)), Event("ADDED", deployment("api", 4)))
    driver.ended_in_order()
    assert driver.next(WatchFrom).resource_version == start
    driver.apply(Opened(), Event("ADDED", deployment("web", 9)), Event("MODIFIED", deployment("api", 10)))
    driver.apply(Event("ADDED", deployment("db", 11)))
    driver.ended_in_order()
    assert driver.next(WatchFrom).resource_version == "11"


def test_silence_for_70_s_ends_the_watch_and_resumes_it() -> None:
    driver = Driver(LISTS).watching(rv=2)
    driver.pass_time(40)
    driver.state.heard(driver.now)
    driver.pass_time(69)
    driver.apply(TimeUp())
    assert driver.streaming(), "it was heard 69 s ago"
    driver.pass_time(1)
    driver.apply(TimeUp())
    assert not driver.streaming()
    assert driver.told.ends == ["silent"]
    assert driver.state.status(driver.now).reason == "no sign of life for 70 s"
    assert driver.next(WatchFrom).resource_version == "2"


def test_a_broken_watch_resumes_from_the_last_version() -> None:
    driver = Driver(LISTS).watching(rv=2)
    driver.pass_time(5)
    driver.apply(Event("ADDED", deployment("web", 4)), Ended("connection reset by peer"))
    assert driver.told.ends == ["broken"]
    assert driver.next(WatchFrom).resource_version == "4"


def test_no_action_before_the_wait_is_over() -> None:
    driver = Driver(LISTS)
    driver.next(ListPage)
    driver.apply(REFUSED)
    waits = driver.next(Wait)
    driver.pass_time(waits.seconds / 2)
    assert driver.next(Wait).seconds == pytest.approx(waits.seconds / 2)
