"""How the watch state reads the present state through a watch, and when it goes back to lists."""

from __future__ import annotations

import pytest

from kdm_adapters.kubernetes.watch.actions import Ended, ListPage, Opened, TimeUp, WatchFrom, WatchList
from kdm_adapters.kubernetes.wire.messages import Bookmark, Event, Failure, Page
from unit.adapters.kubernetes.objects import deployment
from unit.adapters.kubernetes.watch.state_machine_driver import EXPIRED, INTERNAL, REFUSED, THROTTLED, TOO_LARGE, Driver

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
    assert driver.state.resource_version == "", "the version may move only at the annotated bookmark"
    driver.apply(Bookmark("5", True))
    assert driver.synced()
    assert driver.held == {"web": "3"}
    assert driver.streaming()
    driver.apply(Event("ADDED", deployment("api", 6)))
    assert driver.held == {"web": "3", "api": "6"}
    assert driver.state.resource_version == "6"
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
    driver.state.heard(driver.now)
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


def told(driver: Driver, number: int, *, every_s: float, kind: str = "ADDED", name: str = "web-{}") -> int:
    """Let a watch-list tell so many events at intervals, and return how many came before it was given up."""
    for i in range(number):
        driver.pass_time(every_s)
        driver.state.heard(driver.now)
        driver.apply(TimeUp())
        if not driver.streaming():
            return i
        driver.apply(Event(kind, deployment(name.format(i), i + 1)))
    return number


@pytest.mark.parametrize("every_s", [0.0002, 0.01, 0.05], ids=["5000/s", "100/s", "20/s"])
def test_initial_events_extend_the_deadline_however_many_there_are(every_s: float) -> None:
    """A big cluster's initial events may take minutes."""
    driver = Driver()
    driver.next(WatchList)
    driver.apply(Opened())
    assert told(driver, round(250 / every_s) if every_s > 0.001 else 50_000, every_s=every_s) * every_s >= 10
    driver.apply(Bookmark("60000", True))
    assert driver.synced()


def test_an_initial_state_that_pauses_for_less_than_the_deadline_is_read_to_its_end() -> None:
    driver = Driver()
    driver.next(WatchList)
    driver.apply(Opened())
    assert told(driver, 2000, every_s=0.001) == 2000
    driver.pass_time(9)
    driver.apply(TimeUp())
    assert driver.streaming()
    driver.apply(Event("ADDED", deployment("web", 1)), Bookmark("2001", True))
    assert driver.synced()


@pytest.mark.parametrize("every_s", [0.1, 1.0, 9.0])
@pytest.mark.parametrize("initial", [0, 50_000])
@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", "DELETED"])
def test_live_events_do_not_put_off_the_list_for_ever(kind: str, initial: int, every_s: float) -> None:
    """Somebody creates, changes or deletes a Deployment all the time; the closing bookmark never comes."""
    driver = Driver()
    driver.next(WatchList)
    driver.apply(Opened())
    assert told(driver, initial, every_s=0.0002, name="old-{}") == initial
    began = driver.now
    told(driver, 1000, every_s=every_s, kind=kind, name="old-{}" if kind != "ADDED" else "web-{}")
    assert driver.now - began <= 30
    driver.listed(deployment("web", 1), rv=60_000)
    assert driver.held == {"web": "1"}


def test_the_same_deployments_again_and_again_are_no_progress() -> None:
    driver = Driver()
    driver.next(WatchList)
    driver.apply(Opened())
    assert told(driver, 100_000, every_s=0.01, name="web") < 1100
    driver.next(ListPage)


def test_no_watch_list_outlasts_the_time_it_was_asked_to_last() -> None:
    """The server ought to end it then. Even a flood of additions does not extend it any further."""
    driver = Driver()
    timeout_s = driver.next(WatchList).timeout_s
    driver.apply(Opened())
    began = driver.now
    told(driver, 100_000, every_s=0.04)
    assert timeout_s - 1 <= driver.now - began <= timeout_s + 1
    driver.next(ListPage)


def test_bytes_of_events_that_do_not_end_are_no_progress() -> None:
    driver = Driver()
    driver.next(WatchList)
    driver.apply(Opened())
    for _ in range(10):
        driver.pass_time(1)
        driver.state.heard(driver.now)
    driver.apply(TimeUp())
    driver.next(ListPage)


def silent(driver: Driver) -> None:
    """Let a request wait for its answer in vain."""
    driver.time_up()
    driver.wait_out_if_asked()


def test_two_watch_lists_in_a_row_that_are_never_answered_lead_to_one_list() -> None:
    """A proxy may hold watches back and let lists through. Then there are lists, in place of nothing at all."""
    driver = Driver()
    for _ in range(2):
        driver.next(WatchList)
        silent(driver)
    driver.listed(deployment("web", 1), rv=2)
    assert driver.held == {"web": "1"}
    driver.next(WatchFrom)
    driver.apply(Opened(), Event("MODIFIED", deployment("web", 3)), EXPIRED)
    driver.next(WatchList)


def test_while_watches_are_never_answered_lists_keep_the_cache_going() -> None:
    driver = Driver()
    for _ in range(2):
        driver.next(WatchList)
        silent(driver)
    began = driver.now
    for version in range(2, 8):
        driver.listed(deployment("web", version), rv=version)
        assert driver.held == {"web": str(version)}
        assert not driver.state.status(driver.now).connected
        driver.next(WatchFrom)
        silent(driver)
    assert driver.now - began > 6 * 70, "one list for each watch that was waited for"
    driver.listed(rv=9)
    assert set(driver.told.lists[1:]) == {("list", "silent")}


def test_one_watch_that_is_never_answered_is_no_reason_for_a_list() -> None:
    driver = Driver().watching(rv=2)
    driver.ended_in_order()
    driver.next(WatchFrom)
    silent(driver)
    driver.next(WatchFrom)
    driver.apply(Opened())
    driver.time_up()
    driver.next(WatchFrom)
    silent(driver)
    assert driver.next(WatchFrom).resource_version == "2"
    silent(driver)
    driver.next(ListPage)


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
