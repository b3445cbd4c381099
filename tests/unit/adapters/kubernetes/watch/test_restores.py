"""A cluster that was restored from a backup: its versions, and its Deployments, are older than what is held."""

from __future__ import annotations

import math

import pytest

from kdm_adapters.cache.own_writes import written_over
from kdm_adapters.kubernetes.watch.actions import Ended, ListPage, Opened, TimeUp, WatchFrom, WatchList
from kdm_adapters.kubernetes.wire.messages import Bookmark, Event, Page
from kdm_core.model import ChangeKind, Trouble
from unit.adapters.kubernetes.objects import deployment
from unit.adapters.kubernetes.watch.state_machine_driver import EXPIRED, LISTS, REFUSED, THROTTLED, TOO_LARGE, Driver

WEB = deployment("web", 90, desired=2)


def resumed(driver: Driver | None = None, *, after_outage: bool = True) -> Driver:
    """Bring a watch state that holds "web" at version 100 to a watch that was accepted from there."""
    driver = (driver or Driver(LISTS)).watching(WEB, deployment("late", 95), rv=100)
    driver.pass_time(20)
    driver.ended_in_order(0)
    driver.next(WatchFrom)
    if after_outage:
        driver.apply(REFUSED)
        driver.wait_out()
        driver.next(WatchFrom)
    driver.apply(Opened())
    return driver


def read_again(driver: Driver) -> None:
    """Let the deadline pass, which has to be due, and answer the read of the newest state with an older one."""
    driver.apply(TimeUp())
    action = driver.state.next_action(driver.now)
    assert isinstance(action, ListPage | WatchList)
    assert action.resource_version == "", "only the newest state will do"
    driver.apply(Page((deployment("web", 40),), "60"))
    assert driver.held == {"web": "40"}
    assert driver.state.resource_version == "60"


def test_an_accepted_watch_proves_nothing_until_the_cluster_is_known_to_have_come_that_far() -> None:
    """It takes a version from its future and stays silent. Neither connected nor fresh may be claimed meanwhile."""
    driver = resumed()
    driver.pass_time(5)
    status = driver.state.status(driver.now)
    assert driver.state.unproven == "100"
    assert not status.connected
    assert status.age_s > 25
    assert status.trouble is Trouble.INTERRUPTED
    driver.prove(100)
    assert driver.state.status(driver.now).connected
    assert driver.state.status(driver.now).age_s == 5
    assert driver.state.unproven == ""


def test_a_newest_version_below_the_held_one_has_everything_read_again() -> None:
    driver = resumed()
    driver.prove(60)
    status = driver.state.status(driver.now)
    assert (status.connected, status.trouble) == (False, Trouble.WENT_BACK)
    assert "60" in status.reason
    assert "100" in status.reason
    read_again(driver)
    assert (ChangeKind.DELETED, "late") in driver.changes
    assert driver.changes[-1] == (ChangeKind.MODIFIED, "web")
    assert driver.told.ends[-1] == "went-back"
    assert driver.told.lists[-1] == ("list", "went-back")
    assert driver.next(WatchFrom).resource_version == "60"
    driver.apply(Opened())
    assert driver.state.unproven == "", "what has just been read needs no proof"
    assert driver.state.status(driver.now).connected
    driver.apply(Event("MODIFIED", deployment("web", 61)))
    assert driver.held == {"web": "61"}


def test_the_way_by_watch_lists_is_the_same() -> None:
    driver = resumed(Driver())
    driver.prove(60)
    driver.apply(TimeUp())
    assert driver.next(WatchList).resource_version == ""
    driver.apply(Opened(), Event("ADDED", deployment("web", 40)), Bookmark("60", True))
    assert driver.held == {"web": "40"}
    assert driver.state.status(driver.now).connected


def test_an_ordinary_end_does_not_look_like_an_outage_while_the_version_is_asked_for() -> None:
    driver = resumed(after_outage=False)
    assert driver.state.unproven == "100"
    assert driver.state.status(driver.now).connected
    driver.prove(60)
    assert not driver.state.status(driver.now).connected
    read_again(driver)


def test_a_watch_that_broke_off_is_not_connected_until_it_is_proven_good() -> None:
    driver = Driver(LISTS).watching(WEB, rv=100)
    driver.pass_time(20)
    driver.apply(Ended("connection reset by peer"))
    assert driver.state.status(driver.now).reason == "connection reset by peer"
    driver.next(WatchFrom)
    driver.apply(Opened())
    assert not driver.state.status(driver.now).connected
    driver.prove()
    assert driver.state.status(driver.now).connected


def test_a_cluster_that_does_not_tell_its_newest_version_is_not_taken_for_a_good_one() -> None:
    driver = resumed(after_outage=False)
    driver.state.newest_unknown("it cannot be read")
    assert not driver.state.status(driver.now).connected
    assert driver.state.unproven == "100", "it is asked again"
    driver.apply(Bookmark("101"))
    assert driver.state.status(driver.now).connected
    driver.state.newest_unknown("an answer that comes too late")
    assert driver.state.status(driver.now).connected


@pytest.mark.parametrize("newest", [100, 101, 5000])
def test_a_cluster_that_has_come_that_far_is_not_read_again(newest: int) -> None:
    driver = resumed()
    driver.prove(newest)
    assert driver.streaming()
    assert driver.state.deadline == driver.now + 70
    assert driver.state.resource_version == "100", "what the watch has not told has not been seen"


@pytest.mark.parametrize("message", [Event("MODIFIED", deployment("web", 101)), Bookmark("101"), Bookmark("100")])
def test_whatever_a_resumed_watch_tells_is_proof_as_well(message: Event | Bookmark) -> None:
    driver = resumed()
    driver.apply(message)
    assert driver.state.unproven == ""
    assert driver.state.status(driver.now).connected
    assert driver.state.status(driver.now).age_s == 0


def test_an_answer_that_comes_too_late_says_nothing_about_the_next_watch() -> None:
    driver = resumed()
    asked_for = driver.state.unproven
    driver.apply(Event("MODIFIED", deployment("web", 101)))
    driver.state.newest("60", asked_for, driver.now)
    assert driver.streaming()
    assert driver.state.status(driver.now).connected


def test_nothing_is_asked_before_the_watch_is_open_or_after_it_has_ended() -> None:
    driver = Driver(LISTS).watching(WEB, rv=100)
    driver.ended_in_order()
    driver.next(WatchFrom)
    assert driver.state.unproven == ""
    driver.apply(Opened())
    assert driver.state.unproven == "100"
    driver.apply(REFUSED)
    assert driver.state.unproven == ""


def test_the_first_watch_after_a_list_needs_no_proof() -> None:
    driver = Driver(LISTS).watching(WEB, rv=100)
    assert driver.state.unproven == ""
    assert driver.state.status(driver.now).connected


def test_a_version_that_is_no_number_cannot_be_compared_and_is_believed() -> None:
    driver = Driver(LISTS).watching(rv="zz")
    driver.ended_in_order()
    driver.next(WatchFrom)
    driver.apply(Opened())
    driver.prove("aa")
    assert driver.streaming()


@pytest.mark.parametrize("message", [Event("MODIFIED", deployment("web", 61)), Bookmark("61")])
def test_a_watch_that_tells_an_older_version_than_held_has_everything_read_again(message: Event | Bookmark) -> None:
    driver = resumed()
    driver.apply(message)
    assert driver.held == {"web": "90", "late": "95"}
    assert driver.state.status(driver.now).trouble is Trouble.WENT_BACK
    read_again(driver)


def test_a_write_answered_below_the_held_version_is_shown_at_once_and_has_everything_read_again() -> None:
    driver = resumed()
    driver.write(written_over(WEB, "61", 7))
    found = driver.store.get("shop", "web")
    assert found is not None
    assert found.replicas.desired == 7, "own writes are visible, whatever happened to the cluster"
    assert driver.state.status(driver.now).trouble is Trouble.WENT_BACK
    driver.apply(TimeUp())
    assert driver.next(ListPage).resource_version == ""
    driver.apply(Page((deployment("web", 61, desired=7),), "62"))
    assert driver.held == {"web": "61"}


def test_a_write_to_a_deployment_that_did_not_change_since_the_backup_is_a_sign_as_well() -> None:
    """Its own version is lower than the answer's. But a change gets a version above all that had been seen."""
    driver = Driver(LISTS).watching(deployment("old", 5), rv=100)
    driver.write(written_over(deployment("old", 5), "61", 7))
    assert driver.state.status(driver.now).trouble is Trouble.WENT_BACK
    assert driver.held == {"old": "61"}


def test_a_write_during_the_read_that_follows_is_kept() -> None:
    driver = resumed()
    driver.prove(60)
    driver.apply(TimeUp())
    driver.next(ListPage)
    driver.write(written_over(WEB, "62", 7))
    driver.apply(Page((deployment("web", 40),), "61"))
    assert driver.held == {"web": "62"}
    driver.next(WatchFrom)
    driver.apply(Opened(), Event("MODIFIED", deployment("web", 62, desired=7)))
    assert driver.held == {"web": "62"}


def test_an_answer_that_arrives_after_the_source_went_back_is_no_new_sign() -> None:
    driver = resumed()
    before = driver.state.before(WEB.ref)
    driver.prove(60)
    read_again(driver)
    driver.next(WatchFrom)
    driver.apply(Opened())
    driver.write(written_over(deployment("web", 40), "61", 7), before)
    assert driver.held == {"web": "61"}
    assert driver.state.status(driver.now).connected


def test_a_write_that_changes_nothing_is_no_sign() -> None:
    """It is answered with the version the Deployment has had all along."""
    driver = Driver(LISTS).watching(WEB, rv=100)
    driver.write(written_over(WEB, "90", 2))
    assert driver.state.status(driver.now).connected
    assert driver.state.deadline > driver.now


def test_an_answer_that_the_watch_overtook_is_no_sign() -> None:
    driver = Driver(LISTS).watching(WEB, rv=100)
    before = driver.state.before(WEB.ref)
    driver.apply(Event("MODIFIED", deployment("web", 101, desired=7)), Event("MODIFIED", deployment("web", 102)))
    driver.write(written_over(WEB, "101", 7), before)
    assert driver.held == {"web": "102"}
    assert driver.state.status(driver.now).connected


def test_signs_that_come_again_and_again_do_not_make_a_loop_of_lists() -> None:
    driver = Driver(LISTS).watching(WEB, rv=100)
    began = driver.now
    for _ in range(8):
        driver.write(written_over(WEB, "61", 7))
        driver.now = max(driver.now, driver.state.deadline)
        driver.apply(TimeUp())
        driver.listed(WEB, rv=100)
        driver.next(WatchFrom)
        driver.apply(Opened())
    assert driver.now - began > 60


def test_a_list_that_answers_below_what_was_asked_for_is_asked_again_for_the_newest() -> None:
    """Something between that ignores the version may be behind, or the cluster went back: the newest state tells."""
    driver = Driver(LISTS).watching(WEB, rv=100)
    driver.apply(Bookmark("101"), EXPIRED)
    assert driver.next(ListPage).resource_version == "101"
    driver.apply(Page((deployment("web", 40),), "60"))
    assert driver.held == {"web": "90"}, "reads do not go back because somebody is behind"
    assert driver.next(ListPage).resource_version == ""
    driver.apply(Page((deployment("web", 102),), "103"))
    assert driver.held == {"web": "102"}


def test_a_watch_list_that_answers_below_what_was_asked_for_is_asked_again_for_the_newest() -> None:
    driver = Driver().watching(WEB, rv=100)
    driver.apply(Bookmark("101"), EXPIRED)
    assert driver.next(WatchList).resource_version == "101"
    driver.apply(Opened(), Event("ADDED", deployment("web", 40)), Bookmark("60", True))
    assert not driver.streaming()
    assert driver.held == {"web": "90"}
    assert not driver.state.status(driver.now).connected
    assert driver.next(WatchList).resource_version == ""


def test_the_newest_state_is_believed_wherever_it_is() -> None:
    driver = resumed()
    driver.apply(EXPIRED)
    driver.wait_out_if_asked()
    driver.next(ListPage)
    driver.apply(TOO_LARGE)
    assert driver.next(ListPage).resource_version == ""
    driver.apply(Page((deployment("web", 40),), "60"))
    assert driver.held == {"web": "40"}


def test_failures_on_the_way_do_not_make_it_forget_that_only_the_newest_state_will_do() -> None:
    driver = resumed()
    driver.prove(60)
    driver.apply(TimeUp())
    for failure in (REFUSED, THROTTLED):
        assert driver.next(ListPage).resource_version == ""
        driver.apply(failure)
        assert not driver.state.status(driver.now).connected
        driver.wait_out()
    read_again(driver)


def test_a_changed_deployment_of_which_nothing_was_told_shows_that_something_was_missed() -> None:
    """The restored cluster's versions may have passed the held one before anybody looked."""
    driver = resumed()
    driver.apply(Event("MODIFIED", deployment("unheard-of", 130)))
    assert driver.held == {"web": "90", "late": "95", "unheard-of": "130"}
    driver.time_up()
    driver.listed(deployment("web", 40), deployment("unheard-of", 130), rv=131)
    assert driver.held == {"web": "40", "unheard-of": "130"}
    assert driver.told.lists[-1] == ("list", "missed")


def test_an_own_write_to_what_was_never_told_shows_the_same() -> None:
    driver = Driver(LISTS).watching(WEB, rv=100)
    other = deployment("web", 130, uid="other", desired=7)
    driver.write(other)
    assert driver.state.deadline > driver.now
    driver.apply(Event("MODIFIED", other))
    driver.time_up()
    assert driver.told.ends == ["missed"]


def test_an_own_write_to_what_is_told_afterwards_shows_nothing() -> None:
    driver = Driver(LISTS).watching(WEB, rv=100)
    other = deployment("web", 130, uid="other", desired=7)
    driver.write(other)
    driver.apply(
        Event("DELETED", deployment("web", 128)),
        Event("ADDED", deployment("web", 129, uid="other")),
        Event("MODIFIED", other),
        Event("MODIFIED", deployment("web", 131, uid="other", desired=7, ready=1)),
    )
    driver.time_up()
    assert driver.told.ends == ["silent"]


def test_a_deployment_found_in_the_cluster_that_ought_to_be_held_shows_the_same() -> None:
    driver = Driver(LISTS).watching(WEB, rv=100)
    found = deployment("unheard-of", 70)
    driver.state.looked_up(found, driver.state.before(found.ref), driver.now)
    driver.time_up()
    assert driver.told.ends == ["missed"]


def test_a_deployment_found_in_the_cluster_that_is_newer_than_all_that_was_seen_shows_nothing() -> None:
    driver = Driver(LISTS).watching(WEB, rv=100)
    found = deployment("new", 101)
    driver.state.looked_up(found, driver.state.before(found.ref), driver.now)
    driver.time_up()
    assert driver.told.ends == ["silent"]


def test_a_reset_forgets_everything_and_drops_what_is_on_its_way() -> None:
    """The address has changed: it is another cluster, and nothing of the old one may be shown."""
    driver = resumed()
    before = driver.state.before(WEB.ref)
    driver.state.reset()
    status = driver.state.status(driver.now)
    assert (status.synced, status.connected, status.resource_version, status.age_s) == (False, False, "", math.inf)
    assert status.trouble is Trouble.NOT_READ
    assert driver.held == {}
    assert sorted(driver.changes[-2:], key=str) == sorted(
        [(ChangeKind.DELETED, "late"), (ChangeKind.DELETED, "web")], key=str
    )
    assert not driver.streaming()
    assert driver.state.deadline == -math.inf, "the request under way is to be dropped"
    driver.apply(Event("MODIFIED", deployment("web", 101)), Bookmark("102"), TimeUp(), REFUSED)
    driver.write(written_over(WEB, "103", 7), before)
    assert driver.held == {}
    assert driver.next(ListPage).resource_version == "0"
    driver.apply(Page((deployment("web", 3),), "4"))
    assert driver.held == {"web": "3"}
    assert driver.synced()
