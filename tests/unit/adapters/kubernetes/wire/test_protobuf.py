"""Protocol Buffers alone: what is left out, and what cannot be decoded. What holds for both: test_both_formats."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_adapters.kubernetes.wire.messages import Failure, Undecodable
from kdm_adapters.kubernetes.wire.protobuf_messages import ProtobufDecoder
from kdm_adapters.kubernetes.wire.readers import failure
from kdm_adapters.kubernetes.wire.records import MAX_OBJECT_BYTES, SHARED, ProtocolError, Records
from unit.adapters.kubernetes.objects import api_object, deployment
from unit.adapters.kubernetes.wire import protobuf_objects
from unit.adapters.kubernetes.wire.protobuf_objects import frame, number, text, watch_event, wrapped
from unit.adapters.kubernetes.wire.wire_formats import ProtobufFormat, pages, read

WEB = deployment("web", 12, desired=3, ready=2, generation=4, labels={"app": "web", "team": "a"})
MANY = [deployment(f"web-{i}", i + 1, desired=i % 4, labels={"app": f"web-{i}"}) for i in range(40)]
WIRE = ProtobufFormat()


def framed(kind: str, item: dict[str, Any], object_kind: str = "Deployment") -> bytes:
    return frame(watch_event(kind, wrapped("apps/v1", object_kind, protobuf_objects.deployment(item))))


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
    with pytest.raises(ProtocolError):
        read(WIRE, stream)


def test_an_event_longer_than_any_can_be_is_given_up_before_it_arrives() -> None:
    with pytest.raises(ProtocolError, match="more than"):
        read(WIRE, (MAX_OBJECT_BYTES + 1).to_bytes(4, "big"))


def test_an_item_longer_than_any_can_be_is_given_up_before_it_arrives() -> None:
    body = b"k8s\x00" + b"\x12\xff\xff\xff\xff\x0f" + text(1, text(2, "5")) + b"\x12\xff\xff\xff\x7f"
    with pytest.raises(ProtocolError, match="more than"):
        [*pages(WIRE, body)]


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
    with pytest.raises(ProtocolError):
        [*pages(WIRE, body, 3)]


def test_a_list_may_hold_fields_that_nobody_knows_yet() -> None:
    listed = META + number(9, 5) + text(2, protobuf_objects.deployment(api_object(WEB))) + text(300, "new")
    found = [*pages(WIRE, wrapped("apps/v1", "DeploymentList", listed) + text(10, "new"))]
    assert [each for page in found for each in page.deployments] == [WEB]


# Whatever comes

mutations = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 3), st.binary(max_size=3)), max_size=4)


def mutated(body: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    for where, removed, added in changes:
        at = int(where * len(body))
        body = body[:at] + added + body[at + removed :]
    return body


@given(st.binary(max_size=200), st.integers(1, 50))
def test_no_bytes_make_a_watch_fail_otherwise(stream: bytes, size: int) -> None:
    with suppress(ProtocolError):
        read(WIRE, stream, size)
    with suppress(ProtocolError):
        ProtobufDecoder(Records()).event(stream)


@given(
    mutations,
    st.sampled_from([WIRE.event("ADDED", WEB), WIRE.bookmark(7, initial_events_end="true"), WIRE.error(410, "a")]),
)
def test_no_event_with_some_bytes_changed_makes_a_watch_fail_otherwise(
    changes: list[tuple[float, int, bytes]], event: bytes
) -> None:
    changed = frame(mutated(event[4:], changes))
    with suppress(ProtocolError):
        assert len(read(WIRE, changed + event)) == 2, "the frame after it is read all the same"


@given(mutations, st.integers(1, 500))
def test_no_list_with_some_bytes_changed_makes_it_fail_otherwise(
    changes: list[tuple[float, int, bytes]], size: int
) -> None:
    with suppress(ProtocolError):
        [*pages(WIRE, mutated(WIRE.list(*MANY[:3], resource_version=5), changes), size)]


@given(st.binary(max_size=100))
def test_no_refusal_makes_it_fail(body: bytes) -> None:
    assert failure(body, 503).code == 503
    assert failure(b"k8s\x00" + body, 503).code == 503
