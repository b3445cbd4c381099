"""Writes in API v2: set, adjust, and what may stand in their way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kdm_core import DeploymentRef, Outcome
from kdm_http.server.limits import Limits
from unit.http.api.v2.staging import ADJUST, REPLICAS, URL, WEB, Stage, problem


async def tag(stage: Stage) -> str:
    return (await stage.ask("GET", REPLICAS)).headers["etag"]


async def test_a_put_sets_the_count_and_says_what_came_of_it(stage: Stage) -> None:
    answer = await stage.ask("PUT", REPLICAS, {"replicas": 5, "reason": "sale"})
    assert answer.status == 200
    assert answer.json == {
        "namespace": "shop",
        "name": "web",
        "uid": stage.web.uid,
        "resourceVersion": answer.json["resourceVersion"],
        "replicas": {"previous": 3, "desired": 5},
        "changed": True,
        "dryRun": False,
        "warnings": [],
        "rollout": None,
    }
    assert stage.web.replicas.desired == 5
    assert answer.headers["etag"] == await tag(stage)
    assert stage.audit.events[-1].change_reason == "sale"


async def test_zero_is_written_out(stage: Stage) -> None:
    answer = await stage.ask("PUT", REPLICAS, {"replicas": 0})
    assert answer.json["replicas"] == {"previous": 3, "desired": 0}


async def test_the_same_count_again_changes_nothing(stage: Stage) -> None:
    answer = await stage.ask("PUT", REPLICAS, {"replicas": 3})
    assert (answer.status, answer.json["changed"]) == (200, False)


async def test_adjust_changes_the_count_by_a_number(stage: Stage) -> None:
    assert (await stage.ask("POST", ADJUST, {"delta": 4})).json["replicas"] == {"previous": 3, "desired": 7}
    clamped = await stage.ask("POST", ADJUST, {"delta": -50, "min": 2, "onBound": "clamp"})
    assert clamped.json["replicas"] == {"previous": 7, "desired": 2}
    refused = problem(await stage.ask("POST", ADJUST, {"delta": 9, "max": 10}), 409, "out-of-bounds")
    assert (refused["bounds"], refused["current"], refused["result"]) == ({"min": 0, "max": 10}, {"replicas": 2}, 11)
    assert refused["written"] is False


@pytest.mark.parametrize(
    ("expected", "shown"),
    [
        ({"currentReplicas": 4}, {"currentReplicas": 4}),
        ({"resourceVersion": "1000000"}, {"resourceVersion": "1000000"}),
        ({"uid": "another"}, {"uid": "another"}),
    ],
)
@pytest.mark.parametrize("change", [{"replicas": 9}, {"delta": 1}])
async def test_a_precondition_in_the_body_that_fails_is_409_and_shows_what_is(
    stage: Stage, change: dict[str, int], expected: dict[str, object], shown: dict[str, object]
) -> None:
    method, target = ("PUT", REPLICAS) if "replicas" in change else ("POST", ADJUST)
    body = problem(await stage.ask(method, target, {**change, **expected}), 409, "write-conflict")
    assert body["expected"] == shown
    assert body["current"]["replicas"] == 3
    assert body["current"]["uid"] == stage.web.uid
    assert (body["written"], body["retryable"]) == (False, False)
    assert stage.web.replicas.desired == 3


async def test_preconditions_in_the_body_that_hold(stage: Stage) -> None:
    version = (await stage.ask("GET", URL)).json["resourceVersion"]
    body = {"replicas": 4, "currentReplicas": 3, "resourceVersion": version, "uid": stage.web.uid}
    assert (await stage.ask("PUT", REPLICAS, body)).status == 200
    assert stage.web.replicas.desired == 4


async def test_if_match_with_the_tag_of_replicas_writes(stage: Stage) -> None:
    assert (await stage.ask("PUT", REPLICAS, {"replicas": 4}, if_match=await tag(stage))).status == 200
    assert stage.web.replicas.desired == 4


async def test_the_tag_of_replicas_stays_while_pods_come_and_go(stage: Stage) -> None:
    await stage.ask("PUT", REPLICAS, {"replicas": 4})
    before = await tag(stage)
    stage.cluster.settle(WEB)
    stage.cluster.relabel(WEB, {"app": "web", "tier": "front"})
    assert await tag(stage) == before
    assert (await stage.ask("PUT", REPLICAS, {"replicas": 5}, if_match=before)).status == 200


NOT_MET: dict[str, Callable[[str], str]] = {
    "an old tag": lambda _: '"old"',
    "a weak tag": lambda tag: f"W/{tag}",
    "others in a list": lambda tag: f'"a", W/{tag}, "b"',
}


@pytest.mark.parametrize("what", NOT_MET)
async def test_if_match_that_is_not_met_is_412_and_writes_nothing(stage: Stage, what: str) -> None:
    current = await tag(stage)
    answer = await stage.ask("PUT", REPLICAS, {"replicas": 9}, if_match=NOT_MET[what](current))
    body = problem(answer, 412, "precondition-failed")
    assert body["current"]["etag"] == current
    assert body["written"] is False
    assert stage.web.replicas.desired == 3
    assert stage.audit.events[-1].outcome is Outcome.REJECTED


async def test_if_match_takes_a_list_and_a_star(stage: Stage) -> None:
    current = await tag(stage)
    assert (await stage.ask("PUT", REPLICAS, {"replicas": 4}, if_match=f'"x,y", {current}')).status == 200
    assert (await stage.ask("PUT", REPLICAS, {"replicas": 5}, if_match="*")).status == 200
    missing = await stage.ask("PUT", f"{URL}er/replicas", {"replicas": 5}, if_match="*")
    problem(missing, 404, "deployment-not-found")


async def test_if_none_match_refuses_a_put_of_what_it_names(stage: Stage) -> None:
    current = await tag(stage)
    for value in ("*", current, f"W/{current}"):
        answer = await stage.ask("PUT", REPLICAS, {"replicas": 9}, if_none_match=value)
        problem(answer, 412, "precondition-failed")
    assert (await stage.ask("PUT", REPLICAS, {"replicas": 9}, if_none_match='"another"')).status == 200


async def test_adjust_refuses_conditions_that_it_cannot_judge(stage: Stage) -> None:
    body = problem(await stage.ask("POST", ADJUST, {"delta": 1}, if_match="*"), 400, "invalid-request")
    assert "currentReplicas" in body["detail"]
    assert stage.web.replicas.desired == 3


async def test_of_50_puts_with_one_if_match_one_wins_and_49_are_412(stage: Stage) -> None:
    answers = await stage.at_once(50, "PUT", REPLICAS, {"replicas": 7}, if_match=await tag(stage))
    assert sorted(each.status for each in answers) == [200] + [412] * 49
    assert stage.web.replicas.desired == 7
    assert stage.web.generation == 2


async def test_50_times_adjust_by_one_is_exactly_50_more(stage: Stage) -> None:
    answers = await stage.at_once(50, "POST", ADJUST, {"delta": 1})
    assert {each.status for each in answers} == {200}
    assert sorted(each.json["replicas"]["desired"] for each in answers) == list(range(4, 54))
    assert stage.web.replicas.desired == 53


async def test_a_dry_run_stores_nothing_and_is_refused_where_the_write_would_be(stage: Stage) -> None:
    answer = await stage.ask("PUT", f"{REPLICAS}?dryRun=All", {"replicas": 9})
    assert (answer.status, answer.json["dryRun"], answer.json["replicas"]["desired"]) == (200, True, 9)
    assert "etag" not in answer.headers
    assert stage.web.replicas.desired == 3
    assert stage.audit.events[-1].dry_run
    problem(await stage.ask("PUT", f"{REPLICAS}?dryRun=All", {"replicas": 501}), 403, "forbidden")
    problem(await stage.ask("PUT", f"{REPLICAS}?dryRun=All", {"replicas": 1001}), 400, "invalid-replicas")
    stage.repository.faults.invalid = True
    refused = problem(await stage.ask("PUT", f"{REPLICAS}?dryRun=All", {"replicas": 4}), 422, "write-invalid")
    assert refused["written"] is False


@pytest.mark.parametrize("query", ["dry-run=All", "dryRun=true", "dryRun=", "dryRun=All&dryRun=All", "dryrun=All"])
async def test_a_misspelt_dry_run_never_writes(stage: Stage, query: str) -> None:
    body = problem(await stage.ask("PUT", f"{REPLICAS}?{query}", {"replicas": 9}), 400, "invalid-request")
    assert body["written"] is False
    assert stage.web.replicas.desired == 3


BAD_BODIES = {
    "no field": ({}, "missing required field `replicas`"),
    "an unknown field": ({"replicas": 5, "force": True}, "unknown field 'force'"),
    "a string": ({"replicas": "5"}, "Expected `int`, got `str`"),
    "true": ({"replicas": True}, "Expected `int`, got `bool`"),
    "a decimal": ({"replicas": 5.5}, "must be an integer, not 5.5"),
    "null": ({"replicas": None}, "Expected `int`, got `null`"),
    "a number as version": ({"replicas": 5, "resourceVersion": 7}, "at `$.resourceVersion`"),
    "an array": ([5], "not an object"),
}


@pytest.mark.parametrize("what", BAD_BODIES)
async def test_a_bad_body_is_400_says_what_is_allowed_and_changes_nothing(stage: Stage, what: str) -> None:
    content, expected = BAD_BODIES[what]
    body = problem(await stage.ask("PUT", REPLICAS, content), 400, "invalid-request")
    assert expected in body["detail"]
    assert '"replicas" (an integer)' in body["detail"]
    assert body["written"] is False
    assert stage.web.replicas.desired == 3


async def test_an_unknown_field_says_which_fields_there_are(stage: Stage) -> None:
    body = problem(await stage.ask("POST", ADJUST, {"delta": 1, "step": 2}), 400, "invalid-request")
    assert {"delta", "min", "max", "onBound", "currentReplicas", "reason", "override"} <= set(body["allowed"])


async def test_a_reason_is_one_line_of_at_most_256_characters(stage: Stage) -> None:
    problem(await stage.ask("PUT", REPLICAS, {"replicas": 4, "reason": "x" * 257}), 400, "invalid-change")
    problem(await stage.ask("PUT", REPLICAS, {"replicas": 4, "reason": "a\nb"}), 400, "invalid-change")
    assert stage.web.replicas.desired == 3


async def test_override_is_without_effect_where_nobody_looks_for_owners(stage: Stage) -> None:
    answer = await stage.ask("PUT", REPLICAS, {"replicas": 4, "override": True})
    assert (answer.status, answer.json["warnings"]) == (200, [])


async def test_who_may_not_scale_there_learns_nothing(stage: Stage) -> None:
    for name in ("dns", "none"):
        answer = await stage.ask("PUT", f"/api/v2/namespaces/kube/deployments/{name}/replicas", {"replicas": 4})
        body = problem(answer, 403, "forbidden")
        assert (body["verb"], body["written"]) == ("scale", False)
    assert stage.cluster.deployments[DeploymentRef("kube", "dns")].replicas.desired == 2


@pytest.mark.parametrize(
    ("fault", "status", "code", "written", "retryable"),
    [
        ("unreachable", 503, "cluster-unreachable", False, True),
        ("timeout", 504, "cluster-timeout", None, True),
        ("answer_lost", 504, "cluster-timeout", None, True),
        ("unrecognized", 502, "cluster-unrecognized", None, True),
        ("overloaded", 503, "cluster-overloaded", False, True),
        ("conflict", 409, "write-conflict", False, False),
        ("forbidden", 502, "write-forbidden", False, False),
        ("invalid", 422, "write-invalid", False, False),
    ],
)
async def test_every_error_of_a_write_says_whether_it_was_written(
    stage: Stage, fault: str, status: int, code: str, written: bool | None, retryable: bool
) -> None:
    setattr(stage.repository.faults, fault, True)
    body = problem(await stage.ask("PUT", REPLICAS, {"replicas": 4}), status, code)
    assert (body["written"], body["retryable"]) == (written, retryable)


async def test_a_write_that_the_deadline_ends_says_that_it_may_have_happened(start: Any, stage: Stage) -> None:
    await stage.serve(start, limits=Limits(request_s=0.05))
    stage.repository.hold = True
    body = problem(await stage.ask("PUT", REPLICAS, {"replicas": 4}), 504, "request-timeout")
    assert body["written"] is None
    assert stage.audit.events[-1].reason == "cancelled: it may have been written"


async def test_a_count_that_somebody_else_changes_between_tag_and_write_is_412(stage: Stage) -> None:
    """The cache is asked first; what changes after that, the cluster's own test finds."""
    current = await tag(stage)
    stage.repository.hold = True
    client = await stage.client()
    putting = asyncio.ensure_future(stage.ask("PUT", REPLICAS, {"replicas": 9}, client=client, if_match=current))
    await stage.repository.arrived.wait()
    stage.cluster.scale(WEB, 6)
    stage.repository.release.set()
    problem(await putting, 412, "precondition-failed")
    assert stage.web.replicas.desired == 6
