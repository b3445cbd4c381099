"""What hostile clients send, and scripts with an empty variable: a clear error, nothing written, nothing shown."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from attrs import evolve

from kdm_adapters.cache.own_writes import written_over
from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import Deployment, DeploymentService, ReplicaStatus, parse_policy
from kdm_http.api.v2.bodies import DeploymentBody
from kdm_http.api.v2.tags import tag_of_deployment
from unit.http.api.v2.staging import ADJUST, REPLICAS, URL, WEB, Stage, problem
from unit.http.credentials import Leaf

LIST = "/api/v2/namespaces/shop/deployments"
HIDDEN = "/api/v2/namespaces/kube/deployments"


@pytest.mark.parametrize("field", ["if_match", "if_none_match"])
@pytest.mark.parametrize("value", ["", "8f3c-7-3", '"8f3c', '"a" b', "*, *", '*, "a"', '"a"b"', "W/8f3c", "'a'"])
async def test_a_condition_that_cannot_be_read_is_400_and_writes_nothing(stage: Stage, field: str, value: str) -> None:
    """An If-None-Match that was ignored would write what it was to prevent."""
    headers: dict[str, Any] = {field: value}
    body = problem(await stage.ask("PUT", REPLICAS, {"replicas": 9}, **headers), 400, "invalid-request")
    assert "entity tags in double quotes" in body["detail"]
    assert body["written"] is False
    assert stage.repository.stored == 0


async def test_a_list_of_tags_may_have_empty_members(stage: Stage) -> None:
    tag = (await stage.ask("GET", REPLICAS)).headers["etag"]
    assert (await stage.ask("PUT", REPLICAS, {"replicas": 4}, if_match=f', "x" ,, {tag},')).status == 200


async def test_a_tag_with_a_number_of_thousands_of_digits_is_412(stage: Stage) -> None:
    answer = await stage.ask("PUT", REPLICAS, {"replicas": 9}, if_match=f'"{stage.web.uid}-{"9" * 5000}-3"')
    problem(answer, 412, "precondition-failed")
    assert stage.repository.stored == 0


@pytest.mark.parametrize("field", ["reason", "uid", "resourceVersion", "onBound"])
async def test_half_a_surrogate_pair_is_400(stage: Stage, field: str) -> None:
    """JSON can say it, UTF-8 cannot: no error could show it."""
    client = await stage.client()
    content = json.dumps({"delta": 1, field: "\ud800"}).encode()
    head = "content-type: application/json\r\n"
    answer = await client.request(ADJUST, method="POST", body=content, headers=head)
    body = problem(answer, 400, "invalid-request")
    assert body["detail"].startswith(f"{field}: ")
    assert body["written"] is False
    assert stage.repository.stored == 0


async def test_the_error_of_a_word_that_is_none_of_the_few_is_short(stage: Stage) -> None:
    answer = await stage.ask("POST", ADJUST, {"delta": 1, "onBound": "x" * 60_000})
    assert len(problem(answer, 400, "invalid-request")["detail"]) < 600


@pytest.mark.parametrize("version", ["9" * 5000, "007", "00", "\u0661", "-1", "1e3", ""])
@pytest.mark.parametrize("target", [URL, LIST, f"{URL}/rollout"])
async def test_what_can_be_no_version_is_400(stage: Stage, target: str, version: str) -> None:
    more = "&uid=a&replicas=3" if target.endswith("rollout") else ""
    answer = await stage.ask("GET", f"{target}?resourceVersion={quote(version)}{more}&wait=1s")
    assert answer.status == 400
    assert answer.json["detail"].startswith("resourceVersion: ")


async def test_version_zero_is_any_as_in_kubernetes(stage: Stage) -> None:
    assert (await stage.ask("GET", f"{URL}?resourceVersion=0")).status == 200
    assert (await stage.ask("GET", f"{LIST}?resourceVersion=0&wait=1s")).status == 200


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
async def test_an_empty_precondition_is_none_that_holds(stage: Stage, field: str) -> None:
    problem(await stage.ask("PUT", REPLICAS, {"replicas": 9, field: ""}), 409, "write-conflict")
    assert stage.web.replicas.desired == 3


async def test_an_empty_uid_is_not_taken_for_a_deployment_that_was_replaced(stage: Stage) -> None:
    answer = await stage.ask("GET", f"{URL}/rollout?uid=&resourceVersion=1&replicas=3")
    assert problem(answer, 400, "invalid-request")["detail"].startswith("uid: ")


@pytest.mark.parametrize("target", [HIDDEN, f"{HIDDEN}/dns", f"{HIDDEN}/none"])
async def test_who_may_read_nothing_there_cannot_wait_there(stage: Stage, target: str) -> None:
    """Neither how far the cache is, nor which namespaces are watched, is theirs to learn."""
    for query in ("?resourceVersion=1", "?resourceVersion=999999", "?resourceVersion=999999&wait=10m"):
        problem(await stage.ask("GET", f"{target}{query}"), 403, "forbidden")


async def test_a_version_does_not_tell_which_namespaces_are_watched(start: Any, stage: Stage) -> None:
    async with MemoryDeploymentRepository(namespaces=["secret"]) as repository:
        stage.service = DeploymentService(repository, policy=stage.service.policy)  # type: ignore[assignment]
        await stage.serve(start)
        for target in (HIDDEN, f"{HIDDEN}/dns"):
            answer = await stage.ask("GET", f"{target}?resourceVersion=1")
            assert b"secret" not in answer.body
            problem(answer, 403, "forbidden")


@pytest.mark.parametrize("target", [LIST, URL])
async def test_a_stop_does_not_make_an_old_answer_of_a_read_that_waits(stage: Stage, target: str) -> None:
    """At least as new as was asked for, or an error: never a list that is older."""
    client = await stage.client()
    await client.handshake()
    reading = asyncio.ensure_future(stage.ask("GET", f"{target}?resourceVersion=999999&wait=10m", client=client))
    await stage.repository.awaited.wait()
    stopping = asyncio.ensure_future(stage.server.stop())
    body = problem(await reading, 504, "not-seen-yet")
    assert (body["retryable"], "stopping" in body["detail"]) == (True, True)
    await stopping


async def test_a_conflict_shows_nobody_what_they_may_not_scale_any_more(stage: Stage) -> None:
    """The cluster has other labels than the cache knew: what it answers is not the caller's to see."""
    stage.service.policy = parse_policy(
        'version = 1\n[[grant]]\nusers=["alice"]\nverbs=["read","scale"]\nnamespaces=["shop"]\nlabels={app="web"}'
    )
    stage.repository.break_watch()
    stage.cluster.relabel(WEB, {"app": "secret"})
    stage.cluster.scale(WEB, 7)
    for body in ({"replicas": 9, "currentReplicas": 3}, {"replicas": 9, "uid": "another"}):
        refused = problem(await stage.ask("PUT", REPLICAS, body), 403, "forbidden")
        assert "current" not in refused
        assert refused["written"] is False
    for body in ({"delta": 1}, {"delta": 1, "currentReplicas": 4}):
        assert "current" not in problem(await stage.ask("POST", ADJUST, body), 403, "forbidden")
    refused = problem(await stage.ask("PUT", REPLICAS, {"replicas": 9}, if_match='"another"'), 403, "forbidden")
    assert "current" not in refused
    assert stage.web.replicas.desired == 7


async def test_an_answer_that_comes_again_does_not_ask_to_be_asked_for_again(stage: Stage) -> None:
    stage.repository.faults.answer_lost = True
    first = await stage.ask("POST", ADJUST, {"delta": 2}, idempotency_key='"one"')
    again = await stage.ask("POST", ADJUST, {"delta": 2}, idempotency_key='"one"')
    assert (first.headers["retry-after"], again.headers.get("retry-after")) == ("1", None)
    assert again.headers["content-length"] == first.headers["content-length"]
    assert again.body == first.body


@pytest.mark.parametrize("target", ["/problems", "/problems/forbidden"])
async def test_a_page_can_load_and_run_nothing(stage: Stage, target: str) -> None:
    answer = await stage.ask("GET", target)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_no_page_shows_what_was_in_its_address(stage: Stage) -> None:
    answer = await stage.ask("GET", "/problems/%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("target", [f"{URL}%2Freplicas", f"{URL}%2freplicas", f"{LIST}%2Fweb/replicas"])
async def test_a_name_with_an_encoded_slash_leads_to_no_other_route(stage: Stage, method: str, target: str) -> None:
    answer = await stage.ask(method, target, {"replicas": 9} if method == "PUT" else None)
    assert "encoded slash" in problem(answer, 400, "invalid-request")["detail"]
    assert stage.repository.stored == 0


def test_the_status_that_comes_after_an_own_write_has_another_tag() -> None:
    """The write's version is shown before the watch brings the status that belongs to it: two answers, two tags."""
    known = Deployment(WEB, "8f3c", "7", 1, 1, ReplicaStatus(3, 3, 3, 3, 3))
    shown = written_over(known, "9", 3)
    delivered = evolve(known, resource_version="9", replicas=ReplicaStatus(3, 3, 3, 1, 1))
    encode = msgspec.json.Encoder().encode
    tags = {tag_of_deployment(each, encode(DeploymentBody.of(each))) for each in (shown, delivered)}
    assert len(tags) == 2


async def test_nobody_reads_with_a_certificate_that_expires_while_they_wait(stage: Stage, credentials: Any) -> None:
    """OpenSSL judges by the system's clock, so this one has three seconds to live."""
    begin = datetime.now(UTC) - timedelta(days=1) + timedelta(seconds=3)
    client = await stage.client(identity=Leaf.of(credentials.authority.issue("alice", days=1, now=begin)))
    await client.handshake()
    answer = await stage.ask("GET", f"{URL}?resourceVersion=999999&wait=10m", client=client)
    problem(answer, 504, "not-seen-yet")
