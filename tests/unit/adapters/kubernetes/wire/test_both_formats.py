"""Protocol Buffers and JSON are two ways to say the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_adapters.cache.store import Store
from kdm_adapters.kubernetes.wire.json_framing import JsonList
from kdm_adapters.kubernetes.wire.messages import Bookmark, Event, Failure, Undecodable
from kdm_adapters.kubernetes.wire.protobuf_framing import ProtobufList
from kdm_adapters.kubernetes.wire.readers import PROTOBUF, Readers, failure
from kdm_adapters.kubernetes.wire.records import MAX_CONDITION_CHARS, ProtocolError
from kdm_core.model import Deployment, DeploymentCondition
from unit.adapters.kubernetes.objects import api_object, deployment
from unit.adapters.kubernetes.wire.wire_formats import FORMATS, ProtobufFormat, WireFormat, pages, read

WEB = deployment("web", 12, desired=3, ready=2, generation=4, labels={"app": "web", "team": "a"})
MANY = [deployment(f"web-{i}", i + 1, desired=i % 4, labels={"app": f"web-{i}"}) for i in range(40)]

either_format = pytest.mark.parametrize("wire", FORMATS, ids=["json", "protobuf"])

names = st.text(st.characters(codec="utf-8"), max_size=8)
counts = st.integers(-(2**31), 2**31 - 1) | st.integers(0, 3)
conditions = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["Available", "Progressing", "ReplicaFailure"]) | names,
        "status": st.sampled_from(["True", "False", "Unknown"]) | names,
    },
    optional={"reason": names, "message": names | st.text(st.characters(codec="utf-8"), min_size=100)},
)
objects = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": names, "namespace": names, "uid": names, "resourceVersion": names},
            optional={
                "generation": st.integers(-(2**63), 2**63 - 1),
                "labels": st.dictionaries(names, names, max_size=3),
                "annotations": st.dictionaries(names, names, max_size=3),
            },
        ),
        "spec": st.fixed_dictionaries({}, optional={"replicas": counts, "paused": st.booleans()}),
        "status": st.fixed_dictionaries(
            {},
            optional={
                **dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), counts),
                "observedGeneration": st.integers(0, 2**63 - 1),
                "conditions": st.lists(conditions, max_size=4),
            },
        ),
    }
)


@given(objects)
def test_any_deployment_is_the_same_record_in_both_formats(item: dict[str, Any]) -> None:
    """Or, where it can be none, is left out for the same reason, with the same name and version."""
    readers = Readers()
    line = json.dumps({"type": "ADDED", "object": {"kind": "Deployment", **item}}).encode() + b"\n"
    (as_json,) = readers.events("application/json").feed(line)
    (as_protobuf,) = Readers().events(PROTOBUF).feed(ProtobufFormat().item("ADDED", item))
    assert as_protobuf == as_json
    if isinstance(as_protobuf, Event) and isinstance(as_json, Event):
        assert list(as_protobuf.deployment.labels) == sorted(as_json.deployment.labels)


@either_format
@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", "DELETED"])
def test_an_event_becomes_a_deployment(wire: WireFormat, kind: str) -> None:
    assert read(wire, wire.event(kind, WEB)) == [Event(kind, WEB)]


@either_format
def test_bookmarks_end_the_initial_events_only_with_the_value_true(wire: WireFormat) -> None:
    told = [wire.bookmark(7), *(wire.bookmark(7, initial_events_end=value) for value in ("true", "false"))]
    assert read(wire, b"".join(told)) == [Bookmark("7", False), Bookmark("7", True), Bookmark("7", False)]


@either_format
def test_an_error_event_becomes_a_failure(wire: WireFormat) -> None:
    error = wire.error(410, "Expired", "too old", causes=[{"reason": "a", "message": "b"}], retryAfterSeconds=3)
    assert read(wire, error) == [Failure(410, "Expired", "too old", (("a", "b"),), 3.0)]


@either_format
def test_a_refusal_is_read_in_the_format_it_comes_in(wire: WireFormat) -> None:
    body = wire.status(409, "Conflict", "modified", causes=[{"reason": "r", "message": "m"}])
    assert failure(body, 409) == Failure(409, "Conflict", "modified", (("r", "m"),))


@either_format
def test_a_poisoned_event_still_tells_its_name_and_version(wire: WireFormat) -> None:
    bad, good = read(wire, wire.poisoned("MODIFIED", WEB) + wire.event("MODIFIED", WEB))
    assert isinstance(bad, Undecodable)
    assert (bad.namespace, bad.name, bad.uid, bad.resource_version) == ("shop", "web", WEB.uid, "12")
    assert good == Event("MODIFIED", WEB)


@either_format
def test_a_watch_is_the_same_however_the_chunks_fall_and_wherever_it_ends(wire: WireFormat) -> None:
    """At every byte: what is whole has been told, and what is not is known to be missing."""
    told = [wire.event("ADDED", WEB), wire.bookmark(13, initial_events_end="true"), wire.error(410, "Expired")]
    stream, ends = b"".join(told), [len(b"".join(told[:i])) for i in range(len(told) + 1)]
    whole = read(wire, stream)
    assert len(whole) == 3
    for cut in range(len(stream)):
        reader = Readers().events(wire.media_type)
        assert list(reader.feed(stream[:cut])) == whole[: sum(end <= cut for end in ends) - 1]
        assert bool(reader.rest_bytes) == (cut not in ends)
        assert list(reader.feed(stream[cut:])) == whole[sum(end <= cut for end in ends) - 1 :]
    for size in (1, 2, 3, 100):
        assert read(wire, stream, size) == whole


@either_format
def test_a_list_is_the_same_however_the_chunks_fall(wire: WireFormat) -> None:
    body = wire.list(*MANY, resource_version=99, continue_token="next")
    for size in (1, 7, 100, 1000, len(body)):
        found = [*pages(wire, body, size)]
        assert [each for page in found for each in page.deployments] == MANY
        assert {(page.resource_version, page.continue_token) for page in found} == {("99", "next")}
        assert [page.last for page in found] == [False] * (len(found) - 1) + [True]


@either_format
def test_a_list_that_breaks_off_anywhere_is_garbage(wire: WireFormat) -> None:
    body = wire.list(*MANY[:3], resource_version=5)
    for cut in range(len(body)):
        if wire is not FORMATS[1] or cut not in {len(body) - 2, len(body) - 4}:  # empty fields after the list
            with pytest.raises(ProtocolError):
                [*pages(wire, body[:cut], 100)]


@either_format
def test_an_empty_list_is_one_page(wire: WireFormat) -> None:
    (page,) = pages(wire, wire.list(resource_version=5))
    assert ([*page.deployments], page.resource_version, page.last) == ([], "5", True)


@either_format
def test_what_is_alike_is_shared_and_what_is_held_is_used_again(wire: WireFormat) -> None:
    store = Store()
    readers = Readers(store.get)
    for version in (1, 2):
        for name in ("web", "api"):
            (told,) = read(
                wire, wire.event("MODIFIED", deployment(name, version, labels={"team": "a"})), 10**6, readers
            )
            held: Deployment | None = store.get("shop", name)
            if held is not None:
                assert told.deployment.ref is held.ref
                assert told.deployment.uid is held.uid
                assert told.deployment.labels is held.labels
            store.put(told.deployment)
    web, api = store.list()
    assert web.labels is api.labels
    assert web.replicas is api.replicas
    assert web.ref.namespace is api.ref.namespace


@either_format
def test_absent_counts_are_zero_and_zero_replicas_and_paused_are_read(wire: WireFormat) -> None:
    item = api_object(WEB)
    (paused,) = read(wire, wire.item("ADDED", item | {"spec": {"replicas": 0, "paused": True}}))
    (absent,) = read(wire, wire.item("ADDED", {"kind": "Deployment", "metadata": item["metadata"], "spec": {}}))
    assert (paused.deployment.replicas.desired, paused.deployment.paused) == (0, True)
    assert (absent.deployment.replicas.desired, absent.deployment.paused) == (1, False), "as the API defaults it"
    assert (absent.deployment.replicas.ready, absent.deployment.observed_generation) == (0, 0)


@either_format
def test_of_a_long_list_little_is_held_at_a_time(wire: WireFormat) -> None:
    body = wire.list(*MANY * 50, resource_version=99)
    reader, most = Readers().list(wire.media_type), 0
    for i in range(0, len(body), 4096):
        reader.feed(body[i : i + 4096])
        assert isinstance(reader, JsonList | ProtobufList)
        most = max(most, len(reader._rest) if isinstance(reader, JsonList) else reader._unread.size)
    assert most < 4096


@either_format
def test_the_two_conditions_that_matter_are_read(wire: WireFormat) -> None:
    stalled = DeploymentCondition("False", "ProgressDeadlineExceeded", 'ReplicaSet "web-1" has timed out progressing.')
    failing = DeploymentCondition("True", "FailedCreate", 'pods "web-1-x" is forbidden: exceeded quota: small')
    held = deployment("web", 12, progressing=stalled, replica_failure=failing)
    assert read(wire, wire.event("MODIFIED", held)) == [Event("MODIFIED", held)]


@either_format
def test_a_deployment_without_conditions_has_none(wire: WireFormat) -> None:
    item = api_object(WEB)
    del item["status"]["conditions"]
    (told,) = read(wire, wire.item("ADDED", item))
    assert (told.deployment.progressing, told.deployment.replica_failure) == (None, None)


@either_format
def test_what_is_well_costs_no_message_and_is_shared(wire: WireFormat) -> None:
    told = read(wire, wire.event("ADDED", WEB) + wire.event("ADDED", deployment("api", 13)))
    assert told[0].deployment.progressing is told[1].deployment.progressing
    assert told[0].deployment.progressing == DeploymentCondition("True", "NewReplicaSetAvailable", "")


@either_format
def test_a_condition_is_on_one_line_of_bounded_length(wire: WireFormat) -> None:
    item = api_object(WEB)
    long = "exceeded\nquota\x1b[31m " + "x" * 5000
    item["status"]["conditions"] = [
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": long},
        {"type": "ReplicaFailure", "status": "False", "reason": "Another", "message": "the first of a kind counts"},
    ]
    (told,) = read(wire, wire.item("ADDED", item))
    failure_ = told.deployment.replica_failure
    assert (failure_.status, failure_.reason) == ("True", "FailedCreate")
    assert failure_.message.startswith("exceeded quota")
    assert failure_.message.isprintable()
    assert len(failure_.message) <= MAX_CONDITION_CHARS + 3
