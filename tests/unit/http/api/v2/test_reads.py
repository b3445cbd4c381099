"""Reads in API v2: what kdm is, lists, one Deployment, and what a client that has it already gets."""

from __future__ import annotations

import asyncio

import pytest

from kdm_core import DeploymentRef, parse_policy
from kdm_http.api.fast_path import PlainTargets
from kdm_http.api.routes import ROUTES
from unit.http.api.v2.staging import REPLICAS, URL, WEB, Stage, problem

LISTS = ("/api/v2/deployments", "/api/v2/namespaces/shop/deployments")


def names(answer: object) -> list[str]:
    return [each["name"] for each in answer.json["items"]]  # type: ignore[attr-defined]


async def test_the_root_says_who_asks_and_what_can_be_asked_for(stage: Stage) -> None:
    about = (await stage.ask("GET", "/api/v2")).json
    assert about["user"] == {"name": "alice", "groups": ["devs", "ops"]}
    assert about["limits"]["maxReplicas"] == 1000
    assert about["limits"]["maxWaitSeconds"] == 600
    assert about["features"]["rollout"] is True
    assert about["features"]["owners"] is False


async def test_one_deployment_shows_all_counts(stage: Stage) -> None:
    answer = await stage.ask("GET", URL)
    assert answer.json == {
        "namespace": "shop",
        "name": "web",
        "uid": stage.web.uid,
        "resourceVersion": stage.web.resource_version,
        "generation": 1,
        "observedGeneration": 1,
        "labels": {"app": "web"},
        "paused": False,
        "replicas": {"desired": 3, "current": 3, "updated": 3, "ready": 3, "available": 3},
        "rollout": {"state": "settled", "message": ""},
        "conditions": [
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": ""},
        ],
        "owners": [],
        "parked": None,
        "lastChange": {"at": answer.json["lastChange"]["at"], "manager": "kubectl", "actor": "", "reason": ""},
    }
    assert answer.headers["etag"].startswith(f'"{stage.web.uid}-{stage.web.resource_version}-')
    assert answer.headers["age"].isdecimal()


async def test_counts_of_zero_are_written_out(stage: Stage) -> None:
    answer = await stage.ask("GET", "/api/v2/namespaces/batch/deployments/job")
    assert answer.json["replicas"] == dict.fromkeys(("desired", "current", "updated", "ready", "available"), 0)


async def test_access_shows_what_the_caller_may_do(stage: Stage) -> None:
    plain = await stage.ask("GET", URL)
    answer = await stage.ask("GET", f"{URL}?access=true")
    bounds = [{"min": 1, "max": 500, "allowZero": True}]
    assert answer.json["access"] == {"verbs": ["read", "scale"], "bounds": bounds, "override": False}
    assert "access" not in plain.json
    assert "access" not in (await stage.ask("GET", f"{URL}?access=false")).json
    assert answer.headers["etag"] != plain.headers["etag"]
    stage.service.policy = parse_policy(
        'version = 1\n[[grant]]\nanyone = true\nverbs = ["read"]\nnamespaces = ["shop"]'
    )
    reduced = await stage.ask("GET", f"{URL}?access=true", if_none_match=answer.headers["etag"])
    assert reduced.json["access"] == {"verbs": ["read"], "bounds": [], "override": False}


async def test_replicas_shows_what_can_be_set(stage: Stage) -> None:
    answer = await stage.ask("GET", REPLICAS)
    assert answer.json == {
        "namespace": "shop",
        "name": "web",
        "uid": stage.web.uid,
        "generation": 1,
        "replicas": {"desired": 3},
    }


@pytest.mark.parametrize("target", [URL, f"{URL}?access=true", REPLICAS, *LISTS, f"{LISTS[0]}?limit=1"])
async def test_a_client_that_has_it_gets_a_304(stage: Stage, target: str) -> None:
    tag = (await stage.ask("GET", target)).headers["etag"]
    for known in (tag, "*", f'"x", {tag}', tag.removeprefix("W/"), f"W/{tag.removeprefix('W/')}"):
        answer = await stage.ask("GET", target, if_none_match=known)
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", tag)
        assert answer.headers["age"].isdecimal()
    stage.cluster.scale(WEB, 7)
    stage.cluster.scale(DeploymentRef("batch", "job"), 1)
    assert (await stage.ask("GET", target, if_none_match=tag)).status == 200


async def test_a_list_is_ordered_and_shows_what_the_caller_may_read(stage: Stage) -> None:
    answer = await stage.ask("GET", LISTS[0])
    assert [(each["namespace"], each["name"]) for each in answer.json["items"]] == [
        ("batch", "job"),
        ("shop", "api"),
        ("shop", "web"),
    ]
    assert names(await stage.ask("GET", LISTS[1])) == ["api", "web"]
    metadata = answer.json["metadata"]
    assert metadata["resourceVersion"] == str(stage.cluster.version)
    assert (metadata["continue"], metadata["stale"], metadata["consistent"]) == (None, False, True)
    assert isinstance(metadata["ageSeconds"], int)
    problem(await stage.ask("GET", "/api/v2/namespaces/kube/deployments"), 403, "forbidden")


async def test_a_list_is_chosen_by_labels_and_by_state(stage: Stage) -> None:
    assert names(await stage.ask("GET", f"{LISTS[0]}?labelSelector=app%20in%20(web,job)")) == ["job", "web"]
    assert names(await stage.ask("GET", f"{LISTS[0]}?labelSelector=!app")) == []
    stage.cluster._settle = False
    stage.cluster.pause(WEB)
    assert names(await stage.ask("GET", f"{LISTS[0]}?state=observing")) == ["web"]
    assert names(await stage.ask("GET", f"{LISTS[0]}?state=observing,settled&labelSelector=app!=api")) == [
        "job",
        "web",
    ]
    body = problem(await stage.ask("GET", f"{LISTS[0]}?state=done"), 400, "invalid-request")
    assert body["allowed"] == ["observing", "settling", "settled", "blocked", "stalled", "paused"]
    problem(await stage.ask("GET", f"{LISTS[0]}?labelSelector=a%20b"), 400, "invalid-selector")


@pytest.mark.parametrize("stale", [True, False])
async def test_staleness_is_shown(stage: Stage, stale: bool) -> None:
    stage.repository.faults.stale = stale
    assert (await stage.ask("GET", LISTS[0])).json["metadata"]["stale"] is stale


BAD_QUERIES = [
    f"{URL}?acess=true",
    f"{URL}?access=1",
    f"{URL}?access=true&access=true",
    f"{REPLICAS}?access=true",
    "/api/v2?verbose=1",
    f"{LISTS[0]}?namespace=shop",
    f"{LISTS[0]}?limit=0",
    f"{LISTS[0]}?limit=-1",
    f"{LISTS[0]}?limit=1.0",
    f"{LISTS[0]}?limit=",
    f"{LISTS[0]}?limit=99999999999999999999",
    f"{LISTS[0]}?labelselector=a",
    f"{LISTS[0]}?%ff=1",
    f"{URL}?resourceVersion=1&wait=1",
    f"{URL}?resourceVersion=1&wait=11m",
    f"{URL}?resourceVersion=1&wait=-1s",
]


@pytest.mark.parametrize("target", BAD_QUERIES)
async def test_a_query_that_is_wrong_is_400_and_says_what_is_allowed(stage: Stage, target: str) -> None:
    body = problem(await stage.ask("GET", target), 400, "invalid-request")
    assert any(word in body["detail"] for word in ("allowed is", "must be", "more than once", "percent-encoded"))


async def test_names_that_can_be_none_are_400(stage: Stage) -> None:
    problem(await stage.ask("GET", "/api/v2/namespaces/No_Such/deployments"), 400, "invalid-name")
    problem(await stage.ask("GET", "/api/v2/namespaces/*/deployments"), 400, "invalid-name")
    problem(await stage.ask("GET", "/api/v2/namespaces/shop/deployments/W"), 400, "invalid-name")
    problem(await stage.ask("GET", "/api/v2/namespaces/shop/deployments/none"), 404, "deployment-not-found")


async def test_head_and_options_follow_from_the_table(stage: Stage) -> None:
    got = await stage.ask("GET", URL)
    await stage.ask("OPTIONS", URL)
    client = await stage.client()
    await client.handshake()
    await client.send(f"HEAD {URL} HTTP/1.1\r\nhost: kdm\r\nconnection: close\r\n\r\n".encode())
    shown = b""
    while more := await client.read():
        shown += more
    head, _, body = shown.partition(b"\r\n\r\n")
    assert body == b""
    assert f"etag: {got.headers['etag']}".encode() in head
    assert f"content-length: {len(got.body)}".encode() in head


async def test_an_answer_at_least_as_new_as_a_version(stage: Stage) -> None:
    version = int(stage.web.resource_version)
    assert (await stage.ask("GET", f"{URL}?resourceVersion={version}")).status == 200
    late = problem(await stage.ask("GET", f"{URL}?resourceVersion={version + 100}&wait=10ms"), 504, "not-seen-yet")
    assert late["retryable"] is True
    problem(await stage.ask("GET", f"{LISTS[0]}?resourceVersion={version + 100}"), 504, "not-seen-yet")
    problem(await stage.ask("GET", f"{URL}?resourceVersion=new"), 400, "invalid-query")


@pytest.mark.parametrize("target", [URL, *LISTS])
async def test_a_read_waits_until_the_cache_is_new_enough(stage: Stage, target: str) -> None:
    version = stage.cluster.version + 1
    client = await stage.client()
    await client.handshake()
    reading = asyncio.ensure_future(stage.ask("GET", f"{target}?resourceVersion={version}&wait=20s", client=client))
    await stage.ask("GET", URL)
    stage.cluster.scale(WEB, 9)
    answer = await reading
    assert answer.status == 200
    assert int(answer.json.get("resourceVersion") or answer.json["metadata"]["resourceVersion"]) >= version


@pytest.mark.parametrize("target", ["/api/v2", URL, f"{URL}?access=true", REPLICAS, *LISTS, f"{LISTS[0]}?limit=5"])
def test_plain_reads_take_the_fast_path(target: str) -> None:
    assert PlainTargets(ROUTES).find(target.encode()) is not None


@pytest.mark.parametrize("target", [f"{URL}/rollout", f"{URL}?wait=5s", f"{LISTS[0]}?resourceVersion=5"])
def test_what_may_wait_does_not_take_the_fast_path(target: str) -> None:
    assert PlainTargets(ROUTES).find(target.encode()) is None
