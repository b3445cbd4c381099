"""Changes announced as Kubernetes Events: what they say, what they cost, and that nothing waits for them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from kdm_adapters.kubernetes.api.client import ApiError, Patch
from kdm_adapters.kubernetes.events import BURST, NOTE_BYTES, QUEUED, REFILL_S, EventAnnouncer, event_of, note_of
from kdm_adapters.kubernetes.wire.messages import Failure
from kdm_core import CountChange, DeploymentRef, EventInstrument

CHANGE = CountChange(
    DeploymentRef("shop", "web"), "uid-1", 1000, 3, 5, "kdm", "alice", "sale", "request-1", resource_version="48250"
)


class Counted(EventInstrument):
    def __init__(self) -> None:
        self.announced = 0
        self.dropped: list[str] = []

    def event_announced(self) -> None:
        self.announced += 1

    def event_dropped(self, reason: str) -> None:
        self.dropped.append(reason)


class Server:
    """Stands where the client is: takes requests, or refuses them."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.refusals: list[int] = []
        self.stopped = asyncio.Event()
        self.stopped.set()

    async def request(self, verb: str, method: str, path: str, *, patch: Patch, timeout_s: float) -> bytes:
        await self.stopped.wait()
        assert (verb, method, path) == ("create", "POST", "/apis/events.k8s.io/v1/namespaces/shop/events")
        assert timeout_s > 0
        if self.refusals:
            raise ApiError(Failure(self.refusals.pop(0), "Refused", "not now"))
        assert isinstance(patch.content, dict)
        self.events.append(json.loads(json.dumps(patch.content)))
        return b"{}"

    async def close(self) -> None:
        pass


class Stage:
    def __init__(self) -> None:
        self.now = 0.0
        self.counted = Counted()
        self.server = Server()
        self.slept: list[float] = []
        self.announcer = EventAnnouncer(
            self.server,  # type: ignore[arg-type] # it has what is asked for
            instance="kdm-0",
            instrument=self.counted,
            clock=lambda: self.now,
            wall=lambda: 1000.25,
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def sent(self) -> None:
        """Let it send all that waits."""
        while self.announcer._queue:  # noqa: ASYNC110 - it sends at its own pace
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)


async def test_an_event_says_who_scaled_what_from_where_to_where_and_why() -> None:
    stage = Stage()
    async with stage.announcer:
        stage.announcer.announce(CHANGE)
        await stage.sent()
    (event,) = stage.server.events
    assert event["note"] == "alice scaled it from 3 to 5: sale"
    assert event["regarding"] == {
        "apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web", "uid": "uid-1",
    }  # fmt: skip
    assert (event["action"], event["reason"], event["type"]) == ("Scale", "ScaledByKdm", "Normal")
    assert (event["reportingController"], event["reportingInstance"]) == ("kdm", "kdm-0")
    assert event["eventTime"] == "1970-01-01T00:16:40.250000Z"
    assert event["metadata"]["name"].startswith("web.")
    assert stage.counted.announced == 1


async def test_a_busy_deployment_is_held_to_a_burst_and_a_trickle_and_others_are_not() -> None:
    stage = Stage()
    async with stage.announcer:
        for _ in range(BURST + 10):
            stage.announcer.announce(CHANGE)
        stage.announcer.announce(evolve(CHANGE, uid="uid-2"))
        await stage.sent()
        assert len(stage.server.events) == BURST + 1
        assert stage.counted.dropped == ["rate"] * 10
        stage.now += REFILL_S
        stage.announcer.announce(CHANGE)
        stage.announcer.announce(CHANGE)
        await stage.sent()
    assert len(stage.server.events) == BURST + 2
    assert stage.server.events[-1]["note"] == (
        "alice scaled it from 3 to 5, after 10 changes that were not announced: sale"
    )


async def test_a_cluster_that_stands_still_costs_a_bounded_queue_and_no_wait() -> None:
    stage = Stage()
    stage.server.stopped.clear()
    async with stage.announcer:
        for number in range(QUEUED + 5):
            stage.announcer.announce(evolve(CHANGE, uid=f"uid-{number}"))
        assert stage.counted.dropped == ["queue"] * 5
    assert stage.counted.dropped[5:] == ["stopped"] * QUEUED


@pytest.mark.parametrize("code", [403, 404, 422])
async def test_what_is_refused_is_dropped_counted_and_logged_once(code: int, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.server.refusals = [code, code]
    async with stage.announcer:
        for _ in range(3):
            stage.announcer.announce(CHANGE)
        await stage.sent()
    assert stage.counted.dropped == ["refused", "refused"]
    assert stage.counted.announced == 1
    assert len([each for each in caplog.records if "cannot be announced" in each.message]) == 1
    assert stage.slept == []


async def test_what_is_not_answered_is_tried_again_under_the_same_name() -> None:
    stage = Stage()
    stage.server.refusals = [0, 409]
    async with stage.announcer:
        stage.announcer.announce(CHANGE)
        await stage.sent()
        assert (stage.counted.announced, stage.counted.dropped) == (1, []), "it had arrived the first time"
        stage.server.refusals = [0, 503, 0]
        stage.announcer.announce(CHANGE)
        await stage.sent()
    assert stage.counted.dropped == ["failed"]
    assert stage.slept == [10.0, 10.0, 10.0]


words = st.text(max_size=300)


@given(words, words, st.integers(0, 10**9), st.integers(0, 2**31))
def test_a_note_is_one_line_of_at_most_1024_bytes_whatever_it_is_made_of(
    actor: str, reason: str, held_back: int, count: int
) -> None:
    change = evolve(CHANGE, actor=actor, reason=reason, previous=None, desired=count)
    note = note_of(change, held_back)
    assert len(note.encode()) <= NOTE_BYTES
    assert note.isprintable()


@given(st.from_regex(r"[a-z]([-a-z0-9]{0,60}[a-z0-9])?(\.[a-z]([-a-z0-9]{0,60}[a-z0-9])?){0,3}", fullmatch=True))
def test_its_name_is_one_whatever_the_deployment_is_called(name: str) -> None:
    event: Any = event_of(evolve(CHANGE, ref=DeploymentRef("shop", name[:253].rstrip("-."))), 0, 2e9, "kdm-0")
    DeploymentRef.parse("shop", event["metadata"]["name"])
    other: Any = event_of(evolve(CHANGE, resource_version="48251"), 0, 2e9, "kdm-0")
    assert other["metadata"]["name"] != event["metadata"]["name"]
