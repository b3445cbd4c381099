"""The table of routes: what is derived from it has every row, and a dialect that does not exist yet fits into it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final

import httpx
import msgspec
import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import Caller, DeploymentRef, DeploymentService, Identity
from kdm_http.api.answered import Answered
from kdm_http.api.dispatch import Dispatcher
from kdm_http.api.errors import STATUS, Problem
from kdm_http.api.fast_path import FastPath, PlainTargets
from kdm_http.api.openapi import describe
from kdm_http.api.route import Dialect, Request, Route
from kdm_http.api.routes import ALLOWED, ROUTES, dialect_of

PEER: Final[Any] = SimpleNamespace(identity=Identity("alice"))

every_row = pytest.mark.parametrize("row", ROUTES, ids=lambda row: f"{row.method} {row.template}")


def target(row: Route) -> str:
    return row.template.replace("{name}", "nginx-deployment")


@every_row
def test_each_row_is_in_what_is_derived_from_the_table(row: Route) -> None:
    assert {row.method, "HEAD", "OPTIONS"} <= set(ALLOWED[row.template].split(", "))
    assert dialect_of(row.template) == row.dialect.name
    described = describe(ROUTES, 10)["paths"].get(row.template, {}).get(row.method.lower())
    assert (described is None) == (row.operation == "Describe")
    if described is not None:
        assert described["operationId"] == row.dialect.name + row.operation
        assert ("304" in described["responses"]) == row.tagged


@every_row
async def test_each_row_is_answered_through_asgi(row: Route, client: httpx.AsyncClient) -> None:
    body = None if row.method == "GET" else {"replicaCount": 2}
    answer = await client.request(row.method, target(row), json=body)
    assert answer.status_code == 200
    assert ("etag" in answer.headers) == row.tagged


@every_row
def test_the_fast_path_takes_each_read_that_never_waits_and_nothing_else(row: Route) -> None:
    find = PlainTargets(ROUTES).find
    taken = find(target(row).encode())
    reads = {each.template for each in ROUTES if each.at_once}
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
