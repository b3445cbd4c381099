"""Releases of kdm follow one another while clients ask on, and no client notices."""

from __future__ import annotations

from collections.abc import Callable

from .installation import Installation


def test_no_request_is_lost_over_an_upgrade_and_a_rollback(kdm: Installation, tell: Callable[[str], None]) -> None:
    """From before the first Pod is replaced until the last old one is gone, each request is answered right."""
    before = kdm.serving()
    with kdm.load() as load:
        load.wait_for_requests(200)
        kdm.release.upgrade(podAnnotations={"kdm.test/release": "next"})
        kdm.wait_settled()
        upgraded = kdm.serving()
        kdm.release.rollback()
        kdm.wait_settled()
        rolled_back = kdm.serving()
        load.wait_for_requests(200)
    tell(load.summary())
    assert not before.keys() & upgraded.keys()
    assert not upgraded.keys() & rolled_back.keys()
    assert load.failures() == []


def test_no_request_is_lost_when_a_pod_is_deleted(kdm: Installation, tell: Callable[[str], None]) -> None:
    """An eviction, as of a node that is drained, is such a deletion too."""
    gone = next(iter(kdm.serving()))
    with kdm.load() as load:
        load.wait_for_requests(200)
        kdm.replace(gone)
        load.wait_for_requests(200)
    tell(load.summary())
    assert load.failures() == []
