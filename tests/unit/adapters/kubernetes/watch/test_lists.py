"""How the watch state lists: which options it sends, how it pages, and what it does when a list fails."""

from __future__ import annotations

import pytest

from kdm_adapters.kubernetes.watch.actions import ListPage, WatchFrom
from kdm_adapters.kubernetes.watch.tuning import Tuning
from kdm_adapters.kubernetes.wire.messages import Bookmark, Failure, Page
from unit.adapters.kubernetes.objects import deployment
from unit.adapters.kubernetes.watch.state_machine_driver import (
    EXPIRED,
    INTERNAL,
    LISTS,
    REFUSED,
    THROTTLED,
    TOO_LARGE,
    Driver,
)


def test_the_first_list_asks_for_version_0_in_pages_of_500() -> None:
    assert Driver(LISTS).next(ListPage).query() == {"resourceVersion": "0", "limit": "500"}


def test_a_watch_follows_at_the_lists_version() -> None:
    action = Driver(LISTS).listed(deployment("web", 3), rv=7).next(WatchFrom)
    assert action.query() == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": "7",
        "timeoutSeconds": str(action.timeout_s),
    }


def test_ten_deployments_in_pages_of_four_are_three_requests() -> None:
    """Continuation requests carry the token and the limit, but neither resourceVersion nor its match."""
    driver = Driver(Tuning(watch_list=False, page_size=4))
    items = [deployment(f"web-{i}", i + 1) for i in range(10)]
    assert driver.next(ListPage).query() == {"resourceVersion": "0", "limit": "4"}
    driver.apply(Page(items[:4], "20", "token-1"))
    assert driver.next(ListPage).query() == {"continue": "token-1", "limit": "4"}
    driver.apply(Page(items[4:8], "20", "token-2"))
    assert not driver.held, "half a list was published"
    assert driver.next(ListPage).query() == {"continue": "token-2", "limit": "4"}
    driver.apply(Page(items[8:], "20"))
    assert len(driver.held) == 10
    assert driver.next(WatchFrom).resource_version == "20"


def test_a_list_at_a_version_has_no_limit() -> None:
    """With rv=10 the server may answer from its watch cache; a limit would send it to etcd."""
    driver = Driver(LISTS).watching(rv=10)
    driver.apply(INTERNAL)
    driver.wait_out()
    assert driver.next(ListPage).query() == {"resourceVersion": "10"}


def test_a_relist_carries_the_last_version_seen() -> None:
    """It must not travel back in time to a server that is behind."""
    driver = Driver(LISTS).watching(rv=10)
    driver.apply(Bookmark("17"), EXPIRED)
    assert driver.next(ListPage).resource_version == "17"


@pytest.mark.parametrize(
    "failure",
    [
        EXPIRED,
        Failure(410, "Gone", "gone"),
        Failure(500, "Expired", "by its reason alone"),
        TOO_LARGE,
        Failure(504, "Timeout", "timeout", (("", "Too large resource version"),)),
        Failure(504, "", "Timeout: Too large resource version: 10, current: 5"),
        Failure(500, "Timeout", "Too large resource version: 10"),
    ],
)
def test_an_expired_or_too_large_version_is_followed_at_once_by_a_list_of_the_newest(failure: Failure) -> None:
    driver = Driver(LISTS).watching(deployment("web", 9), rv=10)
    driver.apply(Bookmark("10"), EXPIRED)
    assert driver.next(ListPage).resource_version == "10"
    driver.apply(failure)
    assert driver.next(ListPage).query() == {"limit": "500"}
    driver.apply(Page((deployment("web", 4),), "5"))
    assert driver.held == {"web": "4"}
    assert driver.next(WatchFrom).resource_version == "5"


@pytest.mark.parametrize("failure", [EXPIRED, TOO_LARGE])
def test_the_same_failure_of_a_list_of_the_newest_backs_off(failure: Failure) -> None:
    driver = Driver(LISTS)
    for _ in range(2):
        driver.next(ListPage)
        driver.apply(failure)
    driver.wait_out()
    assert driver.next(ListPage).query() == {"limit": "500"}


def test_a_page_that_expired_is_followed_by_one_full_list() -> None:
    driver = Driver(LISTS)
    driver.next(ListPage)
    driver.apply(Page((deployment("stale", 1),), "5", "token"))
    driver.next(ListPage)
    driver.apply(EXPIRED)
    assert driver.next(ListPage).query() == {"resourceVersion": "0"}
    driver.apply(Page((deployment("web", 6),), "8"))
    assert driver.held == {"web": "6"}


def test_a_full_list_that_expired_is_followed_by_a_list_of_the_newest() -> None:
    driver = Driver(LISTS)
    driver.next(ListPage)
    driver.apply(Page((), "5", "token"))
    driver.next(ListPage)
    driver.apply(EXPIRED)
    driver.next(ListPage)
    driver.apply(EXPIRED)
    assert driver.next(ListPage).query() == {}


@pytest.mark.parametrize("failure", [REFUSED, THROTTLED, INTERNAL, Failure(403, "Forbidden", "no")])
def test_a_list_that_fails_is_begun_anew_after_a_backoff(failure: Failure) -> None:
    driver = Driver(LISTS)
    driver.next(ListPage)
    driver.apply(Page((deployment("half", 1),), "5", "token"))
    driver.next(ListPage)
    driver.apply(failure)
    assert 0.8 <= driver.wait_out() < 1.6
    assert driver.next(ListPage).query() == {"resourceVersion": "0", "limit": "500"}
    driver.apply(Page((), "6"))
    assert not driver.held
    assert not driver.state.status(driver.now).connected


def test_a_list_without_an_answer_is_given_up_after_70_s() -> None:
    driver = Driver(LISTS)
    driver.next(ListPage)
    assert driver.state.deadline == driver.now + 70
    driver.time_up()
    driver.wait_out()
    driver.listed(rv=1)
    assert driver.synced()


def test_converges_through_a_script_of_list_and_watch_errors() -> None:
    """Whatever fails on the way, what is published in the end is what the last list and its watch said."""
    driver = Driver(LISTS)
    for failure in (REFUSED, INTERNAL, THROTTLED, EXPIRED, TOO_LARGE, INTERNAL):
        driver.next(ListPage)
        driver.apply(failure)
        driver.wait_out_if_asked()
    driver.listed(deployment("web", 1), deployment("old", 2), rv=3)
    for failure in (REFUSED, THROTTLED, REFUSED):
        assert driver.next(WatchFrom).resource_version == "3"
        driver.apply(failure)
        driver.wait_out()
    driver.next(WatchFrom)
    driver.apply(INTERNAL)
    driver.wait_out()
    driver.listed(deployment("web", 5), rv=6)
    assert driver.held == {"web": "5"}
    assert [reason for _, reason in driver.told.lists] == ["initial", "error"]
