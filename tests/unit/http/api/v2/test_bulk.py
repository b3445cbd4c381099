"""Many Deployments at once over the wire: the plan, the same plan done, progress, and clients that leave."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from kdm_core import DeploymentRef, DeploymentService
from kdm_http.api.app import create_app
from kdm_http.api.progress import wants_events
from kdm_http.server.limits import Limits
from unit.core.fixtures import turns
from unit.http.api.stream.event_source import EventSource
from unit.http.api.v2.staging import WEB, Stage, problem
from unit.http.client import Client

SCALE = "/api/v2/scale"
SHOP: dict[str, Any] = {"select": {"namespace": "shop", "all": True}}
EVENTS = {"accept": "text/event-stream"}


def counts(stage: Stage) -> dict[str, int]:
    return {each.ref.name: each.replicas.desired for each in stage.cluster.deployments.values()}


def events(body: bytes) -> list[tuple[str, Any]]:
    """Read server-sent events."""
    return [(each.type, each.json) for each in EventSource().feed(body)]


def nested(depth: int) -> Any:
    """Return objects within objects."""
    return {"a": nested(depth - 1)} if depth else {}


def dechunked(body: bytes) -> bytes:
    """Return the content of a chunked body (RFC 9112, section 7.1)."""
    content = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        content += rest[: int(size, 16)]
        body = rest[int(size, 16) + 2 :]
    return content


async def begin(stage: Stage, target: str, body: object, **headers: str) -> Client:
    """Send a request over a connection of its own, which closes after the answer."""
    client = await stage.client()
    await client.handshake()
    content = json.dumps(body)
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    await client.send(
        f"POST {target} HTTP/1.1\r\nhost: kdm\r\nconnection: close\r\ncontent-type: application/json\r\n{lines}"
        f"content-length: {len(content)}\r\n\r\n{content}".encode()
    )
    return client


async def streamed(stage: Stage, target: str, body: object, **headers: str) -> tuple[str, list[tuple[str, Any]]]:
    """Ask for progress, and return the answer's head and events."""
    client = await begin(stage, target, body, accept="text/event-stream", **headers)
    head, _, rest = (await client.rest()).partition(b"\r\n\r\n")
    return head.decode(), events(dechunked(rest))


async def test_a_plan_is_shown_and_then_done_exactly(stage: Stage) -> None:
    asked = SHOP | {"delta": 2, "reason": "sale"}
    plan = await stage.ask("POST", f"{SCALE}?dryRun=All", asked)
    assert plan.status == 200
    assert [(each["name"], each["from"], each["to"], each["outcome"]) for each in plan.json["items"]] == [
        ("api", 8, 10, "planned"), ("web", 3, 5, "planned"),
    ]  # fmt: skip
    assert plan.headers["etag"] == f'"{plan.json["plan"]}"'
    assert counts(stage)["web"] == 3
    done = await stage.ask("POST", SCALE, asked, If_Match=plan.headers["etag"])
    assert (done.status, done.json["summary"]["changed"]) == (200, 2)
    assert [each["written"] for each in done.json["items"]] == [True, True]
    assert (counts(stage)["api"], counts(stage)["web"]) == (10, 5)
    again = await stage.ask("POST", SCALE, asked, If_Match=plan.headers["etag"])
    assert problem(again, 412, "plan-changed")["written"] is False
    assert {each.batch for each in stage.audit.events} >= {plan.json["batch"], done.json["batch"]}
    assert {each.change_reason for each in stage.audit.events} == {"sale"}


async def test_what_is_refused_is_named_and_nothing_is_written(stage: Stage) -> None:
    version = stage.cluster.version
    items = [{"namespace": "shop", "name": "web"}, {"namespace": "kube", "name": "dns"}]
    body = problem(await stage.ask("POST", SCALE, {"items": items, "replicas": 1}), 422, "bulk-refused")
    assert (body["written"], body["total"]) == (False, 2)
    assert [(each["namespace"], each["name"], each["error"]["code"]) for each in body["items"]] == [
        ("kube", "dns", "forbidden")
    ]
    assert stage.cluster.version == version
    answer = await stage.ask("POST", SCALE, {"items": items, "replicas": 1, "onError": "continue"})
    assert answer.status == 207
    assert [each["outcome"] for each in answer.json["items"]] == ["done", "refused"]
    assert answer.json["items"][1]["error"]["type"] == "/problems/forbidden"


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ({}, "invalid-request", "exactly one of select and items"),
        ({"select": {}, "replicas": 0}, "invalid-query", "all: true"),
        ({"select": {"namespace": "shop"}, "replicas": 0}, "invalid-query", "all: true"),
        ({"select": {"labelSelector": ""}, "replicas": 0}, "invalid-request", "must not be empty"),
        ({"select": {"labelSelector": " "}, "replicas": 0}, "invalid-request", "must not be empty"),
        ({"select": {"namespace": "", "all": True}, "replicas": 0}, "invalid-request", "must not be empty"),
        ({"select": {"namespace": "*", "all": True}, "replicas": 0}, "invalid-name", "DNS-1123"),
        ({"select": {"labelSelector": "a=b", "all": True}, "replicas": 0}, "invalid-query", "exclude each other"),
        ({"select": {"labelSelector": "a in b"}, "replicas": 0}, "invalid-selector", "label selector"),
        ({"select": {"all": "yes"}, "replicas": 0}, "invalid-request", "Expected `bool`"),
        ({"select": {"all": True, "namespaces": "a"}, "replicas": 0}, "invalid-request", "namespaces"),
        ({"select": {"all": True}, "item": [], "replicas": 0}, "invalid-request", "unknown field 'item'"),
        ({"select": {"all": True}}, "invalid-request", "one of replicas"),
        ({"select": {"all": True}, "replicas": 0, "delta": 1}, "invalid-request", "exclude each other"),
        ({"select": {"all": True}, "replicas": 1, "min": 1}, "invalid-request", "only with delta or factor"),
        ({"select": {"all": True}, "replicas": 1.5}, "invalid-request", "Expected `int"),
        ({"select": {"all": True}, "replicas": -1}, "invalid-replicas", "0 to"),
        ({"select": {"all": True}, "factor": 0}, "invalid-change", "say replicas 0"),
        ({"select": {"all": True}, "factor": "2"}, "invalid-request", "not a string"),
        ({"select": {"all": True}, "factor": True}, "invalid-request", "Expected"),
        ({"select": {"all": True}, "factor": 1.0000001}, "invalid-change", "6 decimal places"),
        ({"select": {"all": True}, "park": False}, "invalid-request", "must be true or"),
        ({"select": {"all": True}, "park": {"parkid": "x"}}, "invalid-request", "parkid"),
        ({"items": [], "replicas": 1}, "invalid-query", "must not be empty"),
        ({"items": [{"namespace": "a", "name": "b"}]}, "invalid-request", "items[0]: one of"),
        ({"items": [{"namespace": "a", "name": "b", "delta": 1}], "replicas": 1}, "invalid-request", "leave one out"),
        ({"items": [{"namespace": "a", "name": "b", "dleta": 1}]}, "invalid-request", "dleta"),
        ({"items": [{"name": "b"}], "replicas": 1}, "invalid-request", "namespace"),
        ({"items": [{"namespace": "a", "name": "b"}] * 2, "replicas": 1}, "invalid-query", "more than once"),
        ({"select": {"all": True}, "replicas": 1, "onError": "ignore"}, "invalid-request", "onError"),
        ({"select": {"all": True}, "replicas": 1, "reason": "a\nb"}, "invalid-change", "one line"),
        ({"select": {"labelSelector": "a=\ud800"}, "replicas": 1}, "invalid-request", "half a surrogate pair"),
        ({"select": {"\ud800": "a"}, "replicas": 1}, "invalid-request", "half a surrogate pair"),
        ({"select": nested(300), "replicas": 1}, "invalid-request", "Object contains unknown field"),
        ({"select": {"all": True}, "replicas": 10**400}, "invalid-replicas", "0 to"),
        ({"select": {"all": True}, "factor": 10**400}, "invalid-change", "at most 1000"),
    ],
)
async def test_a_mistake_writes_nothing_and_says_what_it_is(stage: Stage, body: Any, code: str, says: str) -> None:
    version = stage.cluster.version
    found = problem(await stage.ask("POST", SCALE, body), 400, code)
    assert says in found["detail"]
    assert found["written"] is False
    assert stage.cluster.version == version


async def test_names_that_nothing_can_have_are_one_short_line_in_the_error(stage: Stage) -> None:
    odd = {"namespace": "shop", "name": "a\nb\x1b[2J" + "x" * 9000}
    refused = problem(await stage.ask("POST", SCALE, {"items": [odd], "replicas": 1}), 422, "bulk-refused")
    twice = problem(await stage.ask("POST", SCALE, {"items": [odd, odd], "replicas": 1}), 400, "invalid-query")
    for each in (refused, twice):
        assert each["detail"].isprintable()
        assert len(each["detail"]) < 1000


@pytest.mark.parametrize("number", ["1e9999999999999999999", "1e-9999999999999999999", "9" * 5000])
async def test_a_number_that_nothing_can_hold_is_a_mistake_and_no_internal_error(stage: Stage, number: str) -> None:
    client = await stage.client()
    await client.handshake()
    body = b'{"select":{"all":true},"factor":%b}' % number.encode()
    answer = await client.request(SCALE, method="POST", body=body, headers="content-type: application/json\r\n")
    found = problem(answer, 400, "invalid-request")
    assert (found["written"], "out of all bounds" in found["detail"]) == (False, True)


async def test_conditions_that_mean_nothing_are_refused(stage: Stage) -> None:
    asked = SHOP | {"replicas": 1}
    conditions: list[dict[str, Any]] = [{"If_Match": "*"}, {"If_Match": "no-quotes"}, {"If_None_Match": '"x"'}]
    for field in conditions:
        problem(await stage.ask("POST", SCALE, asked, **field), 400, "invalid-request")
    problem(await stage.ask("POST", SCALE, asked, If_Match='W/"x"'), 412, "plan-changed")
    problem(await stage.ask("POST", f"{SCALE}?dryrun=All", asked), 400, "invalid-request")


async def test_nothing_selected_is_an_answer_that_says_so(stage: Stage) -> None:
    answer = await stage.ask("POST", SCALE, {"select": {"labelSelector": "app=nowhere"}, "replicas": 0})
    assert (answer.status, answer.json["items"]) == (200, [])
    assert "nothing is selected" in answer.json["warnings"][0]


async def test_more_than_500_are_refused_with_the_number(stage: Stage) -> None:
    for index in range(501):
        stage.cluster.create(DeploymentRef("batch", f"d-{index}"), 1, labels={"many": "yes"})
    body = problem(
        await stage.ask("POST", SCALE, {"select": {"labelSelector": "many=yes"}, "replicas": 0}), 422, "bulk-too-large"
    )
    assert (body["total"], body["bounds"]["max"], body["written"]) == (501, 500, False)
    assert (await stage.ask("GET", "/api/v2")).json["limits"]["maxBulkItems"] == 500


async def test_the_same_key_gets_the_first_answer_and_writes_nothing_twice(stage: Stage) -> None:
    asked = SHOP | {"delta": 1}
    first = await stage.ask("POST", SCALE, asked, Idempotency_Key="k-1")
    stored = stage.repository.stored
    again = await stage.ask("POST", SCALE, asked, Idempotency_Key="k-1")
    assert (again.body, again.headers["idempotency-replayed"]) == (first.body, "true")
    assert stage.repository.stored == stored
    head, shown = await streamed(stage, SCALE, asked, Idempotency_Key="k-1")
    assert "idempotency-replayed: true" in head
    assert shown == [("done", first.json)]
    problem(await stage.ask("POST", SCALE, SHOP | {"delta": 2}, Idempotency_Key="k-1"), 422, "idempotency-key-reused")


async def test_a_namespace_is_parked_and_restored(stage: Stage) -> None:
    before = counts(stage)
    parked = await stage.ask("POST", SCALE, SHOP | {"park": {"parkId": "night"}, "reason": "night"})
    assert (parked.status, [each["to"] for each in parked.json["items"]]) == (200, [0, 0])
    restore = SHOP | {"restore": {"parkId": "night"}}
    plan = await stage.ask("POST", f"{SCALE}?dryRun=All", restore)
    assert [(each["from"], each["to"]) for each in plan.json["items"]] == [(0, 8), (0, 3)]
    assert (await stage.ask("POST", SCALE, restore, If_Match=plan.headers["etag"])).status == 200
    assert counts(stage) == before


class TestProgress:
    async def test_each_item_is_shown_as_it_is_written_and_as_its_rollout_ends(self, stage: Stage) -> None:
        head, shown = await streamed(stage, f"{SCALE}?wait=30s", SHOP | {"delta": 1})
        assert "content-type: text/event-stream" in head
        (first, begun), *steps, (last, done) = shown
        assert (first, begun["total"], begun["changing"]) == ("started", 2, 2)
        assert sorted((name, each["name"]) for name, each in steps) == [
            ("item", "api"), ("item", "web"), ("rollout", "api"), ("rollout", "web"),
        ]  # fmt: skip
        assert (last, done["batch"]) == ("done", begun["batch"])
        assert {each["rollout"]["outcome"] for each in done["items"]} == {"done"}

    async def test_what_fails_before_it_has_begun_has_its_status(self, stage: Stage) -> None:
        problem(await stage.ask("POST", SCALE, {"select": {}}, accept="text/event-stream"), 400, "invalid-request")
        answer = await stage.ask("POST", SCALE, SHOP | {"replicas": 1}, If_Match='"x"', accept="text/event-stream")
        problem(answer, 412, "plan-changed")

    async def test_an_item_is_shown_while_others_are_under_way(self, stage: Stage) -> None:
        stage.repository.hold = True
        items = [
            {"namespace": "shop", "name": "web", "replicas": 3},
            {"namespace": "shop", "name": "api", "delta": 1},
        ]
        client = await begin(stage, SCALE, {"items": items}, accept="text/event-stream")
        seen = b""
        while b'"name":"web"' not in seen:
            seen += await client.read()
        assert b'"outcome":"unchanged"' in seen
        assert b"event: done" not in seen
        stage.repository.release.set()
        while b"event: done" not in seen:
            seen += await client.read()

    @pytest.mark.parametrize(
        ("accept", "wanted"),
        [
            (b"text/event-stream", True), (b"application/json, text/event-stream;q=0.5", True),
            (b"TEXT/Event-Stream", True), (b"*/*", False), (b"application/json", False), (b"text/*", False),
            (b"text/event-stream;q=0", False), (b"text/event-stream; q=0.000", False), (b"", False),
        ],
    )  # fmt: skip
    def test_it_is_asked_for_by_accept(self, accept: bytes, wanted: bool) -> None:
        assert wants_events([(b"accept", accept)]) is wanted


class TestClientsThatLeave:
    async def leave(self, stage: Stage, **headers: str) -> None:
        """Ask for 40 Deployments to be scaled, and leave while the first 8 are under way."""
        for index in range(40):
            stage.cluster.create(DeploymentRef("batch", f"d-{index:02}"), 1, labels={"many": "yes"})
        stage.repository.hold = True
        client = await begin(stage, SCALE, {"select": {"labelSelector": "many=yes"}, "replicas": 2}, **headers)
        await stage.repository.arrived.wait()
        await client.close()
        await stage.server.events.until_open(0)
        stage.repository.release.set()

    async def answered(self, stage: Stage) -> None:
        while not any(each.route == SCALE for each in stage.answered):
            await stage.ask("GET", "/api/v2/nothing")

    @pytest.mark.parametrize("how", [{}, EVENTS], ids=["answer", "events"])
    async def test_what_is_under_way_is_finished_and_the_rest_is_skipped(
        self, stage: Stage, how: dict[str, str]
    ) -> None:
        await self.leave(stage, **how)
        await self.answered(stage)
        changed = {name for name, count in counts(stage).items() if count == 2 and name.startswith("d-")}
        assert len(changed) == 8
        events = {each.name: each for each in stage.audit.events}
        assert {name for name, each in events.items() if each.outcome == "success"} == changed
        assert "the client is gone" in events["d-39"].reason

    @pytest.mark.parametrize("how", [{}, EVENTS], ids=["answer", "events"])
    async def test_under_a_key_all_is_done_and_the_answer_is_kept(self, stage: Stage, how: dict[str, str]) -> None:
        await self.leave(stage, **{"idempotency-key": "k-1"}, **how)
        body = {"select": {"labelSelector": "many=yes"}, "replicas": 2}
        while (answer := await stage.ask("POST", SCALE, body, Idempotency_Key="k-1")).status == 409:
            problem(answer, 409, "idempotency-key-in-flight")
        assert (answer.status, answer.json["summary"]["changed"]) == (200, 40)
        assert answer.headers["idempotency-replayed"] == "true"


async def test_a_shutdown_finishes_what_is_under_way_and_answers(stage: Stage) -> None:
    for index in range(40):
        stage.cluster.create(DeploymentRef("batch", f"d-{index:02}"), 1, labels={"many": "yes"})
    stage.repository.hold = True
    asking = asyncio.ensure_future(stage.ask("POST", SCALE, {"select": {"labelSelector": "many=yes"}, "replicas": 2}))
    await stage.repository.arrived.wait()
    stopping = asyncio.ensure_future(stage.server.stop())
    await turns(50)
    stage.repository.release.set()
    answer = await asking
    await stopping
    assert answer.status == 207
    assert {each["name"]: each["written"] for each in answer.json["items"]} == {
        name: count == 2 for name, count in counts(stage).items() if name.startswith("d-")
    }
    skipped = [each for each in answer.json["items"] if each["outcome"] == "skipped"]
    assert len(skipped) == 32
    assert skipped[0]["error"]["code"] == "not-tried"
    assert "kdm is stopping" in skipped[0]["error"]["detail"]


async def test_a_batch_may_take_longer_than_a_request(start: Any, stage: Stage) -> None:
    await stage.serve(start, limits=Limits(request_s=0.05))
    stage.repository.hold = True
    asking = asyncio.ensure_future(stage.ask("POST", SCALE, SHOP | {"delta": 1}))
    await stage.repository.arrived.wait()
    later: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.2, later.set_result, None)  # four times the limit of a request
    await later
    assert not asking.done()
    stage.repository.release.set()
    assert (await asking).status == 200


async def test_a_defect_in_one_write_is_said_of_that_item_alone(start: Any, stage: Stage) -> None:
    async def set_replicas(ref: DeploymentRef, replicas: int, **how: Any) -> Any:
        if ref == WEB:
            raise RuntimeError("a secret")
        return await type(stage.repository).set_replicas(stage.repository, ref, replicas, **how)

    stage.repository.set_replicas = set_replicas  # type: ignore[method-assign]
    stage.server = await start(app=create_app(DeploymentService(stage.repository)))
    answer = await stage.ask("POST", SCALE, SHOP | {"delta": 1})
    api, web = answer.json["items"]
    assert (answer.status, api["written"], web["written"], web["outcome"]) == (207, True, None, "failed")
    assert "secret" not in answer.body.decode()
    assert "internal error" in web["error"]["detail"]


async def test_about_says_that_it_is_there(stage: Stage) -> None:
    assert (await stage.ask("GET", "/api/v2")).json["features"]["bulk"] is True
