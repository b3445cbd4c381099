"""Protocol Buffers and JSON are two ways to say the same, and bad bytes of either are treated alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_adapters.cache.store import Store
from kdm_adapters.kubernetes.wire.messages import Bookmark, Event, Failure, Page, Undecodable
from kdm_adapters.kubernetes.wire.protobuf_messages import ProtobufDecoder
from kdm_adapters.kubernetes.wire.readers import PROTOBUF, Readers, failure
from kdm_adapters.kubernetes.wire.records import MAX_OBJECT_BYTES, SHARED, Garbage, Records
from kdm_core.model import Deployment
from unit.adapters.kubernetes.objects import api_object, deployment
from unit.adapters.kubernetes.wire import protobuf_objects
from unit.adapters.kubernetes.wire.protobuf_objects import frame, number, text, watch_event, wrapped
from unit.adapters.kubernetes.wire.wire_formats import FORMATS, ProtobufFormat, WireFormat

WEB = deployment("web", 12, desired=3, ready=2, generation=4, labels={"app": "web", "team": "a"})
MANY = [deployment(f"web-{i}", i + 1, desired=i % 4, labels={"app": f"web-{i}"}) for i in range(40)]
WIRE = ProtobufFormat()

either_format = pytest.mark.parametrize("wire", FORMATS, ids=["json", "protobuf"])


def read(wire: WireFormat, stream: bytes, size: int = 10**6, readers: Readers | None = None) -> list[Any]:
    """Read a watch that arrives in chunks of a size."""
    reader = (readers or Readers()).events(wire.media_type)
    return [message for i in range(0, len(stream), size) for message in reader.feed(stream[i : i + size])]


def pages(wire: WireFormat, body: bytes, size: int = 10**6) -> Iterator[Page]:
    """Read a list that arrives in chunks of a size."""
    reader = Readers().list(wire.media_type)
    for i in range(0, len(body), size):
        if page := reader.feed(body[i : i + size]):
            yield page
    yield reader.end()


def framed(kind: str, item: dict[str, Any], object_kind: str = "Deployment") -> bytes:
    return frame(watch_event(kind, wrapped("apps/v1", object_kind, protobuf_objects.deployment(item))))


# The same in both

names = st.text(st.characters(codec="utf-8"), max_size=8)
counts = st.integers(-(2**31), 2**31 - 1) | st.integers(0, 3)
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
    (as_protobuf,) = Readers().events(PROTOBUF).feed(framed("ADDED", item))
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
            with pytest.raises(Garbage):
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
            store.put(told.deployment)
    web, api = store.list()
    assert web.labels is api.labels
    assert web.replicas is api.replicas


# Protocol Buffers alone


def test_zero_replicas_and_paused_are_read_and_absent_replicas_mean_one() -> None:
    item = api_object(WEB)
    (paused,) = read(WIRE, framed("ADDED", item | {"spec": {"replicas": 0, "paused": True}}))
    (absent,) = read(WIRE, framed("ADDED", item | {"spec": {}}))
    assert (paused.deployment.replicas.desired, paused.deployment.paused) == (0, True)
    assert (absent.deployment.replicas.desired, absent.deployment.paused) == (1, False)


def test_what_is_remembered_for_sharing_is_bounded() -> None:
    decoder = ProtobufDecoder(Records())
    for i in range(SHARED + 10):
        decoder.event(WIRE.event("ADDED", deployment("web", 3, labels={"id": str(i)}))[4:])
    assert len(decoder._labels) <= SHARED


@pytest.mark.parametrize(
    "event",
    [
        framed("ADDED", api_object(WEB), "Pod"),
        framed("RENAMED", api_object(WEB)),
        framed("ADDED", api_object(WEB) | {"spec": {"replicas": -1}}),
        frame(watch_event("ADDED", wrapped("apps/v1", "Deployment", text(1, protobuf_objects.object_meta(
            api_object(WEB)["metadata"])) + text(2, text(1, "three"))))),
        framed("ADDED", api_object(WEB)).replace(b"Z\x0b\n\x03app\x12\x04web1", b"").replace(
            b"\n\x03app\x12\x03web", b"\n\x03app\x12\x03\xff\xff\xff"),
    ],
)  # fmt: skip
def test_an_object_that_makes_no_sense_still_tells_its_name_and_version(event: bytes) -> None:
    (found,) = read(WIRE, event)
    assert isinstance(found, Undecodable)
    assert (found.namespace, found.name, found.resource_version) == ("shop", "web", "12")
    assert found.detail


@pytest.mark.parametrize(
    "event",
    [
        b"",
        watch_event("ADDED", b""),
        watch_event("ADDED", b"{}"),
        watch_event("ADDED", b"k8s\x01" + b"?" * 20),
        watch_event("ADDED", b"k8s\x00\xff\xff"),
        watch_event("BOOKMARK", wrapped("apps/v1", "Deployment", text(1, text(6, b"\xff")))),
        watch_event("BOOKMARK", wrapped("apps/v1", "Deployment", b"")),
    ],
)
def test_an_event_without_an_object_is_undecodable(event: bytes) -> None:
    assert isinstance(read(WIRE, frame(event))[0], Undecodable)


def test_an_error_event_without_a_status_is_a_failure() -> None:
    (found,) = read(WIRE, frame(watch_event("ERROR", b"?")))
    assert isinstance(found, Failure)
    assert found.code == 500


@pytest.mark.parametrize("stream", [b'{"type":"ADDED"}\n', b"<html>", b"HTTP/1.1 200 OK", b"\x00\x00\x00\x02\x0a\x09"])
def test_another_protocol_is_garbage(stream: bytes) -> None:
    with pytest.raises(Garbage):
        read(WIRE, stream)


def test_an_event_longer_than_any_can_be_is_given_up_before_it_arrives() -> None:
    with pytest.raises(Garbage, match="more than"):
        read(WIRE, (MAX_OBJECT_BYTES + 1).to_bytes(4, "big"))


def test_an_item_longer_than_any_can_be_is_given_up_before_it_arrives() -> None:
    body = b"k8s\x00" + b"\x12\xff\xff\xff\xff\x0f" + text(1, text(2, "5")) + b"\x12\xff\xff\xff\x7f"
    with pytest.raises(Garbage, match="more than"):
        [*pages(WIRE, body)]


def test_of_a_long_list_little_is_held_at_a_time() -> None:
    body = WIRE.list(*MANY * 50, resource_version=99)
    reader, most = Readers().list(PROTOBUF), 0
    for i in range(0, len(body), 4096):
        reader.feed(body[i : i + 4096])
        most = max(most, reader._unread.size)  # type: ignore[attr-defined]  # of its implementation
    assert most < 4096


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_item_that_makes_no_sense_does_not_spoil_a_list(place: int) -> None:
    items = [api_object(each) for each in MANY[:3]]
    items[place]["spec"] = {"replicas": -1}
    found = [*pages(WIRE, protobuf_objects.deployment_list(items, "9"), 50)]
    assert [each for page in found for each in page.deployments] == [
        each for i, each in enumerate(MANY[:3]) if i != place
    ]
    assert [bad.name for page in found for bad in page.undecodable] == [MANY[place].ref.name]


META = text(1, text(2, "5"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"k8s\x00",
        b"<html>",
        b"k8s\x00<html>",
        b"k8s\x00\x0b\x0c",
        b"k8s\x00" + b"\xff" * 12,
        wrapped("v1", "PodList", META),
        wrapped("apps/v1", "DeploymentList", b""),
        wrapped("apps/v1", "DeploymentList", text(1, text(2, b"\xff"))),
        wrapped("apps/v1", "DeploymentList", META) + text(2, META),
        wrapped("apps/v1", "DeploymentList", META + b"\x12\x05"),
        b"k8s\x00" + text(1, b"\x12\xff"),
    ],
)
def test_what_is_no_list_is_garbage(body: bytes) -> None:
    with pytest.raises(Garbage):
        [*pages(WIRE, body, 3)]


def test_a_list_may_hold_fields_that_nobody_knows_yet() -> None:
    listed = META + number(9, 5) + text(2, protobuf_objects.deployment(api_object(WEB))) + text(300, "new")
    found = [*pages(WIRE, wrapped("apps/v1", "DeploymentList", listed) + text(10, "new"))]
    assert [each for page in found for each in page.deployments] == [WEB]


def test_a_refusal_that_is_no_status_is_shown() -> None:
    assert failure(b"<html>Bad Gateway</html>", 502, 3.0).message == "Bad Gateway"
    assert failure(b"", 503).message == "no explanation"


# Whatever comes

mutations = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 3), st.binary(max_size=3)), max_size=4)


def mutated(body: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    for where, removed, added in changes:
        at = int(where * len(body))
        body = body[:at] + added + body[at + removed :]
    return body


@given(st.binary(max_size=200), st.integers(1, 50))
def test_no_bytes_make_a_watch_fail_otherwise(stream: bytes, size: int) -> None:
    with suppress(Garbage):
        read(WIRE, stream, size)
    with suppress(Garbage):
        ProtobufDecoder(Records()).event(stream)


@given(
    mutations,
    st.sampled_from([WIRE.event("ADDED", WEB), WIRE.bookmark(7, initial_events_end="true"), WIRE.error(410, "a")]),
)
def test_no_event_with_some_bytes_changed_makes_a_watch_fail_otherwise(
    changes: list[tuple[float, int, bytes]], event: bytes
) -> None:
    changed = frame(mutated(event[4:], changes))
    with suppress(Garbage):
        assert len(read(WIRE, changed + event)) == 2, "the frame after it is read all the same"


@given(mutations, st.integers(1, 500))
def test_no_list_with_some_bytes_changed_makes_it_fail_otherwise(
    changes: list[tuple[float, int, bytes]], size: int
) -> None:
    with suppress(Garbage):
        [*pages(WIRE, mutated(WIRE.list(*MANY[:3], resource_version=5), changes), size)]


@given(st.binary(max_size=100))
def test_no_refusal_makes_it_fail(body: bytes) -> None:
    assert failure(body, 503).code == 503
    assert failure(b"k8s\x00" + body, 503).code == 503
