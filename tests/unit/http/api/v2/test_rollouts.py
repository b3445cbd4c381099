"""Waiting in API v2: what comes of it is a 200, and a wait that breaks off can be taken up again."""

from __future__ import annotations

import asyncio
from asyncio import FIRST_COMPLETED
from typing import Any

import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import parse_policy
from kdm_http.api.errors import BadRequest
from kdm_http.api.v2.durations import MAX_WAIT_S, duration
from kdm_http.server.limits import Limits
from unit.http.api.v2.staging import ADJUST, REPLICAS, URL, WEB, Stage, problem

ROLLOUT = f"{URL}/rollout"


def unsettled(repository: MemoryDeploymentRepository) -> None:
    """Have the Pods stay as they are until a test says otherwise."""
    repository.cluster._settle = False


async def waiting(stage: Stage, method: str, target: str, body: object = None) -> asyncio.Future[Any]:
    """Ask over a connection of its own, and return once the service waits for that Deployment."""
    client = await stage.client()
    await client.handshake()
    stage.service.waiting.clear()
    asking = asyncio.ensure_future(stage.ask(method, target, body, client=client))
    await asyncio.wait({asking, asyncio.ensure_future(stage.service.waiting.wait())}, return_when=FIRST_COMPLETED)
    return asking


async def test_a_put_that_waits_says_that_the_pods_followed(stage: Stage) -> None:
    unsettled(stage.repository)
    asking = await waiting(stage, "PUT", f"{REPLICAS}?wait=60s", {"replicas": 5})
    stage.cluster.settle(WEB)
    answer = await asking
    rollout = answer.json["rollout"]
    assert (rollout["outcome"], rollout["for"], rollout["resume"]) == ("done", "available", None)
    assert rollout["replicas"] == dict.fromkeys(("desired", "current", "updated", "ready", "available"), 5)
    assert rollout["elapsedSeconds"] >= 0
    assert answer.json["replicas"] == {"previous": 3, "desired": 5}


async def test_adjust_waits_too(stage: Stage) -> None:
    answer = await stage.ask("POST", f"{ADJUST}?wait=20s&for=scaled", {"delta": 1})
    assert (answer.json["rollout"]["outcome"], answer.json["rollout"]["for"]) == ("done", "scaled")


async def test_time_that_is_up_is_an_outcome_with_the_counts_and_where_to_go_on(stage: Stage) -> None:
    unsettled(stage.repository)
    answer = await stage.ask("PUT", f"{REPLICAS}?wait=10ms", {"replicas": 5})
    assert answer.status == 200
    rollout = answer.json["rollout"]
    assert rollout["outcome"] == "timeout"
    assert rollout["replicas"]["current"] == 3
    stage.cluster.settle(WEB)
    assert (await stage.ask("GET", rollout["resume"])).json["outcome"] == "done"


async def test_a_count_that_somebody_else_sets_supersedes(stage: Stage) -> None:
    unsettled(stage.repository)
    asking = await waiting(stage, "PUT", f"{REPLICAS}?wait=60s", {"replicas": 5})
    stage.cluster.scale(WEB, 9)
    assert (await asking).json["rollout"]["outcome"] == "superseded"


async def test_a_deployment_that_is_deleted_ends_the_wait(stage: Stage) -> None:
    unsettled(stage.repository)
    stage.cluster.scale(WEB, 9)
    asking = await waiting(stage, "GET", f"{ROLLOUT}?wait=60s")
    stage.cluster.delete(WEB)
    answer = await asking
    assert (answer.json["outcome"], answer.json["replicas"]) == ("deleted", None)


async def test_a_wait_may_take_longer_than_a_request(start: Any, stage: Stage) -> None:
    await stage.serve(start, limits=Limits(request_s=0.05))
    unsettled(stage.repository)
    asking = await waiting(stage, "PUT", f"{REPLICAS}?wait=30s", {"replicas": 5})
    loop = asyncio.get_running_loop()
    later: asyncio.Future[None] = loop.create_future()
    loop.call_later(0.2, later.set_result, None)  # four times the limit of a request
    await later
    assert not asking.done()
    stage.cluster.settle(WEB)
    assert (await asking).json["rollout"]["outcome"] == "done"


async def test_a_shutdown_interrupts_a_wait_and_gives_the_url_to_go_on(start: Any, stage: Stage) -> None:
    unsettled(stage.repository)
    asking = await waiting(stage, "PUT", f"{REPLICAS}?wait=60s", {"replicas": 5})
    stopping = asyncio.ensure_future(stage.server.stop())
    answer = await asking
    await stopping
    rollout = answer.json["rollout"]
    assert (answer.status, rollout["outcome"]) == (200, "interrupted")
    assert stage.web.replicas.desired == 5
    await stage.serve(start)
    stage._client = None
    stage.cluster.settle(WEB)
    assert (await stage.ask("GET", rollout["resume"])).json["outcome"] == "done"


async def test_a_client_that_leaves_ends_its_wait(stage: Stage) -> None:
    unsettled(stage.repository)
    stage.cluster.scale(WEB, 9)
    client = await stage.client()
    await client.handshake()
    await client.send(f"GET {ROLLOUT}?wait=60s HTTP/1.1\r\nhost: kdm\r\n\r\n".encode())
    await stage.service.waiting.wait()
    await client.close()
    await stage.server.events.until_open(0)
    while not stage.answered:
        await stage.ask("GET", "/api/v2/nothing")
    assert stage.answered[0].route.endswith("/rollout")
    assert stage.answered[0].seconds < 60


async def test_a_policy_that_takes_the_right_away_interrupts_the_wait(stage: Stage) -> None:
    unsettled(stage.repository)
    asking = await waiting(stage, "GET", f"{ROLLOUT}?replicas=5&uid={stage.web.uid}&resourceVersion=99999&wait=60s")
    stage.service.policy = parse_policy('version = 1\n[[grant]]\nusers=["bob"]\nverbs=["read"]\nnamespaces=["shop"]')
    assert (await asking).json["outcome"] == "interrupted"


async def test_without_wait_it_says_how_far_it_is(stage: Stage) -> None:
    assert (await stage.ask("GET", ROLLOUT)).json["outcome"] == "done"
    unsettled(stage.repository)
    stage.cluster.scale(WEB, 9)
    answer = await stage.ask("GET", ROLLOUT)
    assert answer.json["outcome"] in {"timeout", "unknown"}
    assert answer.json["target"]["replicas"] == 9


async def test_the_parts_of_a_target_go_together(stage: Stage) -> None:
    problem(await stage.ask("GET", f"{ROLLOUT}?replicas=5"), 400, "invalid-request")
    problem(await stage.ask("GET", f"{ROLLOUT}?for=ready,available"), 400, "invalid-request")
    problem(await stage.ask("GET", "/api/v2/namespaces/shop/deployments/none/rollout"), 404, "deployment-not-found")
    problem(await stage.ask("GET", "/api/v2/namespaces/kube/deployments/dns/rollout"), 403, "forbidden")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("2m", 120), ("1m30s", 90), ("500ms", 0.5), ("0", 0), ("0s", 0), ("1.5s", 1.5), ("10m", MAX_WAIT_S)],
)
def test_a_duration_is_in_the_notation_of_go(text: str, seconds: float) -> None:
    assert duration("wait", text) == seconds


@pytest.mark.parametrize("text", ["", "5", "1d", "-1s", "s", "1s ", "10m1s", "1h", "1e3s", "1,5s", "1" * 80 + "s"])
def test_what_is_no_duration_of_at_most_ten_minutes_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="from 0s to 10m"):
        duration("wait", text)
