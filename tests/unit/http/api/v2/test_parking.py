"""Parking in API v2: to zero and back, by batch, with what every write can say."""

from __future__ import annotations

import pytest

from kdm_core import DeploymentService, Verb
from unit.http.api.v2.staging import ADJUST, REPLICAS, URL, Stage, problem
from unit.http.credentials import Credentials

PARK = f"{URL}/park"
RESTORE = f"{URL}/restore"
PARKED = "/api/v2/parked"


async def test_parking_sets_zero_and_says_what_is_remembered(stage: Stage) -> None:
    answer = await stage.ask("POST", PARK, {"parkId": "night", "reason": "nobody works"})

    assert answer.status == 200
    parked = answer.json["parked"]
    assert answer.json == {
        "namespace": "shop",
        "name": "web",
        "uid": stage.web.uid,
        "resourceVersion": answer.json["resourceVersion"],
        "replicas": {"previous": 3, "desired": 0},
        "changed": True,
        "dryRun": False,
        "warnings": [],
        "parked": {"replicas": 3, "at": parked["at"], "by": "alice", "reason": "nobody works", "parkId": "night"},
        "rollout": None,
    }
    assert stage.web.replicas.desired == 0
    assert (await stage.ask("GET", URL)).json["parked"] == parked
    assert answer.headers["etag"] == (await stage.ask("GET", REPLICAS)).headers["etag"]
    assert (stage.audit.events[-1].verb, stage.audit.events[-1].park_id) == (Verb.PARK, "night")


async def test_restoring_brings_the_count_back_and_forgets_it(stage: Stage) -> None:
    await stage.ask("POST", PARK, {})

    answer = await stage.ask("POST", RESTORE, {"reason": "morning"})

    assert (answer.json["replicas"], answer.json["parked"]) == ({"previous": 0, "desired": 3}, None)
    assert (await stage.ask("GET", URL)).json["parked"] is None
    assert problem(await stage.ask("POST", RESTORE, {}), 409, "not-parked")["written"] is False


async def test_each_call_that_names_no_batch_has_one_of_its_own(stage: Stage) -> None:
    first = await stage.ask("POST", PARK, {})
    second = await stage.ask("POST", "/api/v2/namespaces/shop/deployments/api/park", {})

    ids = {answer.json["parked"]["parkId"] for answer in (first, second)}
    assert len(ids) == 2
    assert {each["parkId"] for each in (await stage.ask("GET", PARKED)).json["batches"]} == ids


async def test_another_batch_is_not_restored(stage: Stage) -> None:
    await stage.ask("POST", PARK, {"parkId": "monday"})

    problem(await stage.ask("POST", RESTORE, {"parkId": "tuesday"}), 409, "not-parked")
    assert stage.web.replicas.desired == 0
    assert (await stage.ask("POST", RESTORE, {"parkId": "monday"})).status == 200


async def test_waking_keeps_the_record(stage: Stage) -> None:
    await stage.ask("POST", PARK, {})

    answer = await stage.ask("POST", RESTORE, {"replicas": 1})

    assert (answer.json["replicas"]["desired"], answer.json["parked"]["replicas"]) == (1, 3)
    assert [each["state"] for each in (await stage.ask("GET", PARKED)).json["items"]] == ["woken"]


async def test_what_is_at_zero_already_is_409(stage: Stage) -> None:
    problem(await stage.ask("POST", "/api/v2/namespaces/batch/deployments/job/park", {}), 409, "nothing-to-park")


async def test_what_somebody_has_scaled_is_409_with_both_counts(stage: Stage) -> None:
    await stage.ask("POST", PARK, {})
    await stage.ask("PUT", REPLICAS, {"replicas": 2})

    body = problem(await stage.ask("POST", RESTORE, {}), 409, "changed-since-parked")

    assert (body["current"], body["remembered"], body["forgotten"]) == ({"replicas": 2}, 3, True)
    assert stage.web.replicas.desired == 2


async def test_a_dry_run_stores_nothing(stage: Stage) -> None:
    answer = await stage.ask("POST", f"{PARK}?dryRun=All&wait=5s", {})

    assert (answer.json["dryRun"], answer.json["replicas"]) == (True, {"previous": 3, "desired": 0})
    assert len(answer.json["warnings"]) == 1
    assert stage.web.replicas.desired == 3
    assert (await stage.ask("GET", PARKED)).json["items"] == []


async def test_parking_waits_for_the_pods(stage: Stage) -> None:
    answer = await stage.ask("POST", f"{PARK}?wait=30s", {})

    assert answer.json["rollout"]["outcome"] == "done"
    assert answer.json["rollout"]["replicas"]["current"] == 0


async def test_the_same_key_again_parks_nothing_twice(stage: Stage) -> None:
    first = await stage.ask("POST", PARK, {}, Idempotency_Key='"a"')
    await stage.ask("POST", RESTORE, {})
    again = await stage.ask("POST", PARK, {}, Idempotency_Key='"a"')

    assert again.headers["idempotency-replayed"] == "true"
    assert again.json == first.json
    assert stage.web.replicas.desired == 3


@pytest.mark.parametrize(
    ("target", "body"),
    [
        (PARK, {"replicas": 1}),
        (PARK, {"parkId": "-"}),
        (PARK, {"park_id": "a"}),
        (PARK, {"reason": 5}),
        (RESTORE, {"replicas": 0}),
        (RESTORE, {"replicas": True}),
        (f"{PARK}?dryrun=All", {}),
        (f"{PARK}?parkId=a", {}),
    ],
)
async def test_what_makes_no_sense_is_400_and_parks_nothing(stage: Stage, target: str, body: object) -> None:
    answer = await stage.ask("POST", target, body)

    assert (answer.status, answer.json["written"]) == (400, False)
    assert stage.web.replicas.desired == 3


async def test_conditions_of_http_have_no_meaning_here(stage: Stage) -> None:
    answer = await stage.ask("POST", PARK, {}, If_Match="*")

    assert answer.status == 400
    assert stage.web.replicas.desired == 3


async def test_what_is_parked_is_listed_as_far_as_one_may_read(stage: Stage, credentials: Credentials) -> None:
    await stage.ask("POST", PARK, {"parkId": "night", "reason": "r"})
    await stage.ask("POST", "/api/v2/namespaces/shop/deployments/api/park", {"parkId": "night", "reason": "r"})
    await stage.ask("POST", "/api/v2/namespaces/batch/deployments/job/adjust", {"delta": 2})
    await stage.ask("POST", "/api/v2/namespaces/batch/deployments/job/park", {"parkId": "batch"})

    everything = (await stage.ask("GET", PARKED)).json
    assert [each["name"] for each in everything["items"]] == ["job", "api", "web"]
    assert {each["parkId"]: each["count"] for each in everything["batches"]} == {"night": 2, "batch": 1}
    assert set(everything["metadata"]) == {"resourceVersion", "ageSeconds", "stale"}
    bob = await stage.client(identity=credentials.bob)
    assert [each["name"] for each in (await stage.ask("GET", PARKED, client=bob)).json["items"]] == ["api", "web"]
    of_batch = await stage.ask("GET", f"{PARKED}?parkId=batch")
    assert [each["name"] for each in of_batch.json["items"]] == ["job"]
    selected = await stage.ask("GET", "/api/v2/namespaces/shop/parked?labelSelector=app%3Dweb")
    assert [each["replicas"] for each in selected.json["items"]] == [3]


async def test_it_says_whether_it_parks(stage: Stage) -> None:
    assert (await stage.ask("GET", "/api/v2")).json["features"]["parking"] is True


async def test_a_kdm_that_does_not_park_says_so(stage: Stage, start: object) -> None:
    stage.service = DeploymentService(stage.repository)  # type: ignore[assignment]
    await stage.serve(start)
    client = await stage.client()

    assert (await stage.ask("GET", "/api/v2", client=client)).json["features"]["parking"] is False
    for method, target in (("POST", PARK), ("POST", RESTORE), ("GET", PARKED)):
        problem(await stage.ask(method, target, {} if method == "POST" else None, client=client), 400, "parking-off")


async def test_a_lot_that_cannot_be_reached_is_503_and_nothing_was_written(stage: Stage) -> None:
    stage.lot.unreachable = True

    body = problem(await stage.ask("POST", PARK, {}), 503, "cluster-unreachable")

    assert body["written"] is False
    assert (await stage.ask("POST", ADJUST, {"delta": 1})).status == 200
