"""The dashboard shows something in every panel when kdm is in use, and every alert can be evaluated then."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import pytest

from integration.controlplane.cluster import ControlPlane
from integration.kdm_process import wait_until

from . import dashboard
from .scene import Scene

pytestmark = pytest.mark.nightly  # Prometheus takes minutes to build

VARIABLES: Final = {"namespace": "production", "pod": ".*", "__rate_interval": "10s", "__range": "30s"}
DEADLINE_S: Final = 90.0


@pytest.fixture(scope="module")
def scene(_own_control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with (
        _own_control_plane.fresh_namespace() as namespace,
        Scene(_own_control_plane, namespace, tmp_path_factory.mktemp("operate")) as scene,
    ):
        scene.cut_the_watches()
        wait_until(lambda: len(scene.prometheus.query("kdm_build_info")) == 2, DEADLINE_S)  # both are scraped
        yield scene


def test_every_panel_shows_data_under_load(scene: Scene) -> None:
    """Each expression is one that Prometheus accepts, of metrics that kdm tells, with labels that they have."""
    silent = {
        (panel.title, target.with_variables(VARIABLES)): target
        for panel in dashboard.panels()
        for target in panel.targets
    }
    assert len(silent) > 40

    def all_speak() -> bool:
        scene.check()
        for panel, expression in list(silent):
            values = scene.prometheus.query(expression)
            if values and not all(math.isnan(value) for _, value in values):
                del silent[panel, expression]
        return not silent

    try:
        wait_until(all_speak, DEADLINE_S)
    except TimeoutError:
        pytest.fail(f"no data for {sorted(silent)}")


def test_series_of_a_panel_are_told_apart(scene: Scene) -> None:
    """Every label that a legend names is there: no two lines of a panel have one name."""
    for panel in dashboard.panels():
        names = [
            target.name_of(labels)
            for target in panel.targets
            for labels, _ in scene.prometheus.query(target.with_variables(VARIABLES))
        ]
        assert len(names) == len(set(names)), f"{panel.title}: {names}"


def test_the_variables_offer_what_there_is(scene: Scene) -> None:
    variables: list[dict[str, Any]] = dashboard.read()["templating"]["list"]
    assert [each["name"] for each in variables] == ["datasource", "namespace", "pod"]
    offered = {
        frozenset((labels["namespace"], labels["pod"])) for labels, _ in scene.prometheus.query("kdm_build_info")
    }
    assert offered == {frozenset(("production", "kdm-0")), frozenset(("production", "kdm-1"))}


def test_every_alert_can_be_evaluated_and_none_fires_at_once(scene: Scene) -> None:
    wait_until(lambda: all(rule["health"] == "ok" for rule in scene.prometheus.rules()), DEADLINE_S)
    rules = scene.prometheus.rules()
    assert rules
    assert [rule["lastError"] for rule in rules if rule.get("lastError")] == []
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
