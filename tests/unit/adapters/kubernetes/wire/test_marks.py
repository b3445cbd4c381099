"""Who sets a Deployment's count is found in its bytes, and is what a full decode of the object says."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.client import ApiClient

from kdm_adapters.kubernetes.wire.marks import named
from kdm_adapters.kubernetes.wire.readers import Readers
from kdm_core.attribution import LastChange
from kdm_core.model import Deployment
from kdm_core.owners import Owner, OwnerType
from unit.adapters.kubernetes.objects import api_object, deployment
from unit.adapters.kubernetes.wire.wire_formats import FORMATS, WireFormat, read

either_format = pytest.mark.parametrize("wire", FORMATS, ids=["json", "protobuf"])
WEB = deployment("web", 12, labels={"app": "web"})
APPLIER, ARGO_CD, OPERATOR = OwnerType.APPLIER, OwnerType.ARGO_CD, OwnerType.OPERATOR
KUSTOMIZATION, HELM_RELEASE = OwnerType.KUSTOMIZATION, OwnerType.HELM_RELEASE
KUSTOMIZE_LABEL = "kustomize.toolkit.fluxcd.io/name"
HELM_LABEL = "helm.toolkit.fluxcd.io/name"
TRACKING_ID = "argocd.argoproj.io/tracking-id"
FLUX_RECONCILE = "kustomize.toolkit.fluxcd.io/reconcile"
FLUX_APPLIES = "kustomize.toolkit.fluxcd.io/ssa"

HOLDING: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
managers = st.sampled_from(
    [
        "kdm",
        "kubectl",
        "kubectl-client-side-apply",
        "helm",
        "kustomize-controller",
        "helm-controller",
        "argocd-controller",
    ]
) | words.filter(str.isprintable)
times = st.datetimes().map(lambda at: at.replace(year=2000 + at.year % 60)).map("{:%Y-%m-%dT%H:%M:%SZ}".format)
fields: st.SearchStrategy[Any] = st.recursive(
    st.just({}),
    lambda inner: st.dictionaries(
        st.sampled_from(["f:spec", "f:replicas", "f:status", "f:metadata", 'k:{"name":"a"}', ".", "f:x"]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)
entries: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "manager": managers,
        "operation": st.sampled_from(["Apply", "Update"]),
        "apiVersion": st.just("apps/v1"),
        "fieldsType": st.just("FieldsV1"),
        "fieldsV1": st.just(HOLDING) | st.just({"f:status": {"f:replicas": {}}}) | fields,
    },
    optional={"time": times, "subresource": st.sampled_from(["scale", "status"])},
)
references = st.fixed_dictionaries(
    {"apiVersion": words, "kind": words, "name": words, "uid": words},
    optional={"controller": st.booleans(), "blockOwnerDeletion": st.booleans()},
)
tracking_ids = st.sampled_from(
    ["app:apps/Deployment:shop/web", "ns_app:apps/Deployment:shop/web", "app:apps/Deployment:shop/other", ":", ""]
)
flux_says = st.dictionaries(
    st.sampled_from([FLUX_RECONCILE, FLUX_APPLIES]),
    st.sampled_from(["disabled", "Disabled", "enabled", "Ignore", "IfNotPresent", "Merge", "Override", ""]),
)
tracked = (
    st.dictionaries(st.just(TRACKING_ID), tracking_ids | words) | st.dictionaries(words, words, max_size=3) | flux_says
)
labels = st.builds(
    lambda some, says: some | says,
    st.dictionaries(st.sampled_from([KUSTOMIZE_LABEL, HELM_LABEL, "app", TRACKING_ID]), words, max_size=3),
    st.just({}) | flux_says,
)
metadata: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "managedFields": st.lists(entries, max_size=5),
        "ownerReferences": st.lists(references, max_size=3),
        "annotations": tracked,
        "labels": labels,
    },
)


@given(metadata)
def test_the_same_marks_are_found_in_both_formats_as_a_full_decode_finds(told: dict[str, Any]) -> None:
    found = [_read(wire, owners=True, **told) for wire in FORMATS]
    assert found[0] == found[1]
    whole = _decoded(api_object(WEB) | {"metadata": api_object(WEB)["metadata"] | told})
    assert found[0].last_change == _last_change(whole)
    assert list(found[0].owners) == _owners(whole)
    without = [_read(wire, owners=False, **told) for wire in FORMATS]
    assert [each.last_change for each in without] == [found[0].last_change] * 2
    assert [each.owners for each in without] == [(), ()], "nobody asked"


def _decoded(item: dict[str, Any]) -> Any:
    """Decode the whole object with the Kubernetes client's models."""
    return ApiClient().deserialize(json.dumps(item), "V1Deployment", "application/json")


def _holders(whole: Any) -> list[Any]:
    entries = whole.metadata.managed_fields or []
    return [each for each in entries if "f:replicas" in (each.fields_v1 or {}).get("f:spec", {})]


def _last_change(whole: Any) -> LastChange | None:
    # Stable: the last of equals is the last in the list. A write to ``scale`` has no time, and took it from all others.
    found = sorted(_holders(whole), key=_time_of)
    if not found:
        return None
    at = 0 if found[-1].time is None else int(found[-1].time.timestamp())
    return LastChange(at, " ".join(found[-1].manager.split()))


def _time_of(entry: Any) -> float:
    return math.inf if entry.time is None else float(int(entry.time.timestamp()))


def _owners(whole: Any) -> list[Owner]:
    meta, holders = whole.metadata, _holders(whole)
    controllers = [each for each in meta.owner_references or [] if each.controller][:1]
    found = [Owner(named(each.kind), named(each.name), type=OPERATOR) for each in controllers]
    known = set()
    app, _, rest = (meta.annotations or {}).get(TRACKING_ID, "").partition(":")
    if app and rest == "apps/Deployment:shop/web":
        found.append(Owner("Application", app, type=ARGO_CD))
        known.add("argocd-controller")
    flux = {
        "kustomize-controller": (KUSTOMIZE_LABEL, "Kustomization", KUSTOMIZATION),
        "helm-controller": (HELM_LABEL, "HelmRelease", HELM_RELEASE),
    }
    for manager, (label, kind, type_) in flux.items():
        if label in (meta.labels or {}):
            holds = any(each.manager == manager for each in holders)
            for told in (meta.labels or {}, meta.annotations or {}) if type_ is KUSTOMIZATION else ():
                holds = holds and told.get(FLUX_RECONCILE, "").lower() != "disabled"
                holds = holds and told.get(FLUX_APPLIES, "").lower() not in {"ignore", "ifnotpresent"}
            found.append(Owner(kind, meta.labels[label], type=type_, holds=holds))
            known.add(manager)
    client_side = {"kubectl-client-side-apply", "helm", "argocd-controller"}
    appliers = [each.manager for each in holders if each.operation == "Apply" or each.manager in client_side]
    return found + [
        Owner("FieldManager", each, type=APPLIER, holds=True) for each in dict.fromkeys(appliers) if each not in known
    ]


def _read(wire: WireFormat, *, owners: bool, **told: Any) -> Deployment:
    item = api_object(WEB, **told)
    (event,) = read(wire, wire.item("MODIFIED", item), readers=Readers(owners=owners))
    found: Deployment = event.deployment
    return found


@either_format
def test_the_newest_write_of_the_count_is_the_last_change_and_one_of_the_status_is_not(wire: WireFormat) -> None:
    scaled = _entry("kube-controller-manager", "2026-11-26T17:00:00Z", HOLDING, subresource="scale")
    status = _entry("kube-controller-manager", "2026-11-26T18:00:00Z", {"f:status": {"f:replicas": {}}})
    applied = _entry("kubectl-client-side-apply", "2026-11-26T16:59:59Z", HOLDING)
    found = _read(wire, owners=True, managedFields=[applied, scaled, status])
    assert found.last_change == LastChange(1_795_712_400, "kube-controller-manager")


@either_format
def test_without_managed_fields_nobody_knows_who_changed_it_last(wire: WireFormat) -> None:
    assert _read(wire, owners=True, managedFields=[]).last_change is None


@either_format
def test_a_deployment_copied_by_argo_cd_to_another_name_is_not_argo_cds(wire: WireFormat) -> None:
    """The annotation is copied with the rest: it has to name this very object."""
    for value, tracked in {
        "shop:apps/Deployment:shop/web": True,
        "shop:apps/Deployment:shop/copy": False,
        "shop:apps/Deployment:test/web": False,
        "shop:extensions/Deployment:shop/web": False,
        "shop:apps/StatefulSet:shop/web": False,
        "apps/Deployment:shop/web": False,
    }.items():
        found = _read(wire, owners=True, annotations={TRACKING_ID: value}).owners
        assert found == ((Owner("Application", "shop", type=ARGO_CD),) if tracked else ()), value


@either_format
@pytest.mark.parametrize(
    ("manager", "operation"),
    [("argocd-controller", "Update"), ("argocd-controller", "Apply"), ("kustomize-controller", "Apply")],
)
def test_who_applies_is_an_owner_though_it_left_no_mark_but_the_count(
    wire: WireFormat, manager: str, operation: str
) -> None:
    """Argo CD that tracks by label leaves no annotation; a label of Flux may have been removed."""
    held = _entry(manager, "2026-11-26T17:00:00Z", HOLDING, operation=operation)
    found = _read(wire, owners=True, managedFields=[held], labels={"app.kubernetes.io/instance": "shop"}).owners
    assert found == (Owner("FieldManager", manager, type=APPLIER, holds=True),)


@either_format
@pytest.mark.parametrize("where", ["annotations", "labels"])
@pytest.mark.parametrize(
    ("name", "value", "holds"),
    [
        (FLUX_RECONCILE, "disabled", False),
        (FLUX_RECONCILE, "enabled", True),
        (FLUX_APPLIES, "Ignore", False),
        (FLUX_APPLIES, "IfNotPresent", False),
        (FLUX_APPLIES, "Merge", True),
    ],
)
def test_a_count_that_flux_is_told_to_leave_alone_is_not_held(
    wire: WireFormat, where: str, name: str, value: str, holds: bool
) -> None:
    """Whoever has stopped Flux for one Deployment at night may scale it."""
    held = _entry("kustomize-controller", "2026-11-26T17:00:00Z", HOLDING, operation="Apply")
    told: dict[str, dict[str, str]] = {"labels": {KUSTOMIZE_LABEL: "apps"}, "annotations": {}}
    told[where][name] = value
    found = _read(wire, owners=True, managedFields=[held], **told).owners
    assert found == (Owner("Kustomization", "apps", type=KUSTOMIZATION, holds=holds),)


@either_format
def test_what_is_alike_is_shared(wire: WireFormat) -> None:
    """Deployments that one tool wrote in the same second share who wrote them, and their owners."""
    readers = Readers(owners=True)
    told = {"managedFields": [_entry("helm", "2026-11-26T17:00:00Z", HOLDING)]}
    items = [api_object(deployment(name, 12), **told) for name in ("web", "api")]
    web, api = read(wire, b"".join(wire.item("ADDED", each) for each in items), readers=readers)
    assert web.deployment.last_change is api.deployment.last_change
    assert web.deployment.owners is api.deployment.owners
    assert web.deployment.owners == (Owner("FieldManager", "helm", type=APPLIER, holds=True),)


def _entry(manager: str, time: str, held: dict[str, Any], **more: str) -> dict[str, Any]:
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "apps/v1",
        "time": time,
        "fieldsType": "FieldsV1",
        "fieldsV1": held,
        **more,
    }


@either_format
def test_a_time_or_field_that_makes_no_sense_costs_no_deployment(wire: WireFormat) -> None:
    """Marks are hints: the count is read all the same."""
    nowhere: dict[str, Any] = {"x": {"f:replicas": {}}, "f:spec": {}}
    for told in (
        {"managedFields": [_entry("kdm", "2026-11-26T17:00:00Z", nowhere)], "annotations": {TRACKING_ID: ""}},
        {"annotations": {"see": TRACKING_ID}, "ownerReferences": [{"kind": "Shop", "name": "web"}]},
    ):
        assert _read(wire, owners=True, **told) == WEB, told


def test_marks_that_json_leaves_null_are_none() -> None:
    item = api_object(WEB)
    nothing = {"managedFields": None, "ownerReferences": None, "annotations": None}
    odd = {"managedFields": [_entry("kdm", "yesterday", HOLDING)], "annotations": {TRACKING_ID: 7}}
    for told, last_change in ((nothing, None), (odd, LastChange(0, "kdm"))):
        broken = item | {"metadata": item["metadata"] | told}
        line = json.dumps({"type": "ADDED", "object": broken}).encode() + b"\n"
        (event,) = Readers(owners=True).events("application/json").feed(line)
        assert event.deployment == evolve(WEB, last_change=last_change), told  # type: ignore[union-attr]


@either_format
def test_a_time_that_nobody_could_show_is_none(wire: WireFormat) -> None:
    """Who may write the Deployment may claim any time. It must not cost those who list it their answer."""
    for time in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "1969-12-31T23:59:59Z"):
        found = _read(wire, owners=True, managedFields=[_entry("kdm", time, HOLDING)])
        assert found.last_change == LastChange(0, "kdm"), time


@either_format
def test_an_owners_name_is_one_short_line_whatever_somebody_wrote_there(wire: WireFormat) -> None:
    """Annotations and owner references may have any characters, and any length."""
    bad = "a\nb\x1b[2J" + "x" * 5000
    told = {
        "annotations": {TRACKING_ID: f"{bad}:apps/Deployment:shop/web"},
        "ownerReferences": [{"apiVersion": "v1", "kind": f"Shop{bad}", "name": bad, "uid": "u", "controller": True}],
        "managedFields": [_entry(f"helm{bad}", "2026-11-26T17:00:00Z", HOLDING) | {"operation": "Apply"}],
    }
    owners = _read(wire, owners=True, **told).owners
    assert len(owners) == 3
    for each in owners:
        assert str(each).isprintable()
        assert max(len(each.kind), len(each.name)) < 300


@either_format
def test_of_a_write_to_scale_the_time_is_when_it_arrived(wire: WireFormat) -> None:
    """The API server keeps no time of it. What was there before kdm looked has none; what comes later has its own."""
    without_time = _entry("kubectl", "", HOLDING, subresource="scale")
    del without_time["time"]
    applied = _entry("applier", "2026-11-26T17:00:00Z", HOLDING, operation="Apply")
    held: dict[str, Deployment] = {}
    readers = Readers(lambda _namespace, name: held.get(name), now=lambda: 1000.5)
    for version, replicas, fields, expected in (
        ("12", 3, [without_time], LastChange(0, "kubectl")),
        ("13", 3, [without_time, applied], LastChange(0, "kubectl")),
        ("14", 4, [without_time], LastChange(1000, "kubectl")),
        ("15", 4, [without_time], LastChange(1000, "kubectl")),
        ("16", 5, [applied], LastChange(1795712400, "applier")),
    ):
        item = api_object(evolve(WEB, resource_version=version, replicas=evolve(WEB.replicas, desired=replicas)))
        item["metadata"]["managedFields"] = fields
        (event,) = read(wire, wire.item("MODIFIED", item), readers=readers)
        held["web"] = event.deployment
        assert held["web"].last_change == expected
