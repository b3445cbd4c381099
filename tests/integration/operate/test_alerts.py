"""The alert rules fire when they should and only then, by Prometheus' own judgement."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
import yaml

from .prometheus import promtool
from .scene import ALERTS

TESTS: Final = Path(__file__).parent / "alerts_test.yaml"

by_prometheus = pytest.mark.nightly  # its code takes minutes to build


@by_prometheus
def test_prometheus_accepts_the_rules() -> None:
    done = promtool("check", "rules", "--lint-fatal", ALERTS)
    assert done.returncode == 0, done.stdout + done.stderr


@by_prometheus
def test_each_rule_fires_when_it_should_and_not_otherwise() -> None:
    done = promtool("test", "rules", TESTS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_rule_is_left_without_a_scenario_in_which_it_fires() -> None:
    rules = yaml.safe_load(ALERTS.read_text())
    names = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    fired = re.findall(r"""labels: '{alertname="(\w+)"|^ +alertname: (\w+)""", TESTS.read_text(), re.MULTILINE)
    assert {name for pair in fired for name in pair if name} == names
