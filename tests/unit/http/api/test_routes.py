"""The table of routes: what is derived from it has every row, and a dialect that does not exist yet fits into it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, Final

import httpx
import msgspec
import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_adapters.memory.parking import MemoryParkingLot
from kdm_core import Caller, ChangeTracker, DeploymentRef, DeploymentService, Identity
from kdm_http.api.answered import Answered
from kdm_http.api.dispatch import Dispatcher
from kdm_http.api.errors import STATUS, Problem
from kdm_http.api.fast_path import FastPath, PlainTargets
from kdm_http.api.openapi import describe
from kdm_http.api.route import Dialect, Request, Route
from kdm_http.api.routes import ALLOWED, ROUTES, dialect_of
from kdm_http.api.v2.openapi import describe_all
from kdm_http.page.files import page

PEER: Final[Any] = SimpleNamespace(identity=Identity("alice"))

TAGGED: Final = {("v2", "GetDeployment"), ("v2", "GetReplicas"), ("page", "GetPage"), ("page", "GetPageFile")}
"""Operations whose endpoints make their own entity tags."""

every_row = pytest.mark.parametrize("row", ROUTES, ids=lambda row: f"{row.method} {row.template}")


PATH: Final = {
    "namespace": "default",
    "name": "nginx-deployment",
    "code": "forbidden",
    "directory": page().directory,
    "file": "app.js",
}
"""Values of every path's parameters, of something that there is."""

BODIES: Final[dict[str, Any]] = {
    "/adjust": {"delta": 1},
    "/replicas": {"replicaCount": 2},
    "/park": {},
    "/restore": {},
    "/scale": {"select": {"namespace": "default", "all": True}, "delta": 1},
}
WITHOUT_TAG: Final = {"ScaleMany"}
"""Writes whose answers have no entity tag: what they wrote is no one resource."""

NOT_DESCRIBED: Final = {"Describe", "ListProblems", "GetProblem", "GetPage", "GetPageFile"}
"""For machines that read the description, and for people."""


@pytest.fixture
async def service(repository: MemoryDeploymentRepository) -> AsyncIterator[DeploymentService]:
    """Everything is on."""
    async with MemoryParkingLot() as lot:
        service = DeploymentService(repository, parking=lot, tracker=ChangeTracker())
        async with service.remembering():
            yield service


def target(row: Route) -> str:
    return row.template.format(**PATH)


def body(row: Route) -> Any:
    if row.method == "GET":
        return None
    last = row.template[row.template.rindex("/") :]
    return {"replicas": 2} if (row.dialect.name, last) == ("v2", "/replicas") else BODIES[last]


@every_row
def test_each_row_is_in_what_is_derived_from_the_table(row: Route) -> None:
    assert {row.method, "OPTIONS"} <= set(ALLOWED[row.template].split(", "))
    assert dialect_of(row.template) == row.dialect.name
    whole, rfds = (made(ROUTES, 10)["paths"] for made in (describe_all, describe))
    described = whole.get(row.template, {}).get(row.method.lower())
    assert (described is None) == (row.operation in NOT_DESCRIBED)
    assert (rfds.get(row.template, {}).get(row.method.lower()) is None) == (
        row.operation in NOT_DESCRIBED or row.dialect.name == "v2"
    )
    if described is not None:
        plain = row.operation[0].lower() + row.operation[1:]
        assert described["operationId"] == (plain if row.dialect.name == "v2" else row.dialect.name + row.operation)
        assert ("304" in described["responses"]) == (row.tagged or (row.dialect.name, row.operation) in TAGGED)


@every_row
async def test_allow_names_the_methods_that_are_not_405_and_no_other(row: Route, client: httpx.AsyncClient) -> None:
    methods = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
    answers = {each: await client.request(each, target(row)) for each in methods}
    taken = ", ".join(each for each, answer in answers.items() if answer.status_code != 405)
    said = [
        answer.headers["allow"] for each, answer in answers.items() if answer.status_code == 405 or each == "OPTIONS"
    ]
    assert set(said) == {taken}


@every_row
async def test_each_row_is_answered_through_asgi(row: Route, client: httpx.AsyncClient) -> None:
    if row.operation == "Restore":
        await client.post(target(row).replace("/restore", "/park"), json={})
    answer = await client.request(row.method, target(row), json=body(row))
    assert answer.status_code == 200
    assert ("etag" in answer.headers) == (
        row.tagged
        or (row.dialect.name, row.operation) in TAGGED
        or (row.method != "GET" and row.dialect.name == "v2" and row.operation not in WITHOUT_TAG)
    )


@every_row
def test_the_fast_path_takes_each_read_that_never_waits_and_nothing_else(row: Route) -> None:
    find = PlainTargets(ROUTES).find
    taken = find(target(row).encode())
    reads = {each.template for each in ROUTES if each.at_once and each.template.format(**PATH) == target(row)}
    assert (taken is not None) == (row.template in reads)
    if row.at_once:
        assert taken is not None
        assert taken.route is row
    for strange in (target(row) + "/", target(row) + "?", target(row) + "?x=1", "/" + target(row)):
        assert find(strange.encode()) is None


class Count(msgspec.Struct):
    """A body."""

    desired: int


def get_count(service: DeploymentService, caller: Caller, request: Request) -> Count:
    found = service.get(DeploymentRef(request.path["namespace"], request.path["name"]), caller)
    return Count(found.replicas.desired)


def problem_body(problem: Problem) -> dict[str, object]:
    code = getattr(problem.error, "code", "")
    return {"type": f"/problems/{code}", "status": problem.status, "detail": problem.message}


LATER: Final = Dialect("later", {**STATUS, "deployment-not-found": 410}, problem_body, b"application/problem+json")
COUNT: Final = Route("GET", "/namespaces/{namespace}/deployments/{name}", LATER, "GetCount", get_count, query=())


async def test_another_dialect_is_rows_and_a_form_of_errors(repository: MemoryDeploymentRepository) -> None:
    """Namespaces in the path, RFC 9457's problems, statuses of its own: the fast path needs no change for it."""
    seen: list[Answered] = []
    fast_path = FastPath([*ROUTES, COUNT], Dispatcher(DeploymentService(repository)), [seen.append], [])

    found = fast_path(b"GET", b"/namespaces/shop/deployments/api", [], PEER)
    missing = fast_path(b"GET", b"/namespaces/shop/deployments/none", [], PEER)
    assert found is not None
    assert missing is not None
    assert (found.status, found.body) == (200, b'{"desired":8}')
    assert (missing.status, msgspec.json.decode(missing.body)) == (
        410,
        {"type": "/problems/deployment-not-found", "status": 410, "detail": "Deployment 'shop/none' not found"},
    )
    assert missing.head.startswith(b"content-type: application/problem+json\r\n")
    assert [(each.route, each.status) for each in seen] == [(COUNT.template, 200), (COUNT.template, 410)]
    for query in (b"?namespace=shop", b"?=shop", b"?"):
        assert fast_path(b"GET", b"/namespaces/shop/deployments/api" + query, [], PEER) is None
