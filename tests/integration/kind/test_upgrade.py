"""Releases of kdm follow one another while clients ask on, and no client notices."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from integration.chart.helm import HelmFailed

from .installation import Installation


def test_no_request_is_lost_over_an_upgrade_and_a_rollback(kdm: Installation, tell: Callable[[str], None]) -> None:
    """From before the first Pod is replaced until the last old one is gone, each request is answered right.

    Each time the Pods are on different nodes, although those have no zones.
    """
    before = kdm.serving()
    with kdm.load() as load:
        load.wait_for_requests(200)
        kdm.release.upgrade(podAnnotations={"kdm.test/release": "next"})
        kdm.wait_settled()
        upgraded = kdm.serving()
        assert len(kdm.nodes()) == 2
        kdm.release.rollback()
        kdm.wait_settled()
        rolled_back = kdm.serving()
        assert len(kdm.nodes()) == 2
        load.wait_for_requests(200)
    tell(load.summary())
    assert not before.keys() & upgraded.keys()
    assert not upgraded.keys() & rolled_back.keys()
    assert load.failures() == []


@pytest.mark.nightly
def test_no_request_is_lost_over_an_upgrade_that_fails_and_its_rollback(
    kdm: Installation, tell: Callable[[str], None]
) -> None:
    """The old Pods serve until new ones do, which in this release never happens: there is no such image."""
    before = kdm.serving()
    missing = {**kdm.release.values["image"], "tag": "missing", "pullPolicy": "Never"}
    with kdm.load() as load:
        load.wait_for_requests(200)
        with pytest.raises(HelmFailed, match="deadline exceeded"):
            kdm.release.upgrade("--timeout=10s", image=missing)
        assert kdm.serving() == before
        kdm.release.rollback()
        kdm.wait_settled()
        load.wait_for_every_client()
    tell(load.summary())
    assert kdm.serving() == before
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
