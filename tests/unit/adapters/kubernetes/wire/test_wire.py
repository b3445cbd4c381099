"""From JSON to the domain: what is read, what is left out, what is shared, and what cannot be understood."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_adapters.cache.store import Store
from kdm_adapters.kubernetes.wire.json_messages import JsonDecoder, failure, scale
from kdm_adapters.kubernetes.wire.messages import Bookmark, Event, Failure, Undecodable
from kdm_adapters.kubernetes.wire.records import SHARED, Garbage, Records
from kdm_core.model import Deployment
from unit.adapters.kubernetes.objects import (
    api_object,
    bookmark_line,
    deployment,
    error_line,
    event_line,
    status,
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


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", "DELETED"])
def test_an_event_becomes_a_deployment(kind: str) -> None:
    assert JsonDecoder(Records()).event(event_line(kind, WEB)) == Event(kind, WEB)


def test_absent_replicas_mean_one_and_absent_counts_zero() -> None:
    found = event(without("spec", "replicas")).deployment
    assert found.replicas.desired == 1
    fresh = event(without("status")).deployment
    assert (fresh.replicas.ready, fresh.observed_generation) == (0, 0)


def test_zero_replicas_and_paused_are_read() -> None:
    assert event(changed("spec", "replicas", to=0)).deployment.replicas.desired == 0
    assert event(changed("spec", "paused", to=True)).deployment.paused


def test_bookmarks_end_the_initial_events_only_with_the_value_true() -> None:
    assert JsonDecoder(Records()).event(bookmark_line(7)) == Bookmark("7", False)
    assert JsonDecoder(Records()).event(bookmark_line(7, initial_events_end="true")) == Bookmark("7", True)
    assert JsonDecoder(Records()).event(bookmark_line(7, initial_events_end="false")) == Bookmark("7", False)


def test_an_error_event_becomes_a_failure() -> None:
    line = error_line(410, "Expired", "too old", causes=[{"reason": "a", "message": "b"}], retryAfterSeconds=3)
    assert JsonDecoder(Records()).event(line) == Failure(410, "Expired", "too old", (("a", "b"),), 3.0)


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
    with pytest.raises(Garbage):
        JsonDecoder(Records()).event(line)


@given(st.binary(max_size=200))
def test_no_line_makes_the_decoder_fail_otherwise(line: bytes) -> None:
    with suppress(Garbage):
        JsonDecoder(Records()).event(line)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner)
    )
)
def test_no_object_makes_the_decoder_fail(item: object) -> None:
    for kind in ("ADDED", "BOOKMARK", "ERROR", "OTHER"):
        JsonDecoder(Records()).event(json.dumps({"type": kind, "object": item}).encode())


def test_what_is_alike_is_shared() -> None:
    decoder = JsonDecoder(Records())
    first, second = (
        decoder.event(event_line("ADDED", deployment(name, 3, desired=2, labels={"team": "a"}))) for name in ("a", "b")
    )
    assert isinstance(first, Event)
    assert isinstance(second, Event)
    one, other = first.deployment, second.deployment
    assert one.replicas is other.replicas
    assert one.labels is other.labels
    assert one.ref.namespace is other.ref.namespace


def test_a_new_version_uses_what_is_held_again() -> None:
    store = Store()
    decoder = JsonDecoder(Records(store.get))
    for version in (1, 2):
        told = decoder.event(event_line("MODIFIED", deployment("web", version, labels={"team": "a"})))
        assert isinstance(told, Event)
        before: Deployment | None = store.get("shop", "web")
        store.put(told.deployment)
        if before is not None:
            assert told.deployment.ref is before.ref
            assert told.deployment.uid is before.uid
            assert told.deployment.labels is before.labels


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
        told.deployment.labels["a"] = "b"  # type: ignore[index]  # that is the point


def test_a_refusal_is_read_from_a_status_or_from_whatever_came() -> None:
    body = json.dumps(status(409, "Conflict", "modified", causes=[{"reason": "r", "message": "m"}])).encode()
    assert failure(body, 409) == Failure(409, "Conflict", "modified", (("r", "m"),))
    assert failure(b"<html>Bad Gateway</html>", 502, 3.0) == Failure(502, "", "Bad Gateway", (), 3.0, foreign=True)
    assert failure(b"", 503).message == "no explanation"


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"kind":"Status"}', b'{"kind":"Scale","metadata":{}}'])
def test_what_is_no_scale_is_garbage(body: bytes) -> None:
    with pytest.raises(Garbage):
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
