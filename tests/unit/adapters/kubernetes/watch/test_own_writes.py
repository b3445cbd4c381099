"""Read-your-writes: what a write told stays visible until the watch has caught up, and no longer."""

from __future__ import annotations

import pytest

from kdm_adapters.cache.own_writes import written_over
from kdm_adapters.kubernetes.watch.actions import ListPage, Opened, WatchFrom, WatchList
from kdm_adapters.kubernetes.wire.messages import Bookmark, Event, Page
from kdm_core.versions import older
from unit.adapters.kubernetes.objects import deployment
from unit.adapters.kubernetes.watch.state_machine_driver import EXPIRED, LISTS, TOO_LARGE, Driver

WEB = deployment("web", 3, desired=2, generation=4)
WRITTEN = written_over(WEB, "10", 7)


def written(driver: Driver | None = None) -> Driver:
    driver = driver or Driver(LISTS)
    driver.watching(WEB, rv=5)
    driver.write(WRITTEN)
    return driver


def test_a_write_is_visible_at_once_and_does_not_claim_to_be_rolled_out() -> None:
    found = written().store.get("shop", "web")
    assert found is not None
    assert found.replicas.desired == 7
    assert found.resource_version == "10"
    assert found.generation > found.observed_generation


def test_setting_the_same_count_changes_nothing_but_the_version() -> None:
    assert written_over(WEB, "3", 2) == WEB


def test_events_still_in_flight_do_not_take_it_back() -> None:
    driver = written()
    driver.apply(Event("MODIFIED", deployment("web", 9, desired=2)), Event("DELETED", deployment("web", 8, uid="past")))
    assert driver.held == {"web": "10"}
    assert driver.state.resource_version == "9"


@pytest.mark.parametrize("version", [10, 11])
def test_an_event_at_least_as_new_replaces_it(version: int) -> None:
    driver = written()
    told = deployment("web", version, desired=7, ready=5, generation=5)
    driver.apply(Event("MODIFIED", told))
    assert driver.store.get("shop", "web") == told
    driver.apply(Event("DELETED", deployment("web", 12)))
    assert driver.held == {}


def test_versions_are_compared_as_numbers() -> None:
    driver = Driver(LISTS).watching(deployment("web", 99), rv=99)
    driver.write(written_over(deployment("web", 99), "100", 7))
    assert driver.held == {"web": "100"}
    assert older("99", "100")
    assert not older("100", "99")
    assert not older("10", "10")


def test_an_older_list_does_not_take_it_back() -> None:
    driver = written()
    driver.apply(Bookmark("6"), EXPIRED)
    driver.listed(WEB, rv=8)
    assert driver.held == {"web": "10"}


def test_an_older_watch_list_does_not_take_it_back() -> None:
    driver = written(Driver())
    driver.apply(Bookmark("6"), EXPIRED)
    driver.next(WatchList)
    driver.apply(Opened(), Event("ADDED", WEB), Bookmark("8", True))
    assert driver.held == {"web": "10"}


def test_a_newer_list_replaces_it() -> None:
    driver = written()
    driver.apply(Bookmark("6"), EXPIRED)
    driver.listed(rv=20)
    assert driver.held == {}


def test_a_write_during_the_list_is_kept() -> None:
    driver = Driver(LISTS).watching(WEB, rv=5)
    driver.apply(Bookmark("6"), EXPIRED)
    driver.next(ListPage)
    driver.write(WRITTEN)
    driver.apply(Page((WEB,), "8"))
    assert driver.held == {"web": "10"}


def test_a_write_before_the_first_list_is_kept() -> None:
    driver = Driver(LISTS)
    driver.next(ListPage)
    driver.write(WRITTEN)
    driver.apply(Page((WEB,), "8"))
    assert driver.held == {"web": "10"}


def test_a_deletion_the_watch_already_told_is_not_undone() -> None:
    """The write's answer may come late: after it, the Deployment was deleted, and the watch state knows."""
    driver = Driver(LISTS).watching(WEB, rv=5)
    before = driver.state.before(WEB.ref)
    driver.apply(Event("DELETED", deployment("web", 11)))
    driver.write(WRITTEN, before)
    assert driver.held == {}


def test_a_newer_event_that_overtook_the_answer_stays() -> None:
    driver = Driver(LISTS).watching(WEB, rv=5)
    before = driver.state.before(WEB.ref)
    driver.apply(Event("MODIFIED", deployment("web", 12, desired=1)))
    driver.write(WRITTEN, before)
    assert driver.held == {"web": "12"}


def test_a_deployment_created_anew_and_scaled_is_visible() -> None:
    driver = Driver(LISTS).watching(deployment("web", 3, uid="old"), rv=5)
    driver.write(deployment("web", 10, uid="new", desired=7))
    driver.apply(Event("DELETED", deployment("web", 8, uid="old")), Event("ADDED", deployment("web", 9, uid="new")))
    assert driver.held == {"web": "10"}


def test_a_cluster_restored_from_a_backup_leaves_nothing_behind() -> None:
    """Its versions begin anew below the writes': a list of the newest state asked for after a write settles it."""
    driver = written()
    driver.apply(Bookmark("11"), EXPIRED)
    driver.next(ListPage)
    driver.apply(TOO_LARGE)
    assert driver.next(ListPage).resource_version == ""
    driver.apply(Page((deployment("web", 2),), "4"))
    assert driver.held == {"web": "2"}
    driver.next(WatchFrom)
    driver.apply(Opened(), Event("MODIFIED", deployment("web", 5)))
    assert driver.held == {"web": "5"}


def test_versions_that_are_no_numbers_cannot_freeze_a_deployment() -> None:
    driver = Driver(LISTS).watching(deployment("web", "zz"), rv="zz")
    driver.apply(Event("MODIFIED", deployment("web", "aa", desired=3)))
    assert driver.held == {"web": "aa"}


def test_a_second_write_during_a_list_of_the_newest_state_is_kept() -> None:
    """Such a list settles the writes made before it was asked for, not those of the same Deployment made since."""
    driver = written()
    driver.apply(Bookmark("6"), EXPIRED)
    driver.next(ListPage)
    driver.apply(EXPIRED)
    assert driver.next(ListPage).resource_version == ""
    driver.write(written_over(WRITTEN, "12", 8))
    driver.apply(Page((deployment("web", 10, desired=7),), "11"))
    assert driver.held == {"web": "12"}


def observed(driver: Driver) -> str:
    """Return the version of what the source itself has said; "" for nothing."""
    found = driver.state.published.observed("shop", "web")
    return "" if found is None else found.resource_version


def test_what_is_observed_lies_beneath_an_own_write_until_that_is_delivered() -> None:
    driver = written()
    assert (observed(driver), driver.held) == (WEB.resource_version, {"web": "10"})
    driver.write(written_over(WRITTEN, "11", 8))
    driver.apply(Event("MODIFIED", deployment("web", 9, desired=2)))
    assert (observed(driver), driver.held) == ("9", {"web": "11"})
    driver.apply(Event("MODIFIED", deployment("web", 11, desired=8)))
    assert (observed(driver), driver.held) == ("11", {"web": "11"})


def test_a_list_in_between_is_observed_beneath_an_own_write() -> None:
    driver = written()
    driver.apply(Bookmark("6"), EXPIRED)
    driver.listed(deployment("web", 7, desired=2), rv=8)
    assert (observed(driver), driver.held) == ("7", {"web": "10"})


def test_a_deletion_in_between_is_observed_as_one() -> None:
    driver = written()
    driver.apply(Event("DELETED", deployment("web", 8, uid="past")))
    assert (observed(driver), driver.held) == ("", {"web": "10"})


def test_who_follows_is_called_for_a_delivery_that_changes_nothing_shown() -> None:
    driver = written()
    calls: list[str] = []
    driver.store.on_observed = lambda ref: calls.append(ref.name)
    driver.apply(Event("MODIFIED", WRITTEN))
    assert calls == ["web"]
    driver.apply(Event("MODIFIED", WRITTEN))
    assert calls == ["web"]
