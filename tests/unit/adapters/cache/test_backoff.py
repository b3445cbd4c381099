"""How long the watch state waits between attempts: client-go's exponential backoff, on a clock that tests move."""

from __future__ import annotations

from random import Random

import pytest

from kdm_adapters.cache.backoff import Backoff
from kdm_adapters.kubernetes.watch.actions import Opened, WatchFrom, WatchList
from kdm_adapters.kubernetes.wire.messages import Event
from unit.adapters.kubernetes.objects import deployment
from unit.adapters.kubernetes.watch.state_machine_driver import LISTS, REFUSED, Driver


def refused(driver: Driver, times: int) -> list[float]:
    waits_s = []
    for _ in range(times):
        driver.next(WatchFrom)
        driver.apply(REFUSED)
        waits_s.append(driver.wait_out())
    return waits_s


def test_five_refusals_wait_in_doubling_jittered_windows() -> None:
    driver = Driver(LISTS).listed(rv=2)
    for i, wait_s in enumerate(refused(driver, 5)):
        assert 0.8 * 2**i <= wait_s < 2 * 0.8 * 2**i


def test_forty_refusals_flatten_at_the_cap() -> None:
    driver = Driver(LISTS).listed(rv=2)
    waits_s = refused(driver, 40)[6:]
    assert min(waits_s) >= 30
    assert max(waits_s) < 60
    assert max(waits_s) - min(waits_s) > 10, "without jitter all clients come back at once"


def test_after_two_quiet_minutes_it_begins_anew() -> None:
    driver = Driver(LISTS).listed(rv=2)
    refused(driver, 8)
    driver.next(WatchFrom)
    driver.apply(Opened())
    driver.ended_in_order(after_s=121)
    assert refused(driver, 1)[0] < 1.6


def test_a_watch_that_served_for_ten_seconds_makes_it_begin_anew() -> None:
    """A cut every 20 s costs a second each time, not up to a minute as where two quiet minutes have to pass before."""
    driver = Driver(LISTS).listed(rv=2)
    for _ in range(10):
        assert refused(driver, 1)[0] < 1.6
        assert refused(driver, 1)[0] < 3.2
        driver.next(WatchFrom)
        driver.apply(Opened())
        driver.ended_in_order(after_s=10)


def test_a_watch_list_counts_from_the_end_of_its_state() -> None:
    """To read the whole state for ten seconds and to be cut off then is no success."""
    driver = Driver()
    waits_s = []
    for _ in range(6):
        driver.next(WatchList)
        driver.apply(Opened())
        driver.pass_time(9)
        driver.apply(Event("ADDED", deployment("web", 3)))
        driver.pass_time(9)
        driver.apply(REFUSED)
        waits_s.append(driver.wait_out())
    assert waits_s[-1] >= 0.8 * 2**5
    driver.watching(rv=3)
    driver.ended_in_order(after_s=10)
    assert refused(driver, 1)[0] < 1.6


def test_one_success_does_not_reset_it() -> None:
    """A server that accepts and fails in turn is not to be hammered."""
    driver = Driver(LISTS).listed(rv=2)
    refused(driver, 5)
    driver.next(WatchFrom)
    driver.apply(Opened())
    driver.ended_in_order(after_s=2)
    assert refused(driver, 1)[0] >= 0.8 * 2**5


@pytest.mark.parametrize("seed", range(5))
def test_the_jitter_is_up_to_once_the_delay(seed: int) -> None:
    backoff = Backoff(rng=Random(seed))  # noqa: S311
    assert 0.8 <= backoff.next_delay_s(0.0) < 1.6
    assert 1.6 <= backoff.next_delay_s(1.0) < 3.2
