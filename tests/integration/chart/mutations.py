"""The chart with one value changed: every value, and what it is changed to."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import yaml

from .helm import CHART, Helm, HelmFailed

__all__ = [
    "DEFAULTS",
    "EVERYTHING",
    "Change",
    "Outcome",
    "default",
    "outcomes",
    "paths",
    "refused_by_the_schema",
    "together",
]

DEFAULTS: Final[dict[str, Any]] = yaml.safe_load((CHART / "values.yaml").read_text())

EVERYTHING: Final[dict[str, Any]] = {
    "namespaces": ["shop"],
    "tls": {
        "certManager": {"enabled": True, "issuerRef": {"name": "ca"}},
        "clientCa": {"fromServerSecret": True},
        "crl": {"existingConfigMap": "crl"},
    },
    "policy": {"toml": "version = 1"},
    "service": {"type": "LoadBalancer"},
    "metrics": {
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "dashboards": {"enabled": True},
    },
    "autoscaling": {"enabled": True},
    "tests": {"clientSecret": "client"},
    "owners": {"enabled": True},
    "events": {"enabled": True},
    "parking": {"enabled": True},
    "schedules": [
        {"name": "evening", "action": "park", "cron": "@daily", "namespace": "shop", "parkId": "a", "clientSecret": "b"}
    ],
}
"""Values with which every template renders something, so that every value has a meaning."""

Path = tuple[str, ...]


class Change(NamedTuple):
    """A value of the chart, by its path, and what to make it."""

    path: Path
    value: Any

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}={self.value!r}"

    def applied(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values with this change."""
        changed: dict[str, Any] = copy.deepcopy(dict(values))
        at = changed
        for key in self.path[:-1]:
            at = at.setdefault(key, {})
        at[self.path[-1]] = self.value
        return changed

    def undone(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values without this one."""
        changed: dict[str, Any] = copy.deepcopy(dict(values))
        at = changed
        for key in self.path[:-1]:
            at = at.get(key, {})
        at.pop(self.path[-1], None)
        return changed


class Outcome(NamedTuple):
    """What came of a change: manifests, or else helm's refusal."""

    manifests: str
    refusal: str


def paths(values: Mapping[str, Any] = DEFAULTS, above: Path = ()) -> Iterator[Path]:
    """Name every value, and every map of values."""
    for key, value in values.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from paths(value, (*above, key))


def outcomes(helm: Helm, every: Iterable[Mapping[str, Any]]) -> list[Outcome]:
    """Render the chart with each of many values, as many at a time as there are processors."""

    def render(values: Mapping[str, Any]) -> Outcome:
        try:
            return Outcome(helm.template(values), "")
        except HelmFailed as exc:
            return Outcome("", str(exc))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(render, every))


class Settling:
    """Renders many changes at once, as far as the chart takes them together, and each that it refuses alone."""

    def __init__(self, helm: Helm) -> None:
        self._helm = helm
        self._refused: set[Path] = set()  # these had better be tried alone from now on

    def outcomes(self, changes: Sequence[Change]) -> list[tuple[tuple[Change, ...], Outcome]]:
        """Return each group that was rendered, and each single change that was refused."""
        done: list[tuple[tuple[Change, ...], Outcome]] = []
        groups: list[tuple[Change, ...]] = [(each,) for each in changes if each.path in self._refused]
        groups += [tuple(each for each in changes if each.path not in self._refused)]
        while groups := [group for group in groups if group]:
            tried = list(zip(groups, outcomes(self._helm, map(together, groups)), strict=True))
            done += [(group, outcome) for group, outcome in tried if len(group) == 1 or not outcome.refusal]
            refused = [group for group, outcome in tried if outcome.refusal]
            self._refused |= {group[0].path for group in refused if len(group) == 1}
            halves = [(group[: len(group) // 2], group[len(group) // 2 :]) for group in refused if len(group) > 1]
            groups = [half for pair in halves for half in pair]
        return done


def together(changes: Iterable[Change]) -> dict[str, Any]:
    """Return `EVERYTHING` with all of these changes."""
    values = EVERYTHING
    for change in changes:
        values = change.applied(values)
    return values


def refused_by_the_schema(helm: Helm, value: Any) -> set[Path]:
    """Return which values cannot be this: helm names all at once, so that one run is enough."""
    (outcome,) = outcomes(helm, [together(Change(path, value) for path in LEAVES)])
    refused = set()
    for place, why in re.findall(r"^ *- at '([^']*)': (.*)", outcome.refusal, re.MULTILINE):
        path = tuple(place.split("/")[1:])
        missing = re.findall(r"'([^']+)'", why) if why.startswith("missing propert") else []
        refused |= {(*path, name) for name in missing} or {path[: i + 1] for i in range(len(path))}
    return refused & set(LEAVES)


def default(path: Path) -> Any:
    """Return a value's default."""
    at: Any = DEFAULTS
    for key in path:
        at = at[key]
    return at


LEAVES: Final = tuple(path for path in paths() if not (isinstance(default(path), dict) and default(path)))
"""Every value that is no map of values."""
