"""The table of rules is what the watch state does: each row is reached here, and followed by what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from kdm_adapters.kubernetes.watch.actions import Ended, ListPage, Opened, Wait, WatchFrom, WatchList
from kdm_adapters.kubernetes.watch.rules import RULES, Phase, Rule, Situation, Then, rule_for
from kdm_adapters.kubernetes.wire.messages import Bookmark, Event, Page, Undecodable
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

WEB: Final = deployment("web", 9)
S, WATCH_LIST, LIST, WATCH = Situation, Phase.WATCH_LIST, Phase.LIST, Phase.WATCH


def watch() -> Driver:
    return Driver(LISTS).watching(WEB, rv=10)


def resumed() -> Driver:
    driver = watch()
    driver.ended_in_order()
    driver.next(WatchFrom)
    return driver


def listing() -> Driver:
    driver = Driver(LISTS)
    driver.next(ListPage)
    return driver


def relisting() -> Driver:
    driver = watch()
    driver.apply(Bookmark("11"), EXPIRED)
    driver.next(ListPage)
    return driver


def watch_listing() -> Driver:
    driver = Driver()
    driver.next(WatchList)
    return driver


def watch_listing_again() -> Driver:
    driver = Driver().watching(WEB, rv=10)
    driver.apply(Bookmark("11"), EXPIRED)
    driver.next(WatchList)
    return driver


def reset(driver: Driver) -> None:
    driver.state.reset()


def on_the_second_page(driver: Driver) -> None:
    driver.apply(Page((), "5", "token"))
    driver.next(ListPage)
    driver.apply(EXPIRED)


def without_the_bookmark(driver: Driver) -> None:
    driver.apply(Opened())
    driver.time_up()


def silent_twice(driver: Driver) -> None:
    driver.time_up()
    driver.wait_out_if_asked()
    driver.state.next_action(driver.now)
    driver.time_up()


def broken_later(driver: Driver) -> None:
    driver.pass_time(5)
    driver.apply(Ended("connection reset by peer"))


def relist_due(driver: Driver) -> None:
    driver.apply(Undecodable("no Deployment"))
    driver.time_up()


def written_in_the_past(driver: Driver) -> None:
    driver.write(deployment("web", 5))


def looked_up_in_the_past(driver: Driver) -> None:
    found = deployment("api", 5)
    driver.state.looked_up(found, driver.state.before(found.ref), driver.now)


def applying(*messages: Opened | Bookmark | Event | Undecodable | Ended | Page) -> Callable[[Driver], None]:
    return lambda driver: driver.apply(*messages)


SOME_EVENT: Final = Event("MODIFIED", deployment("web", 12))
SCENARIOS: Final[dict[tuple[Phase, Situation], tuple[Callable[[], Driver], Callable[[Driver], object]]]] = {
    (WATCH_LIST, S.START): (watch_listing_again, reset),
    (LIST, S.START): (relisting, reset),
    (WATCH, S.START): (watch, reset),
    (LIST, S.PAGE_READ): (listing, applying(Page((), "5", "token"))),
    (LIST, S.STATE_READ): (listing, applying(Page((), "5"))),
    (WATCH_LIST, S.STATE_READ): (watch_listing, applying(Opened(), Bookmark("5", True))),
    (WATCH_LIST, S.STATE_OLDER): (watch_listing_again, applying(Opened(), Bookmark("3", True))),
    (LIST, S.STATE_OLDER): (relisting, applying(Page((), "3"))),
    (LIST, S.PAGE_EXPIRED): (listing, on_the_second_page),
    (WATCH_LIST, S.VERSION_UNAVAILABLE): (watch_listing_again, lambda driver: driver.apply(TOO_LARGE)),
    (LIST, S.VERSION_UNAVAILABLE): (relisting, lambda driver: driver.apply(EXPIRED)),
    (WATCH_LIST, S.UNREACHED): (watch_listing, lambda driver: driver.apply(REFUSED)),
    (WATCH_LIST, S.THROTTLED): (watch_listing, lambda driver: driver.apply(THROTTLED)),
    (WATCH_LIST, S.FAILED): (watch_listing, lambda driver: driver.apply(INTERNAL)),
    (WATCH_LIST, S.BOOKMARK_MISSING): (watch_listing, without_the_bookmark),
    (WATCH_LIST, S.SILENT): (watch_listing, Driver.time_up),
    (WATCH_LIST, S.UNANSWERED): (watch_listing, silent_twice),
    (LIST, S.UNREACHED): (listing, lambda driver: driver.apply(REFUSED)),
    (LIST, S.THROTTLED): (listing, lambda driver: driver.apply(THROTTLED)),
    (LIST, S.FAILED): (listing, lambda driver: driver.apply(INTERNAL)),
    (LIST, S.SILENT): (listing, Driver.time_up),
    (WATCH, S.ENDED): (watch, Driver.ended_in_order),
    (WATCH, S.ENDED_EARLY): (watch, applying(SOME_EVENT, Ended())),
    (WATCH, S.BROKEN): (watch, broken_later),
    (WATCH, S.BROKEN_EARLY): (watch, applying(SOME_EVENT, Ended("connection reset by peer"))),
    (WATCH, S.ENDED_AT_ONCE): (watch, applying(Ended())),
    (WATCH, S.UNREACHED): (resumed, lambda driver: driver.apply(REFUSED)),
    (WATCH, S.THROTTLED): (resumed, lambda driver: driver.apply(THROTTLED)),
    (WATCH, S.EXPIRED): (watch, lambda driver: driver.apply(Bookmark("11"), EXPIRED)),
    (WATCH, S.EXPIRED_AGAIN): (watch, lambda driver: driver.apply(EXPIRED)),
    (WATCH, S.FAILED): (watch, lambda driver: driver.apply(INTERNAL)),
    (WATCH, S.SILENT): (watch, Driver.time_up),
    (WATCH, S.UNANSWERED): (resumed, silent_twice),
    (WATCH, S.RELIST_DUE): (watch, relist_due),
    (WATCH_LIST, S.WENT_BACK): (watch_listing_again, written_in_the_past),
    (LIST, S.WENT_BACK): (relisting, written_in_the_past),
    (WATCH, S.WENT_BACK): (watch, applying(Bookmark("8"))),
    (WATCH_LIST, S.MISSED): (watch_listing_again, looked_up_in_the_past),
    (LIST, S.MISSED): (relisting, looked_up_in_the_past),
    (WATCH, S.MISSED): (watch, applying(Event("MODIFIED", deployment("api", 12)))),
    (WATCH, S.UNDECODABLE): (watch, applying(Undecodable("no Deployment"))),
}
"""How to come to each row: what the driver begins with, and what happens then."""

ROWS: Final = [(phase, rule) for rule in RULES for phase in rule.phases]
ACTIONS: Final = {WATCH_LIST: WatchList, LIST: ListPage, WATCH: WatchFrom}


def test_no_two_rows_are_about_the_same() -> None:
    keys = [(phase, rule.situation) for phase, rule in ROWS]
    assert len(set(keys)) == len(keys)


def test_there_is_a_scenario_for_every_row() -> None:
    assert {(phase, rule.situation) for phase, rule in ROWS} == SCENARIOS.keys()


@pytest.mark.parametrize(
    ("phase", "rule"), ROWS, ids=[f"{phase.value}-{rule.situation.name.lower()}" for phase, rule in ROWS]
)
def test_every_row_is_reached_and_followed(phase: Phase, rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[tuple[Phase, Situation]] = []

    def noting(phase: Phase, situation: Situation) -> Rule:
        reached.append((phase, situation))
        return rule_for(phase, situation)

    monkeypatch.setattr("kdm_adapters.kubernetes.watch.plan.rule_for", noting)
    begin, happen = SCENARIOS[phase, rule.situation]
    driver = begin()
    reached.clear()
    happen(driver)
    assert reached[-1] == (phase, rule.situation)
    if driver.streaming():
        assert rule.then in {Then.FOLLOW, Then.RELIST_SOON, Then.RELIST_AT_ONCE}
        if phase is WATCH:
            driver.time_up()
            assert driver.told.ends[-1] == rule.reason
        return
    if phase is WATCH and rule.situation is not S.START:
        assert driver.told.ends[-1] == rule.reason or rule.situation is S.RELIST_DUE
    assert isinstance(driver.state.next_action(driver.now), Wait) == rule.backoff
    driver.wait_out_if_asked()
    action = driver.state.next_action(driver.now)
    assert isinstance(action, expected(phase, rule.then)), action
    if isinstance(action, ListPage):
        assert bool(action.continue_token) == (rule.then is Then.NEXT_PAGE)
        assert (action.limit == 0) == (rule.then is Then.FULL_LIST or action.resource_version not in {"", "0"})
    if rule.newest:
        assert isinstance(action, ListPage | WatchList)
        assert action.resource_version == ""


def expected(
    phase: Phase, then: Then
) -> type[WatchList | ListPage | WatchFrom] | tuple[type[WatchList], type[ListPage]]:
    """Return what kind of request follows."""
    if then is Then.WATCH:
        return WatchFrom
    if then in {Then.LIST, Then.NEXT_PAGE, Then.FULL_LIST}:
        return ListPage
    return ACTIONS[phase] if then is Then.AGAIN else (WatchList, ListPage)


def test_silent_lists_do_not_count_as_silent_watches() -> None:
    """A server without watch-lists that is silent for a while: the next read begins with a watch-list again."""
    driver = watch_listing()
    for _ in range(3):
        driver.apply(INTERNAL)
        driver.next(ListPage)
        driver.time_up()
        driver.wait_out()
        driver.next(WatchList)
