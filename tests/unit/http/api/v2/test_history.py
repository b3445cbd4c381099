"""History in API v2: who changed which count, the newest first; and who it was where a wait or a write is too late."""

from __future__ import annotations

from typing import Any

import pytest

from kdm_core import DeploymentRef
from kdm_http.api.v2 import history
from unit.http.api.v2.staging import REPLICAS, URL, WEB, Stage, problem

HISTORY = f"{URL}/history"
ALL = "/api/v2/history"
SHOP = "/api/v2/namespaces/shop/history"
API = DeploymentRef("shop", "api")


def steps(body: Any) -> list[tuple[int | None, int, str, str]]:
    return [(each["previous"], each["desired"], each["manager"], each["actor"]) for each in body["items"]]


async def test_a_change_is_shown_with_who_why_and_all_that_an_undo_needs(stage: Stage) -> None:
    written = await stage.ask("PUT", REPLICAS, {"replicas": 5, "reason": "sale"})
    body = (await stage.ask("GET", HISTORY)).json
    (item,) = body["items"]
    assert item == {
        "namespace": "shop",
        "name": "web",
        "uid": stage.web.uid,
        "resourceVersion": written.json["resourceVersion"],
        "at": item["at"],
        "previous": 3,
        "desired": 5,
        "manager": "kdm",
        "actor": "alice",
        "reason": "sale",
        "requestId": written.headers["x-request-id"],
        "batch": None,
        "gap": False,
    }
    assert item["at"].endswith("Z")
    assert (body["complete"], body["continue"]) == (False, None)
    assert body["since"] <= item["at"]

    undone = await stage.ask(
        "PUT",
        REPLICAS,
        {"replicas": item["previous"], "currentReplicas": item["desired"], "uid": item["uid"], "reason": "undo"},
    )
    assert undone.status == 200
    assert steps((await stage.ask("GET", HISTORY)).json) == [(5, 3, "kdm", "alice"), (3, 5, "kdm", "alice")]


async def test_the_deployment_says_who_changed_it_last_and_why(stage: Stage) -> None:
    await stage.ask("PUT", REPLICAS, {"replicas": 5, "reason": "sale"})
    last = (await stage.ask("GET", URL)).json["lastChange"]
    assert (last["manager"], last["actor"], last["reason"]) == ("kdm", "alice", "sale")
    stage.cluster.scale(WEB, 7, manager="kubectl-scale")
    last = (await stage.ask("GET", URL)).json["lastChange"]
    assert (last["manager"], last["actor"], last["reason"]) == ("kubectl-scale", "", "")


async def test_history_across_deployments_shows_what_the_caller_may_read(stage: Stage) -> None:
    stage.cluster.scale(WEB, 4, manager="kubectl-scale")
    stage.cluster.scale(DeploymentRef("batch", "job"), 2, manager="kubectl-scale")
    stage.cluster.scale(DeploymentRef("kube", "dns"), 3, manager="kubectl-scale")
    names = [each["name"] for each in (await stage.ask("GET", ALL)).json["items"]]
    assert names == ["job", "web"]
    assert [each["name"] for each in (await stage.ask("GET", SHOP)).json["items"]] == ["web"]
    labelled = (await stage.ask("GET", f"{ALL}?labelSelector=app%3Djob")).json
    assert [each["name"] for each in labelled["items"]] == ["job"]
    problem(await stage.ask("GET", "/api/v2/namespaces/kube/deployments/dns/history"), 403, "forbidden")
    problem(await stage.ask("GET", "/api/v2/namespaces/kube/history"), 403, "forbidden")


async def test_pages_are_taken_up_by_their_token_and_no_other_filter_or_process(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for count in range(10, 15):
        stage.cluster.scale(WEB, count)
    found: list[int] = []
    token = ""
    while True:
        page = (await stage.ask("GET", f"{ALL}?limit=2{token}")).json
        found += [each["desired"] for each in page["items"]]
        if page["continue"] is None:
            break
        token = f"&continue={page['continue']}"
    assert found == [14, 13, 12, 11, 10]
    problem(await stage.ask("GET", f"{SHOP}?limit=2{token}"), 400, "invalid-query")
    problem(await stage.ask("GET", f"{ALL}?continue=nonsense"), 410, "continue-unreadable")
    monkeypatch.setattr(history, "_PROCESS", "another")
    problem(await stage.ask("GET", f"{ALL}?limit=2{token}"), 410, "continue-unreadable")


@pytest.mark.parametrize("target", [HISTORY, ALL, SHOP])
async def test_since_leaves_out_what_is_older(stage: Stage, target: str) -> None:
    stage.cluster.scale(WEB, 4)
    assert len((await stage.ask("GET", f"{target}?since=2020-01-01T00:00:00Z")).json["items"]) == 1
    assert (await stage.ask("GET", f"{target}?since=2099-01-01T00:00:00%2B02:00")).json["items"] == []


async def test_since_may_have_small_letters_and_a_plus_that_was_not_encoded_is_explained(stage: Stage) -> None:
    """RFC 3339, section 5.6; ``date -Iseconds`` writes an offset with a plus."""
    stage.cluster.scale(WEB, 4)
    assert len((await stage.ask("GET", f"{ALL}?since=2020-01-01t00:00:00z")).json["items"]) == 1
    refused = problem(await stage.ask("GET", f"{ALL}?since=2020-01-01T00:00:00+02:00"), 400, "invalid-request")
    assert "%2B" in refused["detail"]


@pytest.mark.parametrize(
    "query",
    ["since=yesterday", "since=2026-11-26", "since=2026-11-26T17:00:00", "since=", "limit=0", "limit=x", "watch=true"],
)
async def test_a_query_that_cannot_be_right_is_refused(stage: Stage, query: str) -> None:
    for target in (HISTORY, ALL):
        problem(await stage.ask("GET", f"{target}?{query}"), 400, "invalid-request")


async def test_a_deployment_that_was_deleted_keeps_its_history(stage: Stage) -> None:
    await stage.ask("PUT", REPLICAS, {"replicas": 5})
    uid = stage.web.uid
    stage.cluster.delete(WEB)
    assert [each["uid"] for each in (await stage.ask("GET", HISTORY)).json["items"]] == [uid]
    problem(await stage.ask("GET", "/api/v2/namespaces/shop/deployments/ghost/history"), 404, "deployment-not-found")


async def test_a_conflict_says_who_changed_the_count(stage: Stage) -> None:
    stage.cluster.scale(WEB, 4, manager="kubectl-scale")
    answer = await stage.ask("PUT", REPLICAS, {"replicas": 5, "currentReplicas": 3})
    current = problem(answer, 409, "write-conflict")["current"]
    assert current["replicas"] == 4
    assert current["lastChange"]["manager"] == "kubectl-scale"


async def test_who_superseded_a_write_is_named_with_the_time(stage: Stage) -> None:
    written = (await stage.ask("PUT", REPLICAS, {"replicas": 5})).json
    stage.cluster.scale(WEB, 7, manager="kubectl-scale")
    target = f"uid={written['uid']}&resourceVersion={written['resourceVersion']}&replicas=5"
    rollout = (await stage.ask("GET", f"{URL}/rollout?{target}")).json
    assert rollout["outcome"] == "superseded"
    assert rollout["supersededBy"]["manager"] == "kubectl-scale"
    at = rollout["supersededBy"]["at"]
    assert rollout["message"] == f"kubectl-scale set 7 replicas at {at}, where 5 were waited for"


async def test_another_caller_of_kdm_is_named_as_who_superseded(stage: Stage, credentials: Any) -> None:
    written = (await stage.ask("PUT", REPLICAS, {"replicas": 5})).json
    bob = await stage.client(identity=credentials.bob)
    await stage.ask("PUT", REPLICAS, {"replicas": 8, "reason": "rush"}, client=bob)
    target = f"uid={written['uid']}&resourceVersion={written['resourceVersion']}&replicas=5"
    rollout = (await stage.ask("GET", f"{URL}/rollout?{target}")).json
    assert rollout["supersededBy"]["actor"] == "bob"
    assert rollout["message"].startswith("bob (through kdm) set 8 replicas at ")


async def test_what_history_is_kept_is_said_at_the_root_and_refused_where_none_is(stage: Stage) -> None:
    assert (await stage.ask("GET", "/api/v2")).json["features"]["history"] is True
    stage.service._tracker = None
    assert (await stage.ask("GET", "/api/v2")).json["features"]["history"] is False
    for target in (HISTORY, ALL, SHOP):
        problem(await stage.ask("GET", target), 400, "not-supported")
