"""How the view reads the present state through a watch, and when it goes back to lists."""

from __future__ import annotations

import pytest

from kdm_adapters.kubernetes.messages import (
    Bookmark,
    Ended,
    Event,
    Failure,
    ListPage,
    Opened,
    Page,
    TimeUp,
    WatchFrom,
    WatchList,
)
from unit.adapters.kubernetes.objects import deployment
from unit.adapters.kubernetes.view_driver import EXPIRED, INTERNAL, REFUSED, THROTTLED, TOO_LARGE, Driver

UNSUPPORTED = Failure(422, "Invalid", "sendInitialEvents is forbidden for watch unless the feature gate is enabled")


def test_the_first_read_is_a_watch_list_of_the_newest_state() -> None:
    action = Driver().next(WatchList)
    assert action.query() == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "timeoutSeconds": str(action.timeout_s),
    }
    assert 300 <= action.timeout_s <= 600


def test_it_is_synced_only_after_the_annotated_bookmark_and_the_stream_goes_on() -> None:
    driver = Driver()
    driver.next(WatchList)
    driver.apply(Opened(), Event("ADDED", deployment("web", 3)), Bookmark("4"))
    assert not driver.synced()
    assert not driver.held
    assert driver.view.resource_version == "", "the version may move only at the annotated bookmark"
    driver.apply(Bookmark("5", True))
    assert driver.synced()
    assert driver.held == {"web": "3"}
    assert driver.streaming()
    driver.apply(Event("ADDED", deployment("api", 6)))
    assert driver.held == {"web": "3", "api": "6"}
    assert driver.view.resource_version == "6"
    assert driver.told.lists == [("watch-list", "initial")]


def test_what_is_modified_and_deleted_before_the_bookmark_is_honoured() -> None:
    driver = Driver()
    driver.next(WatchList)
    driver.apply(
        Opened(),
        Event("ADDED", deployment("web", 3)),
        Event("ADDED", deployment("api", 4)),
        Event("MODIFIED", deployment("web", 5)),
        Event("DELETED", deployment("api", 6)),
        Bookmark("6", True),
    )
    assert driver.held == {"web": "5"}


def test_reads_show_the_old_state_until_the_new_one_is_complete() -> None:
    driver = Driver().watching(deployment("web", 1), rv=2)
    driver.apply(Bookmark("3"), EXPIRED)
    assert driver.next(WatchList).resource_version == "3"
    driver.apply(Opened(), Event("ADDED", deployment("api", 9)))
    assert driver.held == {"web": "1"}
    driver.apply(Bookmark("9", True))
    assert driver.held == {"api": "9"}


@pytest.mark.parametrize("failure", [THROTTLED, REFUSED])
def test_429_and_refused_are_retried(failure: Failure) -> None:
    driver = Driver()
    for _ in range(3):
        driver.next(WatchList)
        driver.apply(failure)
        driver.wait_out()
    driver.watching(deployment("web", 1), rv=2)
    assert driver.told.lists == [("watch-list", "initial")]


@pytest.mark.parametrize("failure", [UNSUPPORTED, Failure(400, "BadRequest", "no"), Failure(403, "Forbidden", "no")])
def test_a_server_that_refuses_the_parameters_is_listed_at_once(failure: Failure) -> None:
    driver = Driver()
    driver.next(WatchList)
    driver.apply(failure)
    driver.listed(deployment("web", 1), rv=2)
    assert driver.next(WatchFrom).resource_version == "2"
    assert driver.told.lists == [("list", "initial")]


def test_an_error_event_before_the_bookmark_falls_back_to_a_list() -> None:
    driver = Driver()
    driver.next(WatchList)
    driver.apply(Opened(), Event("ADDED", deployment("half", 1)), INTERNAL)
    driver.listed(deployment("web", 1), rv=2)
    assert driver.held == {"web": "1"}


@pytest.mark.parametrize("failure", [EXPIRED, TOO_LARGE])
def test_a_version_that_expired_or_is_too_large_is_followed_by_the_newest_state(failure: Failure) -> None:
    driver = Driver().watching(rv=9)
    driver.apply(Bookmark("10"), EXPIRED)
    assert driver.next(WatchList).resource_version == "10"
    driver.apply(failure)
    assert driver.next(WatchList).resource_version == ""
    driver.apply(failure)
    driver.next(ListPage)


def test_a_bookmark_that_never_comes_leads_to_a_list_and_for_an_hour_to_lists_only() -> None:
    """An old server ignores the parameter; without a deadline the cache would stay empty for ever."""
    driver = Driver()
    driver.next(WatchList)
    driver.apply(Opened(), Event("ADDED", deployment("web", 1)))
    driver.pass_time(9)
    driver.view.heard(driver.now)
    driver.apply(Bookmark("4"), TimeUp())
    assert driver.streaming()
    driver.time_up()
    driver.listed(deployment("web", 1), rv=5)
    driver.next(WatchFrom)
    driver.apply(Opened(), Bookmark("6"), EXPIRED)
    driver.listed(rv=7)
    driver.next(WatchFrom)
    driver.pass_time(3600)
    driver.ended_in_order()
    driver.next(WatchFrom)
    driver.apply(Opened(), Bookmark("8"), EXPIRED)
    driver.next(WatchList)


def test_progress_extends_the_deadline() -> None:
    """A big cluster's initial events may take minutes."""
    driver = Driver()
    driver.next(WatchList)
    driver.apply(Opened())
    for i in range(20):
        driver.pass_time(9)
        driver.view.heard(driver.now)
        driver.apply(Event("ADDED", deployment(f"web-{i}", i + 1)), TimeUp())
        assert driver.streaming()


def test_a_server_that_does_not_even_answer_is_not_taken_for_an_old_one() -> None:
    driver = Driver()
    driver.next(WatchList)
    driver.time_up()
    driver.wait_out()
    driver.next(WatchList)


def test_a_stream_that_ends_before_the_bookmark_falls_back_to_a_list() -> None:
    driver = Driver()
    driver.next(WatchList)
    driver.apply(Opened(), Event("ADDED", deployment("half", 1)))
    driver.pass_time(20)
    driver.apply(Ended())
    driver.next(ListPage)
    driver.apply(Page((), "3"))
    assert not driver.held


def test_a_failed_list_after_the_fallback_begins_with_a_watch_list_again() -> None:
    driver = Driver()
    driver.next(WatchList)
    driver.apply(UNSUPPORTED)
    driver.next(ListPage)
    driver.apply(REFUSED)
    driver.wait_out()
    driver.next(WatchList)
