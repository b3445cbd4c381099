"""What can be asked for with watch=true, and what is refused: before the stream begins, in the form of any error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kdm_core import Verb
from kdm_http.api.stream.streams import StreamLimits
from unit.core.fixtures import grant, policy
from unit.http.api.stream.streaming import API, JOB, WEB

LIST = "/api/v2/deployments"
SHOP = "/api/v2/namespaces/shop/deployments"


@pytest.mark.parametrize(
    ("target", "status", "code", "detail"),
    [
        (f"{LIST}?watch=yes", 400, "invalid-request", "watch: must be true or false"),
        (f"{LIST}?watch=true&watch=true", 400, "invalid-request", "more than once"),
        (f"{LIST}?watch=true&limit=5", 400, "invalid-request", "limit: has no meaning beside watch=true"),
        (f"{LIST}?watch=true&continue=x", 400, "invalid-request", "continue: has no meaning"),
        (f"{LIST}?watch=true&resourceVersion=5", 400, "invalid-request", "resourceVersion: has no meaning"),
        (f"{LIST}?watch=true&namespace=shop", 400, "invalid-request", "unknown query parameter 'namespace'"),
        (f"{LIST}?watch=true&labelSelector=tier%3D%3D%3Dweb", 400, "invalid-selector", ""),
        (f"{LIST}?watch=true&state=asleep", 400, "invalid-request", "state: must be one or more of"),
        ("/api/v2/namespaces/No_Such/deployments?watch=true", 400, "invalid-name", ""),
        (f"{SHOP}?watch=true", 403, "forbidden", ""),
    ],
)
async def test_what_cannot_be_streamed_is_refused_before_it_begins(
    target: str, status: int, code: str, detail: str, stage: Any, connect: Any
) -> None:
    running = await stage(policy=policy(grant("alice", Verb.READ, namespaces="batch")))
    client = await connect(running.server)
    answer = await client.request(target)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert detail in answer.json["detail"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert running.metric("kdm_streams_opened_total") == 0


async def test_before_the_first_sync_there_is_nothing_to_stream(stage: Any, connect: Any) -> None:
    running = await stage()
    running.repository.faults.not_synced = True
    client = await connect(running.server)
    answer = await client.request(f"{LIST}?watch=true")
    assert (answer.status, answer.json["code"]) == (503, "cache-not-synced")
    assert "retry-after" in answer.headers


async def test_watch_false_is_a_list(stage: Any, connect: Any) -> None:
    client = await connect((await stage()).server)
    answer = await client.request(f"{LIST}?watch=false")
    assert len(answer.json["items"]) == 3


async def test_a_state_narrows_it(stage: Any, open_stream: Any) -> None:
    running = await stage()
    stream = await open_stream(running, f"{SHOP}?watch=true&state=settled,paused")
    await stream.until("synced")
    assert stream.state == {}
    running.repository.cluster.settle(WEB)
    assert (await stream.until("added")).json["rollout"]["state"] == "settled"
    running.repository.cluster.scale(WEB, 9)
    assert (await stream.until("deleted")).json["name"] == "web"


async def test_an_event_shows_a_deployment_as_reading_it_does(stage: Any, open_stream: Any, connect: Any) -> None:
    running = await stage()
    stream, client = await open_stream(running), await connect(running.server)
    await stream.until("synced")
    assert stream.state["shop", "api"] == (await client.request(f"{SHOP}/api")).json
    running.repository.cluster.scale(API, 6)
    event = await stream.until_shown(API, 6)
    assert event.json == (await client.request(f"{SHOP}/api")).json


async def test_head_says_what_a_stream_would_and_opens_none(stage: Any, connect: Any) -> None:
    running = await stage()
    client = await connect(running.server)
    await client.handshake()
    await client.send(f"HEAD {LIST}?watch=true HTTP/1.1\r\nhost: kdm\r\n\r\n".encode())
    answer = await client.response()
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    assert (await client.request(LIST)).status == 200
    assert running.metric("kdm_streams_opened_total") == 0


async def test_http_1_0_gets_no_stream(stage: Any, connect: Any) -> None:
    client = await connect((await stage()).server)
    await client.handshake()
    await client.send(f"GET {LIST}?watch=true HTTP/1.0\r\n\r\n".encode())
    answer = await client.response()
    assert (answer.status, answer.json["detail"]) == (400, "watch: a stream needs HTTP/1.1")


async def test_every_answer_has_its_request_s_id_and_no_field_twice(stage: Any, open_stream: Any) -> None:
    stream = await open_stream(await stage())
    assert stream.headers["x-request-id"]
    assert stream.headers["x-content-type-options"] == "nosniff"
    assert stream.headers["cache-control"] == "no-store"


async def test_streams_are_no_requests_to_the_request_metrics(stage: Any, open_stream: Any, connect: Any) -> None:
    running = await stage(streams=StreamLimits(total=1, per_user=1))
    stream = await open_stream(running)
    await stream.until("synced")
    stream.cut()
    await running.server.events.until_open(0)
    client = await connect(running.server)
    await client.request(f"{LIST}?watch=true&limit=1")
    labels = {"dialect": "v2", "method": "GET", "route": LIST}
    assert running.registry.get_sample_value("kdm_http_requests_total", {**labels, "status": "200"}) is None
    assert running.registry.get_sample_value("kdm_http_request_duration_seconds_count", labels) == 1
    assert running.metric("kdm_http_requests_total", **labels, status="400") == 1
    assert running.metric("kdm_streams_opened_total") == 1
    assert running.metric("kdm_stream_events_total", event="present") == 3


async def test_too_many_are_problems_with_the_time_to_try_again(stage: Any, open_stream: Any, connect: Any) -> None:
    running = await stage(streams=StreamLimits(total=1, per_user=1))
    await open_stream(running)
    client = await connect(running.server)
    answer = await client.request(f"{LIST}?watch=true")
    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (429, "too-many-streams", "5")
    assert json.loads(answer.body)["retryable"] is True


async def test_a_second_request_on_the_connection_is_answered_after_the_stream(stage: Any, open_stream: Any) -> None:
    running = await stage(policy=policy(grant("alice", Verb.READ)))
    stream = await open_stream(running)
    await stream.until("synced")
    await stream.client.send(f"GET {LIST} HTTP/1.1\r\nhost: kdm\r\n\r\n".encode())
    running.repository.cluster.scale(WEB, 9)
    await stream.until_shown(WEB, 9)
    running.service.policy = policy(grant("bob", Verb.READ))
    assert (await stream.until("closing")).json == {"reason": "forbidden"}
    with pytest.raises(EOFError):
        await stream.next()
    assert (await stream.client.response()).status == 403


async def test_how_far_the_cluster_has_been_seen_is_said_at_once_where_that_is_asked_for(
    stage: Any, open_stream: Any
) -> None:
    served = await stage()
    stream = await open_stream(served, "/api/v2/namespaces/shop/deployments?watch=true&allowWatchBookmarks=true")
    synced = (await stream.until("synced")).json
    assert (synced["stale"], synced["connected"]) == (False, True)
    served.repository.cluster.scale(JOB, 7)  # in another namespace: the version moves, and nothing is shown
    version = str(served.repository.cluster.version)
    while (await stream.until("bookmark")).json["resourceVersion"] != version:
        pass
    assert {"added", "modified", "deleted"}.isdisjoint(stream.kinds)


async def test_more_bookmarks_have_no_meaning_without_a_stream(stage: Any, connect: Any) -> None:
    client = await connect((await stage()).server)
    answer = await client.request("/api/v2/deployments?allowWatchBookmarks=true")
    assert (answer.status, answer.json["code"]) == (400, "invalid-request")
