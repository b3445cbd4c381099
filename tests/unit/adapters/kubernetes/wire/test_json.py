"""JSON alone: what is left out, what is shared, and what cannot be decoded. What holds for both: test_both_formats."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_adapters.kubernetes.wire.json_decoding import failure
from kdm_adapters.kubernetes.wire.json_messages import JsonDecoder, scale
from kdm_adapters.kubernetes.wire.messages import Event, Failure, Undecodable
from kdm_adapters.kubernetes.wire.records import SHARED, ProtocolError, Records
from unit.adapters.kubernetes.objects import (
    api_object,
    deployment,
    event_line,
)

WEB = deployment("web", 12, desired=3, ready=2, generation=4, labels={"app": "web", "team": "a"})


def event(item: dict[str, Any], kind: str = "MODIFIED") -> Any:
    return JsonDecoder(Records()).event(json.dumps({"type": kind, "object": item}).encode())


def changed(*path: str, to: object) -> dict[str, Any]:
    """Return the JSON of WEB with one field changed."""
    item = api_object(WEB)
    inner = item
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return item


def without(*path: str) -> dict[str, Any]:
    """Return the JSON of WEB with one field left out."""
    item = changed(*path, to=None)
    inner = item
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return item


@pytest.mark.parametrize(
    "item",
    [
        changed("spec", "replicas", to="three"),
        changed("spec", "replicas", to=1.5),
        changed("spec", "replicas", to=-1),
        changed("metadata", "generation", to="x"),
        changed("metadata", "labels", to=["a"]),
        changed("metadata", "labels", to={"a": 1}),
        changed("status", to="Running"),
        changed("kind", to="Pod"),
        changed("spec", to=None),
        without("metadata", "uid"),
    ],
)
def test_an_object_that_makes_no_sense_still_tells_its_name_and_version(item: dict[str, Any]) -> None:
    found = event(item)
    assert isinstance(found, Undecodable)
    assert (found.namespace, found.name, found.resource_version) == ("shop", "web", "12")
    assert found.detail


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b'{"type":"ADDED","object":' + b"[" * 10**5,
        b'{"type":"ADDED"}',
        b'{"type":"ADDED","object":3}',
        b'{"type":"ADDED","object":{"metadata":[]}}',
        b"[]",
    ],
)
def test_json_that_is_no_event_is_undecodable(line: bytes) -> None:
    assert isinstance(JsonDecoder(Records()).event(line), Undecodable)


@pytest.mark.parametrize("line", [b"<html>", b'{"type":"ADDED","obj', b"\xff\xfe", b"HTTP/1.1 200 OK"])
def test_what_is_no_json_is_garbage(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        JsonDecoder(Records()).event(line)


@given(st.binary(max_size=200))
def test_no_line_makes_the_decoder_fail_otherwise(line: bytes) -> None:
    with suppress(ProtocolError):
        JsonDecoder(Records()).event(line)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner)
    )
)
def test_no_object_makes_the_decoder_fail(item: object) -> None:
    for kind in ("ADDED", "BOOKMARK", "ERROR", "OTHER"):
        JsonDecoder(Records()).event(json.dumps({"type": kind, "object": item}).encode())


def test_what_is_remembered_for_sharing_is_bounded() -> None:
    records = Records()
    decoder = JsonDecoder(records)
    for i in range(SHARED * 2 + 10):
        decoder.event(event_line("ADDED", deployment("web", 3, desired=i, labels={"id": str(i)})))
    assert max(len(records._strings), len(records._labels), len(records._replicas)) <= SHARED


def test_labels_cannot_be_changed_by_whoever_reads_them() -> None:
    told = JsonDecoder(Records()).event(event_line("ADDED", WEB))
    assert isinstance(told, Event)
    with pytest.raises(TypeError):
        told.deployment.labels["a"] = "b"  # that is the point


def test_a_refusal_that_is_no_status_is_shown() -> None:
    assert failure(b"<html>Bad Gateway</html>", 502, 3.0) == Failure(502, "", "Bad Gateway", (), 3.0, foreign=True)
    assert failure(b"", 503).message == "no explanation"


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"kind":"Status"}', b'{"kind":"Scale","metadata":{}}'])
def test_what_is_no_scale_is_garbage(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        scale(body)


def test_a_scale_without_replicas_is_zero() -> None:
    """The API server leaves zeroes out of a Scale, unlike out of a Deployment."""
    body = b'{"kind":"Scale","metadata":{"name":"a","namespace":"b","uid":"u","resourceVersion":"3"},"spec":{}}'
    assert (scale(body).desired, scale(body).resource_version) == (0, "3")


def test_deployments_share_the_keys_of_their_labels() -> None:
    decoder = JsonDecoder(Records())
    first, second = (
        decoder.event(event_line("ADDED", deployment(name, 3, labels={"app": name, "team": "a"}))) for name in "ab"
    )
    assert isinstance(first, Event)
    assert isinstance(second, Event)
    assert next(iter(first.deployment.labels)) is next(iter(second.deployment.labels))
    assert first.deployment.labels["app"] is first.deployment.ref.name
