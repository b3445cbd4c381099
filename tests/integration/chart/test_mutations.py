"""Every value made null, empty or of another type: the chart means what it says, or refuses with a sentence.

Never does it render a rule that is wider than the one that was meant, a key twice, or what Kubernetes would refuse
when half of the release has been made.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from integration.controlplane.access import Cluster

from .helm import VERSIONS, Helm, Object, by_name
from .mutations import (
    EVERYTHING,
    LEAVES,
    Change,
    Outcome,
    Settling,
    default,
    outcomes,
    paths,
    refused_by_the_schema,
)

NULL_HAS_A_MEANING: Final = (("resources",), ("runAsUser",), ("metrics", "dashboards", "labels"))
"""Where null is another thing than the default: none of it."""

ODD: Final[tuple[Any, ...]] = (
    "", [], {}, True, False, 0, -1, 7, 1.5, 1e300, 10**6, 2**31, "nonsense!", "a", "123", "1e3", "true", "null", "0x1F",
    "yes", "a: b", "x # y", "{}", "-", [""], ["a"], [7], [None], [{}], [[]], [{"name": "a"}], {"a": "b"}, {"a": None},
    {"a": 7}, {"a": []}, {"": "x"}, {"a b": "c"}, [{"podSelector": None}], [{"ports": []}],
    [{"ipBlock": {"cidr": "0.0.0.0/33"}}],
    [{"to": []}], [{"to": None}], [{"ports": None}], [{"ports": [{}]}], [{"ports": [{"port": None}]}], [{"from": []}],
    [{"to": [{}], "ports": [{"port": 53}]}], [{"namespaceSelector": {}, "podSelector": None}],
    [{"podSelector": {"matchLabels": None}}], [{"podSelector": {"matchlabels": {"a": "b"}}}],
    [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": []}]}}],
    [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}], [{"name": "tls", "emptyDir": {}}],
    [{"name": "kdm", "image": "x"}], [{"name": "a", "mountPath": "/etc/kdm/tls"}],
)  # fmt: skip


class Rendered:
    """What was rendered by any test here, each object once."""

    def __init__(self) -> None:
        self.objects: dict[str, str] = {}
        self.tried = 0

    def add(self, changes: tuple[Change, ...], outcome: Outcome) -> None:
        """Keep what changes rendered, as it is written, or make sure that one was refused as it should be."""
        self.tried += len(changes)
        if outcome.refusal:
            assert_refused_with_a_sentence(changes[-1], outcome.refusal)
            return
        objects = by_name(outcome.manifests)
        for rules in (each["spec"] for key, each in objects.items() if key.startswith("NetworkPolicy/")):
            assert_no_open_rule(changes, rules)
        for document in re.split(r"^---\n# Source: .*\n", outcome.manifests, flags=re.MULTILINE):
            self.objects.setdefault(document, ", ".join(map(str, changes)))


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    return Rendered()


def has_a_meaning(change: Change) -> bool:
    return any(change.path[: len(path)] == path for path in NULL_HAS_A_MEANING)


def assert_refused_with_a_sentence(change: Change, refusal: str) -> None:
    """By the schema, which says where, or by a sentence of the chart's; not by an accident of a template."""
    sentence = r"Error: execution error at \(kdm/templates/[^)]*\): (?P<text>[^\n]*)"
    if by_chart := re.search(sentence, refusal):
        assert len(by_chart["text"].split()) > 4, (str(change), refusal)
        assert not re.search(r"nil pointer|wrong type|error calling|<nil>|%!", by_chart["text"]), (str(change), refusal)
    else:
        assert "values don't meet the specifications" in refusal, (str(change), refusal)
        assert change.path[-1] in refusal, (str(change), refusal)


def assert_no_open_rule(changes: tuple[Change, ...], policy: Object) -> None:
    """Every rule names ports, and where it has peers it names some."""
    assert policy["policyTypes"] == ["Ingress", "Egress"], changes
    assert policy["podSelector"]["matchLabels"], changes
    for rule in (*policy.get("ingress", ()), *policy.get("egress", ())):
        assert rule["ports"], changes
        assert all(port["port"] for port in rule["ports"]), changes
        for peers in (rule[side] for side in ("from", "to") if side in rule):
            assert peers, changes
            assert all(peers), changes


def test_null_is_the_default_or_refused(helm: Helm, rendered: Rendered) -> None:
    """Helm deletes a value that is null: what is left must not mean less than the default does."""
    maps = [Change(path, None) for path in paths() if path not in LEAVES]
    for change, outcome in zip(maps, outcomes(helm, (each.applied(EVERYTHING) for each in maps)), strict=True):
        rendered.add((change,), outcome)
        assert outcome.refusal or has_a_meaning(change)
    refused = refused_by_the_schema(helm, None)
    rendered.tried += len(refused)
    accepted = {".".join(path) for path in LEAVES if path not in refused}
    assert {"podLabels", "extraEnv", "tls.existingSecret", "service.nodePort"} < accepted
    assert not [name for name in accepted if name.startswith(("settings", "networkPolicy", "namespaces", "rbac"))]

    changes = [Change(path, None) for path in LEAVES if path not in refused]
    plain = [each for each in changes if not has_a_meaning(each)]
    for group, outcome in Settling(helm).outcomes(changes):
        rendered.add(group, outcome)
    for group, outcome in Settling(helm).outcomes(plain):
        unset = EVERYTHING
        for change in group:
            unset = change.undone(unset)
        (meant,) = outcomes(helm, [unset])
        assert outcome.refusal or by_name(outcome.manifests) == by_name(meant.manifests), group


@pytest.mark.nightly
def test_every_other_odd_value_renders_what_kubernetes_takes_or_is_refused(helm: Helm, rendered: Rendered) -> None:
    """Whatever the schema lets pass is rendered, with everything else switched on; a switch alone, others together."""
    settling = Settling(helm)
    for value in ODD:
        refused = refused_by_the_schema(helm, value)
        rendered.tried += len(refused)
        changes = [Change(path, value) for path in LEAVES if path not in refused and default(path) != value]
        switches = [each for each in changes if isinstance(value, bool)]
        for change, outcome in zip(
            switches, outcomes(helm, (each.applied(EVERYTHING) for each in switches)), strict=True
        ):
            rendered.add((change,), outcome)
        for group, outcome in settling.outcomes([each for each in changes if each not in switches]):
            rendered.add(group, outcome)
    assert rendered.tried > 5000


def test_an_empty_value_changes_nothing_but_what_it_stands_for(helm: Helm) -> None:
    """A list or map that is empty, or "": the default again, refused, or one of a few that are known."""
    refused = {kind: refused_by_the_schema(helm, kind()) for kind in (str, list)}
    accepted = {
        ".".join(path)
        for path in LEAVES
        if (kind := type(default(path))) in refused and default(path) and path not in refused[kind]
    }
    assert accepted == {
        "metrics.dashboards.labels.grafana_dashboard",
        "service.appProtocol",
        "settings.host",  # "" was how to say "*"
        "settings.ops_host",
        "topologySpreadConstraints",
    }
    maps = [Change(path, {}) for path in paths() if isinstance(default(path), dict)]
    for group, outcome in Settling(helm).outcomes([each for each in maps if each.path[0] not in EVERYTHING]):
        assert by_name(outcome.manifests) == by_name(helm.template(EVERYTHING)), group


@pytest.mark.nightly
def test_what_was_rendered_is_valid_in_the_oldest_kubernetes(judges: Path, rendered: Rendered, tmp_path: Path) -> None:
    """By its schemas, where a field that it does not know is an error; the API server of the tests is newer."""
    file = tmp_path / "rendered.yaml"
    file.write_text("---\n".join(rendered.objects))
    assert len(rendered.objects) > 100
    command = [judges, "-m", "kubernetes_validate", "--strict", "--kubernetes-version", VERSIONS[0], file]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=240)
    assert [line for line in done.stdout.splitlines() if line.startswith("ERROR")] == []
    assert done.stdout.count("passed") > 100


@pytest.mark.nightly
@pytest.mark.usefixtures("crds")
def test_the_api_server_takes_what_was_rendered(cluster: Cluster, rendered: Rendered) -> None:
    """With validation and admission, which a schema has not got: all of it, in a run that changes nothing."""
    objects = [each for each in yaml.safe_load_all("---\n".join(rendered.objects)) if each]
    namespaces = {each["metadata"]["namespace"] for each in objects if "namespace" in each["metadata"]}
    for name in namespaces:
        cluster.kubectl("create", "namespace", name)
    try:
        cluster.kubectl(
            "create", "--dry-run=server", "--validate=strict", "--output=name", "-f", "-",
            input="---\n".join(rendered.objects), timeout_s=240,
        )  # fmt: skip
    finally:
        cluster.kubectl("delete", "namespace", *sorted(namespaces), "--wait=false")
