"""The chart's schedules on real nodes: a night of Deployments that are parked and come back, as real Pods do it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from .installation import POLICY, SHOP, Installation

GRANT: Final = """
[[grant]]
name = "nights"
users = ["night"]
verbs = ["read", "scale"]
namespaces = ["shop"]
labels = { tier = "night" }
replicas = { allow_zero = true }
"""
SCHEDULE: Final = {
    "timeZone": "Europe/Vienna",
    "selector": "tier=night",
    "parkId": "night",
    "clientSecret": "kdm-night",
}
VALUES: Final[dict[str, Any]] = {
    "parking": {"enabled": True},
    "policy": {"toml": POLICY + GRANT},
    "schedules": [
        {"name": "evening", "action": "park", "cron": "0 22 * * 1-5", **SCHEDULE},
        {"name": "morning", "action": "restore", "cron": "0 6 * * 1-5", **SCHEDULE},
    ],
    "networkPolicy": {"enabled": True},
}


@pytest.fixture
def scheduled(kdm: Installation) -> Iterator[Installation]:
    kdm.issue("night")
    kdm.release.upgrade(**VALUES)
    yield kdm
    kdm.release.upgrade()
    kdm.kubectl("delete", "jobs", "--all")


def run(kdm: Installation, schedule: str) -> str:
    """Run a schedule's Job now, as its hour does. Returns what it printed."""
    kdm.kubectl("create", "job", schedule, f"--from=cronjob/kdm-{schedule}")
    kdm.kubectl("wait", "--for=condition=complete", f"job/{schedule}", "--timeout=60s")
    return kdm.kubectl("logs", f"job/{schedule}")


def desired(kdm: Installation, name: str) -> str:
    return kdm.cluster.kubectl("get", f"deployment/{name}", f"--namespace={SHOP}", "--output=jsonpath={.spec.replicas}")


def test_a_night_parks_and_restores_but_leaves_alone_what_somebody_scaled_meanwhile(scheduled: Installation) -> None:
    kdm = scheduled
    for name in ("sleeps", "wakes", "works"):
        kdm.deploy(name, scheduled=False)
    for name in ("sleeps", "wakes"):
        kdm.cluster.kubectl("label", f"deployment/{name}", "tier=night", f"--namespace={SHOP}")
        kdm.cluster.kubectl("scale", f"deployment/{name}", "--replicas=2", f"--namespace={SHOP}")

    evening = run(kdm, "evening")

    assert (desired(kdm, "sleeps"), desired(kdm, "wakes"), desired(kdm, "works")) == ("0", "0", "1")
    assert evening.splitlines()[:2] == ["shop/sleeps: 2 -> 0", "shop/wakes: 2 -> 0"]
    assert "works" not in evening
    kdm.cluster.kubectl("scale", "deployment/wakes", "--replicas=5", f"--namespace={SHOP}")
    kdm.release.upgrade(**VALUES, podAnnotations={"upgraded": "tonight"})

    morning = run(kdm, "morning")

    assert (desired(kdm, "sleeps"), desired(kdm, "wakes"), desired(kdm, "works")) == ("2", "5", "1")
    left = "shop/wakes: stays at 5: somebody scaled it since it was parked with 2: it is left alone"
    assert morning.splitlines()[:2] == ["shop/sleeps: 0 -> 2", left]
