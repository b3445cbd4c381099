"""Alerts, runbooks, dashboard and metrics speak of the same things. A real Prometheus judges what they evaluate to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client import parser

from kdm_cli.container import Container
from kdm_cli.settings import Settings

REPOSITORY: Final = Path(__file__).parents[3]
CHART: Final = REPOSITORY / "deploy" / "helm" / "kdm"
RUNBOOKS: Final = REPOSITORY / "docs" / "runbooks.md"
METRICS: Final = REPOSITORY / "docs" / "metrics.md"
DASHBOARD: Final[dict[str, Any]] = json.loads((CHART / "dashboards" / "kdm.json").read_text())
RULES: Final[list[dict[str, Any]]] = [
    rule for group in yaml.safe_load((CHART / "alerts" / "kdm.yaml").read_text())["groups"] for rule in group["rules"]
]
PROMETHEUS_OWN: Final = {"up"}

every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])


def scraped() -> set[str]:
    """Return the name of every sample that kdm can tell, from what it tells when nothing has happened yet."""
    container = Container(settings=Settings(dev=True, audit_file="-"))
    container.traffic()
    container.api()
    body, _ = container.metrics()("")
    names = set()
    for family in parser.text_string_to_metric_families(body.decode()):
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}
        names |= {family.name + suffix for suffix in suffixes.get(family.type, ("",))}
        names |= {sample.name for sample in family.samples}
    return names


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in RULES)
    yield from (target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ()))
    yield from (variable.get("definition", "") for variable in DASHBOARD["templating"]["list"])


def test_every_metric_that_is_asked_for_is_told() -> None:
    asked = {name for each in expressions() for name in re.findall(r"\b(?:kdm|process|python)_\w+|\bup\b", each)}
    assert len(asked) > 30
    assert asked - PROMETHEUS_OWN - scraped() == set()


def test_every_metric_of_kdm_is_asked_for() -> None:
    """By the dashboard or an alert: what nobody looks at need not be told."""
    asked = " ".join(expressions())
    stems = {re.sub(r"_(bucket|sum|count)$", "", name) for name in scraped() if name.startswith("kdm_")}
    assert {name for name in stems if name not in asked} <= {"kdm_cache_resource_version"}, "that one is for KEP-5504"


def test_every_metric_is_documented() -> None:
    """The table of docs/metrics.md is made of a registry, which must be that of a kdm with everything switched on."""
    table = set(re.findall(r"^\| `(\w+)`", METRICS.read_text(), re.MULTILINE))
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in scraped()} - table == set()


def test_no_metric_tells_its_beginning_as_a_series_of_its_own() -> None:
    assert not [name for name in scraped() if name.endswith("_created")]


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    entries = re.findall(r"^## (Kdm\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    assert entries == [rule["alert"] for rule in RULES]


@every_rule
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"] == {"severity": rule["labels"]["severity"]}
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    notes = rule["annotations"]
    assert notes.keys() == {"summary", "description", "runbook_url"}
    assert notes["runbook_url"] == f"docs/runbooks.md#{rule['alert'].lower()}"
    assert notes["summary"].endswith(".")
    assert "{{" not in notes["summary"], "alerts of one kind share it"


@every_rule
def test_a_runbook_says_what_it_means_how_to_see_it_and_what_to_do(rule: dict[str, Any]) -> None:
    entry = re.search(rf"^## {rule['alert']}\n(.*?)(?=^## |\Z)", RUNBOOKS.read_text(), re.MULTILINE | re.DOTALL)
    assert entry
    assert re.findall(r"^\*\*(\w+)\.\*\*", entry[1], re.MULTILINE) == ["Means", "See", "Do"]


def test_the_dashboard_is_one_that_grafana_can_import() -> None:
    """Panels have ids of their own, a place on the grid that no other takes, and the data source that was chosen."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert "$namespace" in target["expr"]
            assert "$pod" in target["expr"]
    titles = [panel["title"] for panel in panels]
    assert len(set(titles)) == len(titles)
