"""Values and errors survive what programs do with them: pickle, deepcopy, JSON, and the way into another process."""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import multiprocessing
import pickle
import pkgutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, Final

import attrs
import pytest

import kdm_adapters
import kdm_core
import kdm_http
from kdm_adapters.kubernetes.config.credentials import InvalidClusterConfig
from kdm_adapters.kubernetes.wire.json_messages import JsonDecoder
from kdm_adapters.kubernetes.wire.records import Records
from kdm_adapters.memory.cluster import MemoryCluster
from kdm_core import (
    LOCAL,
    AmbiguousName,
    AuditEvent,
    AuditUnavailable,
    CacheNotSynced,
    CacheStale,
    Caller,
    ChangeKind,
    ClusterOverloaded,
    ClusterTimeout,
    ClusterUnreachable,
    ClusterUnrecognized,
    Contended,
    Deployment,
    DeploymentChange,
    DeploymentNotFound,
    DeploymentRef,
    Expect,
    Forbidden,
    Health,
    Identity,
    InvalidChange,
    InvalidInput,
    InvalidName,
    InvalidQuery,
    InvalidReplicas,
    InvalidSelector,
    KdmError,
    LabelSelector,
    NamespaceNotWatched,
    OnBound,
    Outcome,
    OutOfBounds,
    Page,
    PolicyError,
    PreconditionFailed,
    Query,
    ReplicaStatus,
    ScaleBy,
    Scaled,
    SetTo,
    SyncStatus,
    Unavailable,
    Verb,
    WriteConflict,
    WriteForbidden,
    WriteInvalid,
    WriteRejected,
    parse_policy,
)
from kdm_core.labels import Labels
from unit.adapters.kubernetes.objects import deployment, event_line
from unit.core.fixtures import fail

WEB: Final = DeploymentRef("shop", "web")
ALICE: Final = Identity("alice", frozenset({"kdm:shop"}), "ab12", "192.0.2.1:4711")
LABELS: Final = {"app": "web", "tier": "edge"}
ERRORS: Final = [
    KdmError("m"),
    InvalidInput("m"),
    InvalidName("name", "A" * 100, "a name"),
    InvalidReplicas(10**5000, 5),
    InvalidChange("m"),
    InvalidQuery("m"),
    InvalidSelector("a b", "m"),
    PolicyError("m"),
    PreconditionFailed("m"),
    DeploymentNotFound(WEB),
    DeploymentNotFound("web"),
    NamespaceNotWatched("blog", ["shop"]),
    AmbiguousName("web", ["a", "b"]),
    Forbidden(ALICE, Verb.READ, "it", "shop"),
    WriteRejected("m"),
    OutOfBounds(WEB, 3, 12, 0, 10),
    WriteConflict("m"),
    WriteConflict("m", Deployment(WEB, "u", "1", 1, 1, ReplicaStatus(3))),
    Contended(WEB, 7),
    WriteForbidden("m"),
    WriteInvalid("m"),
    Unavailable("m"),
    CacheNotSynced("m"),
    CacheStale("m"),
    ClusterUnreachable("m"),
    ClusterUnrecognized("m"),
    ClusterTimeout("m"),
    ClusterOverloaded("m", 7),
    AuditUnavailable("m"),
    InvalidClusterConfig("m"),
]


def of_memory() -> Deployment:
    return MemoryCluster().create(WEB, 3, labels=LABELS)


def of_kubernetes() -> Deployment:
    event: Any = JsonDecoder(Records()).event(event_line("ADDED", deployment("web", 3, labels=LABELS)))
    found: Deployment = event.deployment
    return found


VALUES: Final = [
    WEB,
    of_memory(),
    of_kubernetes(),
    Deployment(WEB, "u", "1", 1, 1, of_memory().replicas),
    DeploymentChange(ChangeKind.ADDED, of_memory()),
    DeploymentChange(ChangeKind.SYNCED),
    SyncStatus(True, True, "5", 0.5),
    Health("m", SyncStatus(False, False, "", 1.0)),
    LOCAL,
    ALICE,
    Caller(ALICE, "r"),
    SetTo(3),
    ScaleBy(-1, 1, 10, OnBound.CLAMP),
    Expect("5", 3, "u"),
    Scaled(of_memory(), 1, dry_run=True),
    Query("shop", LabelSelector.parse("app in (web,api),!old,size>3"), 10, WEB),
    Page((of_memory(),), WEB, None),
    AuditEvent(datetime(2026, 7, 1, tzinfo=UTC), "r", ALICE, Verb.SCALE, "shop", "web", Outcome.SUCCESS),
    Labels(LABELS),
    parse_policy(
        'version = 1\n[[grant]]\nusers = ["a"]\nspiffe = ["spiffe://td/*"]\nverbs = ["read"]\nnamespaces = ["a-*"]\n'
        'labels = { tier = "web" }'
    ),
    *ChangeKind,
    *Verb,
    *Outcome,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_survives_every_kind_of_copy(value: Any) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(value, protocol)) == value  # noqa: S301 - our own
    assert copy.copy(value) == copy.deepcopy(value) == value


def test_values_and_errors_go_through_a_process_pool() -> None:
    """As arguments, as results and as what was raised: it says the same and knows the same, and the pool goes on."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for value in VALUES:
            assert pool.submit(copy.copy, value).result(60) == value
        for error in ERRORS:
            with pytest.raises(KdmError) as caught:
                pool.submit(fail, error).result(60)
            assert_alike(caught.value, error)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_survives_every_kind_of_copy(error: KdmError) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert_alike(pickle.loads(pickle.dumps(error, protocol)), error)  # noqa: S301 - our own
    assert_alike(copy.copy(error), error)
    assert_alike(copy.deepcopy(error), error)


def assert_alike(copied: KdmError, error: KdmError) -> None:
    assert type(copied) is type(error)
    assert (str(copied), copied.args) == (str(error), error.args)
    assert {name: value for name, value in vars(copied).items() if name != "__notes__"} == vars(error)


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


@pytest.mark.parametrize("value", [each for each in VALUES if attrs.has(type(each))], ids=lambda v: type(v).__name__)
def test_every_value_but_a_policy_becomes_json(value: Any) -> None:
    if not isinstance(value, kdm_core.Policy):
        json.dumps(attrs.asdict(value), default=lambda each: list(each) if isinstance(each, frozenset) else str(each))


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


def modules(root: ModuleType) -> Iterator[ModuleType]:
    for each in pkgutil.walk_packages(root.__path__, root.__name__ + "."):
        if "__main__" not in each.name:
            yield importlib.import_module(each.name)


def test_no_error_of_kdm_is_left_out_here() -> None:
    """Nor one of the edge that could not be pickled: its constructor takes what it keeps."""
    found = {
        value
        for root in (kdm_core, kdm_adapters, kdm_http)
        for module in modules(root)
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, KdmError)
    }
    assert found == {type(error) for error in ERRORS}
