"""Idempotency-Key: what is sent again is not done again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from kdm_http.api.dispatch import Answer
from kdm_http.api.errors import BadRequest, Refused
from kdm_http.api.replays import KEPT_S, RECORD_BYTES, Keyed, Replays, key_of
from unit.http.api.v2.staging import ADJUST, REPLICAS, URL, Stage, problem


async def test_a_replayed_key_writes_once_and_gets_the_first_answer(stage: Stage) -> None:
    first = await stage.ask("POST", ADJUST, {"delta": 2}, idempotency_key='"one"')
    again = await stage.ask("POST", ADJUST, {"delta": 2}, idempotency_key='"one"')
    assert (first.status, again.status, again.body) == (200, 200, first.body)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert (stage.web.replicas.desired, stage.repository.stored) == (5, 1)
    assert len(stage.audit.events) == 1


@pytest.mark.parametrize("change", ["body", "query", "condition"])
async def test_the_key_of_another_request_is_422(stage: Stage, change: str) -> None:
    await stage.ask("PUT", REPLICAS, {"replicas": 4}, idempotency_key='"one"')
    body, target = {"replicas": 4}, REPLICAS
    headers: dict[str, Any] = {}
    if change == "body":
        body = {"replicas": 5}
    elif change == "query":
        target = f"{REPLICAS}?dryRun=All"
    else:
        headers = {"if_match": "*"}
    refused = problem(
        await stage.ask("PUT", target, body, idempotency_key='"one"', **headers), 422, "idempotency-key-reused"
    )
    assert refused["written"] is False
    assert stage.web.replicas.desired == 4


async def test_a_key_belongs_to_one_user_one_method_and_one_path(stage: Stage, credentials: Any) -> None:
    bob = await stage.client(identity=credentials.bob)
    other = "/api/v2/namespaces/shop/deployments/api/adjust"
    for client, target in ((None, ADJUST), (bob, ADJUST), (None, other)):
        answer = await stage.ask("POST", target, {"delta": 1}, client=client, idempotency_key='"one"')
        assert (answer.status, answer.headers.get("idempotency-replayed")) == (200, None)
    assert stage.web.replicas.desired == 5


async def test_a_key_whose_first_request_is_under_way_is_409(stage: Stage) -> None:
    stage.repository.hold = True
    client = await stage.client()
    first = asyncio.ensure_future(stage.ask("POST", ADJUST, {"delta": 2}, client=client, idempotency_key='"one"'))
    await stage.repository.arrived.wait()
    answer = await stage.ask("POST", ADJUST, {"delta": 2}, idempotency_key='"one"')
    body = problem(answer, 409, "idempotency-key-in-flight")
    assert (body["written"], body["retryable"], answer.headers["retry-after"]) == (None, True, "1")
    stage.repository.release.set()
    assert (await first).status == 200
    assert stage.web.replicas.desired == 5


async def test_the_retry_after_an_ambiguous_504_adds_no_second_step(stage: Stage) -> None:
    stage.repository.faults.answer_lost = True
    first = await stage.ask("POST", ADJUST, {"delta": 2}, idempotency_key='"one"')
    assert problem(first, 504, "cluster-timeout")["written"] is None
    stage.repository.faults.answer_lost = False
    again = await stage.ask("POST", ADJUST, {"delta": 2}, idempotency_key='"one"')
    assert (again.status, again.body, again.headers["idempotency-replayed"]) == (504, first.body, "true")
    assert stage.web.replicas.desired == 5


async def test_what_was_certainly_not_written_and_may_succeed_is_tried_again(stage: Stage) -> None:
    stage.repository.faults.overloaded = True
    problem(await stage.ask("POST", ADJUST, {"delta": 2}, idempotency_key='"one"'), 503, "cluster-overloaded")
    stage.repository.faults.overloaded = False
    assert (await stage.ask("POST", ADJUST, {"delta": 2}, idempotency_key='"one"')).status == 200
    assert stage.web.replicas.desired == 5


async def test_a_refusal_is_given_again(stage: Stage) -> None:
    first = await stage.ask("PUT", REPLICAS, {"replicas": 4, "currentReplicas": 9}, idempotency_key='"one"')
    again = await stage.ask("PUT", REPLICAS, {"replicas": 4, "currentReplicas": 9}, idempotency_key='"one"')
    problem(first, 409, "write-conflict")
    assert (again.status, again.body) == (409, first.body)


async def test_a_client_that_leaves_in_the_middle_of_a_write_finds_its_answer(stage: Stage) -> None:
    stage.repository.hold = True
    client = await stage.client()
    await client.handshake()
    head = f"POST {ADJUST} HTTP/1.1\r\nhost: kdm\r\ncontent-type: application/json\r\ncontent-length: 12\r\n"
    await client.send(f'{head}idempotency-key: "one"\r\n\r\n{{"delta": 2}}'.encode())
    await stage.repository.arrived.wait()
    await client.close()
    await stage.server.events.until_open(0)
    stage.repository.release.set()
    while (again := await stage.ask("POST", ADJUST, {"delta": 2}, idempotency_key='"one"')).status == 409:
        pass
    assert (again.status, again.headers["idempotency-replayed"]) == (200, "true")
    assert again.json["replicas"] == {"previous": 3, "desired": 5}
    assert stage.repository.stored == 1


async def test_a_key_on_a_read_has_no_meaning(stage: Stage) -> None:
    assert (await stage.ask("GET", URL, idempotency_key='"one"')).status == 200


@pytest.mark.parametrize("key", ['""', "", '"' + "x" * 257 + '"', '"a" "b"', "ä"])
async def test_a_key_that_is_none_is_400_and_nothing_is_written(stage: Stage, key: str) -> None:
    problem(await stage.ask("POST", ADJUST, {"delta": 2}, idempotency_key=key), 400, "invalid-request")
    assert stage.repository.stored == 0


def test_a_key_is_a_string_in_quotes_or_without() -> None:
    assert key_of([b'"8e03978e-40d5"']) == key_of([b"8e03978e-40d5"]) == "8e03978e-40d5"
    assert key_of([]) is None
    with pytest.raises(BadRequest):
        key_of([b'"a"', b'"b"'])


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def answering(body: bytes = b"{}", status: int = 200) -> Callable[[], Awaitable[Answer]]:
    async def write() -> Answer:
        return Answer(status, b"", body)

    return write


def keyed(user: str, key: str) -> Keyed:
    return Keyed(user, "PUT", "/x", key, b"fingerprint")


async def is_replayed(replays: Replays, user: str, key: str) -> bool:
    answer = await replays.answer(keyed(user, key), answering())
    return b"replayed" in answer.head


async def test_an_answer_is_kept_for_15_minutes() -> None:
    clock = Clock()
    replays = Replays(clock)
    await replays.answer(keyed("alice", "one"), answering())
    clock.now = KEPT_S - 1
    assert await is_replayed(replays, "alice", "one")
    clock.now = KEPT_S + 1
    assert not await is_replayed(replays, "alice", "one")


async def test_one_user_cannot_push_out_what_is_kept_for_others() -> None:
    replays = Replays(Clock(), max_records=20)
    for number in range(3):
        await replays.answer(keyed("alice", str(number)), answering())
    for number in range(200):
        await replays.answer(keyed("mallory", str(number)), answering())
    assert len(replays) == 20
    assert [await is_replayed(replays, "alice", str(number)) for number in range(3)] == [True] * 3
    assert await is_replayed(replays, "mallory", "199")


async def test_what_is_kept_is_bounded_in_bytes() -> None:
    replays = Replays(Clock(), max_bytes=10 * RECORD_BYTES)
    for number in range(100):
        await replays.answer(keyed("alice", str(number)), answering(b"x" * RECORD_BYTES))
    assert 0 < len(replays) < 6


async def test_what_expired_goes_even_of_users_who_never_come_back() -> None:
    clock = Clock()
    replays = Replays(clock)
    for number in range(50):
        await replays.answer(keyed(f"user-{number}", "one"), answering())
    clock.now = KEPT_S + 1
    for number in range(60):
        await replays.answer(keyed("alice", str(number)), answering())
    assert len(replays) == 60


@pytest.mark.parametrize(
    ("status", "written", "retryable", "kept"),
    [
        (504, None, True, True),
        (503, True, True, True),
        (503, False, True, False),
        (409, False, True, False),
        (409, False, False, True),
        (403, False, False, True),
        (400, False, False, False),
        (500, None, False, True),
    ],
)
async def test_which_errors_are_kept(status: int, written: bool | None, retryable: bool, kept: bool) -> None:
    replays = Replays(Clock())
    body = msgspec.json.encode({"written": written, "retryable": retryable})
    await replays.answer(keyed("alice", "one"), answering(body, status))
    assert await is_replayed(replays, "alice", "one") == kept


async def test_clients_that_leave_cannot_pile_up_writes_without_end() -> None:
    replays = Replays(Clock(), max_under_way=3)
    release = asyncio.Event()

    async def write() -> Answer:
        await release.wait()
        return Answer(200, b"", b"{}")

    left = [asyncio.ensure_future(replays.answer(keyed("mallory", str(number)), write)) for number in range(3)]
    await asyncio.sleep(0)
    for each in left:
        each.cancel()
    await asyncio.wait(left)
    with pytest.raises(Refused, match="more than 3") as caught:
        await replays.answer(keyed("mallory", "more"), write)
    assert (caught.value.status, caught.value.written) == (429, False)
    await replays.answer(keyed("alice", "one"), answering())
    release.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not await is_replayed(replays, "mallory", "more")


async def test_a_write_goes_on_and_is_kept_when_nobody_waits_for_it() -> None:
    replays = Replays(Clock())
    entered, release = asyncio.Event(), asyncio.Event()

    async def write() -> Answer:
        entered.set()
        await release.wait()
        return Answer(200, b"", b"{}")

    waiting = asyncio.ensure_future(replays.answer(keyed("alice", "one"), write))
    await entered.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(Refused, match="under way"):
        await replays.answer(keyed("alice", "one"), answering())
    release.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await is_replayed(replays, "alice", "one")
