"""What is found without the router is what the router finds. Litestar is the oracle."""

from __future__ import annotations

import itertools
import re
from typing import Any, Final

import pytest
from litestar.exceptions import HTTPException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge

from kdm_core import DeploymentService
from kdm_http.api.app import create_app
from kdm_http.api.errors import MAX_BODY_BYTES, BadRequest
from kdm_http.api.plain_paths import Asked, PlainPaths
from kdm_http.api.routes import ROUTES

METHODS: Final = ("GET", "POST", "PUT", "DELETE")
SEGMENTS: Final = sorted(
    {"web", "a.b-c", "0"}
    | {each for route in ROUTES for each in route.template.split("/") if re.fullmatch(r"[a-z0-9][a-z0-9.-]*", each)}
)
"""Names, among them every one that is a part of another path."""


def scope(method: str, path: str, **fields: str) -> Any:
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return {"type": "http", "method": method, "path": path, "headers": headers}


def test_every_plain_path_leads_where_the_router_leads_it(service: DeploymentService) -> None:
    router, plain = create_app(service)._litestar.asgi_router, PlainPaths(ROUTES)
    found = 0
    for template in {route.template for route in ROUTES}:
        names = re.findall(r"\{(\w+)\}", template)
        for values in itertools.product(SEGMENTS, repeat=len(names)):
            path = template.format(**dict(zip(names, values, strict=True)))
            for method in METHODS:
                if (mine := plain.find(scope(method, path))) is None:
                    continue
                _, _, _, parameters, its_template = router.handle_routing(path, method)  # type: ignore[arg-type]
                assert (mine[0].template, mine[0].method, mine[1]) == (its_template, method, parameters), path
                found += 1
    assert found > len(ROUTES)


@pytest.mark.parametrize("row", ROUTES, ids=lambda row: f"{row.method} {row.template}")
def test_every_row_is_found(row: Any) -> None:
    found = PlainPaths(ROUTES).find(scope(row.method, re.sub(r"\{\w+\}", "some-name", row.template), host="kdm:8443"))
    assert found == (row, dict.fromkeys(row.parameters, "some-name"))


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("/deployments/", "kdm"),
        ("//deployments", "kdm"),
        ("/deployments/Web/replicas", "kdm"),
        ("/deployments/a b/replicas", "kdm"),
        ("/deployments", "a b"),
        ("/deployments", "[::1]:8443"),
        ("/deployments/" + 600 * "a" + "/replicas", "kdm"),
        ("/nowhere", "kdm"),
    ],
)
def test_what_is_not_plain_is_for_the_router(path: str, host: str) -> None:
    assert PlainPaths(ROUTES).find(scope("GET", path, host=host)) is None


def asked(*events: dict[str, Any], **fields: str) -> Asked:
    left = iter(events)

    async def receive() -> Any:
        return next(left)

    return Asked.plainly(scope("PUT", "/", **fields), receive)


async def test_a_body_is_read_to_its_end_and_may_be_asked_for_again() -> None:
    request = asked(
        {"type": "http.request", "body": b'{"a"', "more_body": True}, {"type": "http.request", "body": b": 1}"}
    )
    assert [await request.body(), await request.body()] == 2 * [b'{"a": 1}']


async def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    with pytest.raises(RequestEntityTooLarge):
        await asked(content_length=str(MAX_BODY_BYTES + 1)).body()


async def test_a_body_that_turns_out_to_be_too_large_is_refused() -> None:
    half = {"type": "http.request", "body": bytes(MAX_BODY_BYTES // 2 + 1), "more_body": True}
    with pytest.raises(RequestEntityTooLarge) as caught:
        await asked(half, half).body()
    assert isinstance(caught.value, HTTPException)


async def test_a_body_that_breaks_off_is_an_error_of_the_client() -> None:
    half = {"type": "http.request", "body": b"{", "more_body": True}
    with pytest.raises(BadRequest, match="before the body did"):
        await asked(half, {"type": "http.disconnect"}).body()
