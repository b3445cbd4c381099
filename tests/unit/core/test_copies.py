"""Values survive what programs do with them: pickle, deepcopy, JSON, and the way into another process."""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import math
import multiprocessing
import pickle
import pkgutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

import kdm_adapters
import kdm_core
from kdm_adapters.kubernetes import ClusterConfig, Tuning
from kdm_adapters.kubernetes.wire.json_messages import JsonDecoder
from kdm_adapters.kubernetes.wire.records import Records
from kdm_adapters.memory.cluster import MemoryCluster
from kdm_adapters.memory.controllers import Pace
from kdm_core import (
    LOCAL,
    AuditEvent,
    Bulk,
    BulkItem,
    BulkResult,
    BulkWait,
    Caller,
    ChangeKind,
    ChangePage,
    CountChange,
    Deployment,
    DeploymentChange,
    DeploymentCondition,
    DeploymentRef,
    Effect,
    Expect,
    Health,
    HistoryQuery,
    Identity,
    ItemOutcome,
    ItemResult,
    LabelSelector,
    LastChange,
    Observation,
    OnBound,
    OnError,
    Outcome,
    Owner,
    OwnerType,
    Page,
    Park,
    Parked,
    ParkedDeployment,
    ParkedState,
    Parking,
    ParkingStatus,
    Plan,
    Planned,
    Query,
    Restore,
    RolloutOutcome,
    RolloutResult,
    RolloutState,
    ScaleBy,
    Scaled,
    ScaleTimes,
    Selection,
    SetTo,
    SourceStatus,
    SyncStatus,
    Target,
    Trouble,
    Verb,
    WaitFor,
    as_json,
    judge,
    parse_policy,
    rollout_of,
)
from kdm_core.labels import Labels
from kdm_core.waiting import Verdict
from unit.adapters.kubernetes.objects import deployment, event_line

WEB: Final = DeploymentRef("shop", "web")
ALICE: Final = Identity("alice", frozenset({"kdm:shop", "kdm:blog"}), "ab12", "192.0.2.1:4711")
LABELS: Final = {"app": "web", "tier": "edge"}
POLICY: Final = parse_policy(
    'version = 1\n[[grant]]\nusers = ["a"]\nspiffe = ["spiffe://td/*"]\nverbs = ["read"]\nnamespaces = ["a-*"]\n'
    'labels = { tier = "web" }'
)
SELECTOR: Final = LabelSelector.parse("app in (web,api),!old,size>3")
TIMES: Final = ScaleTimes(Decimal("1.50"), 1, 10, OnBound.CLAMP)
BY_NAME: Final = BulkItem(WEB, TIMES, Expect("5", 3, "u"))
CHOSEN: Final = Selection(SetTo(3), "shop", SELECTOR)
PLANNED: Final = Planned(WEB, SetTo(3), Expect("5", 2, "u"), after=3, warnings=("w",))
EVENT: Final = AuditEvent(datetime(2026, 7, 1, tzinfo=UTC), "r", ALICE, Verb.SCALE, "shop", "web", Outcome.SUCCESS)


def of_memory() -> Deployment:
    return MemoryCluster().create(WEB, 3, labels=LABELS)


def of_kubernetes() -> Deployment:
    event: Any = JsonDecoder(Records()).event(event_line("ADDED", deployment("web", 3, labels=LABELS)))
    found: Deployment = event.deployment
    return found


CHANGE: Final = CountChange(WEB, "u", 1000, 3, 5, "kdm", "alice", "sale", "r", "b", "7", gap=True, number=3)

VALUES: Final = [
    WEB,
    of_memory(),
    of_kubernetes(),
    Deployment(WEB, "u", "1", 1, 1, of_memory().replicas),
    DeploymentChange(ChangeKind.ADDED, of_memory()),
    DeploymentChange(ChangeKind.SYNCED),
    SyncStatus(True, True, "5", 0.5),
    Health("m", SyncStatus(False, False, "", 1.0)),
    SyncStatus(False, False, "", math.inf, sources=(SourceStatus("*", False, False, "", math.inf),)),
    SourceStatus("shop", True, False, "5", 0.5, reason="m", trouble=Trouble.FORBIDDEN),
    LOCAL,
    ALICE,
    Caller(ALICE, "r"),
    SetTo(3),
    ScaleBy(-1, 1, 10, OnBound.CLAMP),
    Expect("5", 3, "u"),
    Scaled(of_memory(), 1, dry_run=True),
    DeploymentCondition("False", "ProgressDeadlineExceeded", "m"),
    Observation(of_memory(), SourceStatus("*", True, True, "5", 0.5)),
    rollout_of(of_memory()),
    Target("u", "5", 3),
    RolloutResult(RolloutOutcome.BLOCKED, Target("u", "5", 3), WaitFor.READY, 5.0, "m", ("w",), of_memory()),
    Verdict(RolloutOutcome.DONE, warnings=("w",)),
    CHANGE,
    ChangePage((CHANGE,), 1000, 7),
    HistoryQuery("shop", SELECTOR, 1000, 5, 7),
    LastChange(1000, "kdm", "alice", "sale"),
    SELECTOR,
    SELECTOR.requirements[0],
    Query("shop", SELECTOR, 10, WEB, frozenset({RolloutState.STALLED})),
    Page((of_memory(),), WEB, None),
    EVENT,
    TIMES,
    Park("night"),
    Restore(),
    BY_NAME,
    CHOSEN,
    Bulk(CHOSEN, "r", OnError.CONTINUE, override=True),
    Bulk((BY_NAME,)),
    PLANNED,
    Plan((PLANNED,)),
    ItemResult(PLANNED, ItemOutcome.DONE, deployment=of_memory(), warnings=("w",)),
    BulkResult("b", Plan((PLANNED,)), (ItemResult(PLANNED, ItemOutcome.SKIPPED),)),
    BulkWait(5.0, WaitFor.READY),
    Labels(LABELS),
    Parked("u", 3, 1_800_000_000, "alice", "r", "night", 1, "5", "t"),
    Owner("HorizontalPodAutoscaler", "web", 2, 10, OwnerType.AUTOSCALER),
    *judge([Owner("ScaledObject", "web", 1, 10, OwnerType.SCALED_OBJECT)], 3, 12),
    *Effect,
    *OwnerType,
    ParkedDeployment(WEB, Parked("u", 3, 0), ParkedState.WOKEN),
    Parking(of_memory(), 3, 0, Parked("u", 3, 0), changed=True, warnings=("w",)),
    ParkingStatus(1, 5, ("there",)),
    *ParkedState,
    POLICY,
    POLICY.explain(ALICE, Verb.READ, WEB, LABELS),
    POLICY.explain(ALICE, Verb.READ, WEB, LABELS).verdicts[0],
    POLICY.grants[0],
    POLICY.grants[0].subjects,
    *POLICY.grants[0].subjects.spiffe,
    POLICY.grants[0].namespaces,
    POLICY.grants[0].replicas,
    of_memory().replicas,
    ClusterConfig(kubeconfig=Path("config")),
    Tuning(),
    Pace(),
    *ChangeKind,
    *Verb,
    *Outcome,
    *Trouble,
    *RolloutState,
    *RolloutOutcome,
    *WaitFor,
    *OnError,
    *ItemOutcome,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_survives_every_kind_of_copy(value: Any) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(value, protocol)) == value  # noqa: S301 - our own
    assert copy.copy(value) == copy.deepcopy(value) == value


def test_values_go_through_a_process_pool() -> None:
    """As arguments and as results."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for value in VALUES:
            assert pool.submit(copy.copy, value).result(60) == value


def test_a_policy_that_was_copied_decides_alike() -> None:
    policy = next(each for each in VALUES if isinstance(each, kdm_core.Policy))
    for each in (pickle.loads(pickle.dumps(policy)), copy.deepcopy(policy)):  # noqa: S301 - our own
        for user in ("a", "b", "spiffe://td/x"):
            for namespace in ("a-1", "b"):
                asked = (Identity(user), Verb.READ, DeploymentRef(namespace, "web"), {"tier": "web"})
                assert each.allows(*asked) == policy.allows(*asked)


@pytest.mark.parametrize("made", [of_memory(), of_kubernetes()], ids=["memory", "kubernetes"])
def test_a_deployment_of_either_adapter_becomes_json_and_keeps_its_labels(made: Deployment) -> None:
    """The two cannot be told apart by what can be done with them."""
    read = json.loads(json.dumps(attrs.asdict(made)))
    assert read["labels"] == LABELS
    assert read["ref"] == {"namespace": made.ref.namespace, "name": "web"}
    assert read["replicas"]["desired"] == made.replicas.desired
    assert type(made.labels) is Labels
    with pytest.raises(TypeError, match="cannot be changed"):
        made.labels["app"] = "other"


@pytest.mark.parametrize("change", ["clear", "popitem", "pop", "setdefault", "update"])
def test_labels_refuse_every_change(change: str) -> None:
    labels = Labels(LABELS)
    with pytest.raises(TypeError, match="cannot be changed"):
        getattr(labels, change)()
    with pytest.raises(TypeError):
        del labels["app"]
    with pytest.raises(TypeError):
        labels |= {"a": "b"}
    assert labels == LABELS
    assert dict(labels) | {"a": "b"} == LABELS | {"a": "b"}


@pytest.mark.parametrize("value", [each for each in VALUES if attrs.has(type(each))], ids=lambda v: type(v).__name__)
def test_every_value_becomes_json_that_every_reader_understands(value: Any) -> None:
    text = json.dumps(as_json(value), allow_nan=False)
    assert set(json.loads(text)) == {each.name for each in attrs.fields(type(value)) if each.init}
    assert json.loads(text) == as_json(value)


def test_an_event_as_json() -> None:
    moved = attrs.evolve(EVENT, time=EVENT.time.astimezone(timezone(timedelta(hours=2))))
    assert as_json(moved) == {
        "time": "2026-07-01T00:00:00.000000Z",
        "request_id": "r",
        "actor": {
            "user": "alice", "groups": ["kdm:blog", "kdm:shop"], "fingerprint": "ab12", "address": "192.0.2.1:4711",
        },
        "verb": "scale", "namespace": "shop", "name": "web", "outcome": "success", "dry_run": False,
        "old_replicas": None, "new_replicas": None, "reason": "", "latency_s": 0.0,
        "change_reason": "", "batch": "", "park_id": "", "overrides": "",
    }  # fmt: skip


def test_an_error_within_a_value_says_what_went_wrong_in_json() -> None:
    refused = attrs.evolve(PLANNED, refusal=kdm_core.OutOfBounds(WEB, 2, 3, 0, 2), after=None)
    assert as_json(refused)["refusal"] == {"code": "out-of-bounds", "message": str(refused.refusal)}
    assert as_json(ItemResult(refused, ItemOutcome.FAILED, RuntimeError("m")))["error"]["code"] == "error"


def test_what_is_not_known_is_null_in_json() -> None:
    assert as_json(SyncStatus(False, False, "", math.inf))["age_s"] is None


def test_json_is_the_same_in_every_run() -> None:
    """Python orders the strings of a set by a hash that each process seeds anew."""
    script = (
        "import json, kdm_core\n"
        "print(json.dumps(kdm_core.as_json(kdm_core.Identity('a', frozenset(map(str, range(50)))))))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(runs) == 1


def test_no_public_value_is_left_out_here() -> None:
    """Public is what a program may import: of an adapter and of the service, what their packages name."""
    inside = (
        "kdm_adapters.cache",
        "kdm_adapters.kubernetes.",
        "kdm_adapters.memory.",
        "kdm_core.service.",
        "kdm_core.testing",
        "kdm_core.tracks",
    )
    names = [
        name
        for root in (kdm_core, kdm_adapters)
        for _, name, _ in pkgutil.walk_packages(root.__path__, root.__name__ + ".")
        if not name.startswith(inside)
    ]
    found = {
        value
        for module in map(importlib.import_module, names)
        for name, value in vars(module).items()
        if inspect.isclass(value) and attrs.has(value) and not name.startswith("_")
        if not value.__module__.startswith(("kdm_core.tracks", "kdm_adapters.cache"))  # imported from there
    }
    assert found == {type(value) for value in VALUES if attrs.has(type(value))}
