"""Events as EventSource reads them: the reader is written from the HTML standard, the writer is kdm's."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from kdm_core import ALLOW_ALL, Deployment, DeploymentRef, Identity, LabelSelector, Query, ReplicaStatus
from kdm_http.api.stream import frames
from kdm_http.api.stream.ring import Held, Ring, Step
from kdm_http.api.stream.view import View
from unit.http.api.stream.event_source import EventSource


class TestTheReader:
    """What the standard has examples or rules for, so that the tests of streams rest on something."""

    def test_the_examples_of_the_standard(self) -> None:
        text = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"
        events = EventSource().feed(text)
        assert [(each.data, each.last_event_id) for each in events] == [
            ("first event", "1"),
            ("second event", ""),
            (" third event", ""),
        ]
        assert [each.data for each in EventSource().feed(b"data\n\ndata\ndata\n\ndata:")] == ["", "\n"]
        assert [each.data for each in EventSource().feed(b"data: YHOO\ndata: +2\ndata: 10\n\n")] == ["YHOO\n+2\n10"]

    def test_every_line_end_is_one(self) -> None:
        for end in (b"\n", b"\r\n", b"\r"):
            events = EventSource().feed(end.join([b"data: a", b"id: 7", b"", b"data: b", b"", b":", b""]))
            assert [(each.data, each.last_event_id) for each in events] == [("a", "7"), ("b", "7")]

    def test_an_id_with_a_nul_and_a_retry_that_is_no_number_are_ignored(self) -> None:
        source = EventSource()
        source.feed(b"id: 1\0\nretry: 1s\ndata: x\n\n")
        assert (source.last_event_id, source.retry_ms) == ("", None)
        source.feed(b"retry: 1500\n\n")
        assert source.retry_ms == 1500

    def test_what_was_not_ended_by_a_blank_line_is_lost_with_its_connection(self) -> None:
        source = EventSource()
        assert source.feed(b"id: 5\ndata: x\n\nid: 6\ndata: y\n")[0].data == "x"
        source.reconnect()
        assert source.last_event_id == "5"
        assert source.feed(b"data: z\n\n")[0].last_event_id == "5"


@given(st.dictionaries(st.text(), st.text()), st.sampled_from(frames.NAMES), st.binary(max_size=3))
def test_whatever_an_event_has_in_it_arrives_as_it_was(content: dict[str, str], name: bytes, cut: bytes) -> None:
    source = EventSource()
    data = frames.event(name, json.dumps(content).encode(), b"0a1b2c3d-5-0123456789abcdef")
    at = len(data) * len(cut) // 3
    events = [*source.feed(data[:at]), *source.feed(data[at:] + frames.COMMENT)]
    assert [(each.type, each.json) for each in events] == [(name.decode(), content)]
    assert source.last_event_id == "0a1b2c3d-5-0123456789abcdef"


def test_an_empty_id_has_a_client_forget_the_last_one() -> None:
    source = EventSource()
    source.feed(frames.event(frames.SYNCED, b"{}", b"1") + frames.event(frames.RESET, b"{}", b""))
    assert source.last_event_id == ""


def held(name: str, **labels: str) -> Held:
    return Held(Deployment(DeploymentRef("shop", name), "u", "1", 1, 1, ReplicaStatus(1), labels=labels))


def test_a_change_is_encoded_once_for_all_who_see_it() -> None:
    encoded: list[str] = []

    def encode(deployment: Deployment) -> bytes:
        encoded.append(deployment.ref.name)
        return b"{}"

    ring = Ring(8, 10**6)
    views = [View(b"0a1b2c3d", Identity(user), Query(), ALLOW_ALL, encode) for user in ("alice", "bob", "carol")]
    ring.append(Step(None, held("web")))
    assert len({each.batch(ring, 0, ring.head).data for each in views}) == 3, "each has ids of its own"
    assert encoded == ["web"]


def test_a_ring_keeps_what_fits_and_knows_what_it_keeps() -> None:
    ring = Ring(4, 100)
    for number in range(1, 11):
        ring.append(Step(None, held(f"d{number}"), 30))
        assert ring.head == number
        assert ring.head - ring.floor <= 3, "by bytes"
        after = ring[ring.head].after
        assert after is not None
        assert after.deployment.ref.name == f"d{number}"
    ring.append(Step(None, held("large"), 1000))
    assert ring.floor == ring.head == 11, "one that does not fit at all is kept for nobody"
    ring.append(Step(None, held("small"), 1))
    assert (ring.floor, ring.head) == (11, 12)


def test_a_cursor_is_one_of_its_view_and_process_alone() -> None:
    def view(instance: bytes, user: str, selector: str = "", groups: frozenset[str] = frozenset()) -> View:
        return View(instance, Identity(user, groups), Query(selector=LabelSelector.parse(selector)), ALLOW_ALL, repr)  # type: ignore[arg-type]

    mine = view(b"0a1b2c3d", "alice")
    cursor = mine.cursor(7)
    assert mine.number(cursor) == 7
    assert view(b"0a1b2c3d", "alice").number(cursor) == 7
    for other in (
        view(b"99999999", "alice"),
        view(b"0a1b2c3d", "bob"),
        view(b"0a1b2c3d", "alice", "tier=web"),
        view(b"0a1b2c3d", "alice", groups=frozenset({"ops"})),
    ):
        assert other.number(cursor) is None
    for garbled in (b"", b"7", cursor + b"0", cursor[:-1], cursor.upper(), cursor.replace(b"-7-", b"-07-"), b"\xff"):
        assert mine.number(garbled) is None
