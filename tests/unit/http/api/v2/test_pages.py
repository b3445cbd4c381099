"""Pages of a list: whatever exists throughout is seen exactly once, whatever else comes and goes."""

from __future__ import annotations

import random
from base64 import urlsafe_b64encode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import LOCAL, DeploymentRef, DeploymentService, InvalidQuery
from kdm_http.api.dispatch import Dispatcher
from kdm_http.api.errors import Refused
from kdm_http.api.route import Request
from kdm_http.api.routes import ROUTES
from kdm_http.api.v2.pages import VERSION, Continue, digest_of
from unit.http.api.v2.staging import Stage, problem

LIST = "/api/v2/deployments"


async def test_pages_of_500_over_10_000_while_names_come_and_go(stage: Stage) -> None:
    cluster, rng = stage.cluster, random.Random(1)  # noqa: S311 - what comes and goes
    kept = {DeploymentRef(("batch", "shop")[number % 2], f"kept-{number:05}") for number in range(10_000)}
    for ref in kept:
        cluster.create(ref, 1)
    passing: list[DeploymentRef] = []
    seen: list[DeploymentRef] = []
    token, pages, consistent = "", 0, True
    while True:
        answer = await stage.ask("GET", f"{LIST}?limit=500{token}")
        assert answer.status == 200, answer.body
        page = answer.json
        assert len(page["items"]) <= 500
        seen += [DeploymentRef(each["namespace"], each["name"]) for each in page["items"]]
        pages += 1
        consistent &= page["metadata"]["consistent"]
        if page["metadata"]["continue"] is None:
            break
        token = f"&continue={page['metadata']['continue']}"
        for _ in range(20):
            ref = DeploymentRef(rng.choice(["batch", "shop"]), f"kept-{rng.randrange(10_000):05}-{rng.randrange(9)}")
            if ref not in cluster.deployments:
                cluster.create(ref, 1)
                passing.append(ref)
        for ref in rng.sample(passing, len(passing) // 2):
            if ref in cluster.deployments:
                cluster.delete(ref)
    assert pages >= 20
    assert not consistent
    assert len(seen) == len(set(seen))
    assert kept <= set(seen)
    assert seen == sorted(seen)


async def test_pages_of_a_list_that_does_not_change_are_consistent(stage: Stage) -> None:
    first = (await stage.ask("GET", f"{LIST}?limit=2")).json["metadata"]
    second = (await stage.ask("GET", f"{LIST}?limit=2&continue={first['continue']}")).json["metadata"]
    assert (first["consistent"], second["consistent"], second["continue"]) == (True, True, None)


async def test_a_token_is_good_for_another_kdm(stage: Stage) -> None:
    """Nothing is kept for a token: a second service over the same cluster reads it."""
    token = (await stage.ask("GET", f"{LIST}?limit=1")).json["metadata"]["continue"]
    async with MemoryDeploymentRepository(cluster=stage.cluster) as other:
        route = next(each for each in ROUTES if each.template == LIST)
        request = Request({}, {"limit": "5", "continue": token}, [])
        answer = Dispatcher(DeploymentService(other)).answer(route, LOCAL, request)
    assert answer.status == 200
    assert [each["name"] for each in msgspec.json.decode(answer.body)["items"]][-1] == "web"


@pytest.mark.parametrize("change", ["labelSelector=app", "state=settled", "namespace"])
async def test_a_token_with_other_filters_is_400(stage: Stage, change: str) -> None:
    token = (await stage.ask("GET", f"{LIST}?limit=1")).json["metadata"]["continue"]
    target = (
        f"/api/v2/namespaces/shop/deployments?continue={token}"
        if change == "namespace"
        else f"{LIST}?{change}&continue={token}"
    )
    assert "other filters" in problem(await stage.ask("GET", target), 400, "invalid-query")["detail"]


async def test_a_token_gives_no_right(stage: Stage) -> None:
    token = Continue(VERSION, "kube", "a", digest_of("*", ""), "1")
    answer = await stage.ask("GET", f"{LIST}?continue={token}")
    assert [each["namespace"] for each in answer.json["items"]] == ["shop", "shop"]


@pytest.mark.parametrize("token", ["x", "", "ZZZZ", "a" * 2000, "%ff", "W10", "WzIsInNob3AiLCJ3ZWIiLCJhIiwiMSJd"])
async def test_a_token_that_cannot_be_read_is_410(stage: Stage, token: str) -> None:
    answer = await stage.ask("GET", f"{LIST}?continue={token}")
    if answer.status == 400:  # not even a query
        problem(answer, 400, "invalid-request")
    else:
        problem(answer, 410, "continue-unreadable")


LABEL = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)


@given(LABEL, LABEL, st.text(max_size=20), st.from_regex(r"[0-9]{0,19}", fullmatch=True))
def test_a_token_says_what_it_was_made_of(namespace: str, name: str, selector: str, version: str) -> None:
    filters = digest_of(namespace, selector)
    made = Continue(VERSION, namespace, name, filters, version)
    assert Continue.read(str(made), filters) == made
    with pytest.raises(InvalidQuery):
        Continue.read(str(made), digest_of(namespace, selector + "x"))


@given(st.one_of(st.binary(max_size=60).map(lambda data: urlsafe_b64encode(data).decode()), st.text(max_size=60)))
def test_what_is_no_token_is_refused_and_nothing_else(token: str) -> None:
    with pytest.raises((Refused, InvalidQuery)):
        Continue.read(token, "filters")
