"""The API's description of itself: it tells of every route, and schemathesis finds nothing that it tells wrongly."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.schemas import OpenApiSchema

from kdm_core import DeploymentRef
from kdm_http.api.openapi import describe
from kdm_http.api.routes import ROUTES
from unit.http.api.schemathesis_run import find_nothing, served

DOCUMENT = "/api/v1/openapi.json"


@pytest.fixture(scope="module")
def schema() -> Iterator[OpenApiSchema]:
    """Load the description. For the module, since schemathesis keeps its event loop's threads until Python ends."""
    config = SchemathesisConfig.from_dict(
        {"seed": 1, "generation": {"max-examples": 25}, "phases": {"stateful": {"enabled": False}}}
    )
    refs = DeploymentRef("default", "nginx-deployment"), DeploymentRef("payments", "api"), DeploymentRef("shop", "api")
    with served(*refs) as app:
        yield schemathesis.openapi.from_asgi(DOCUMENT, app, config=config)


def test_schemathesis_finds_no_answer_that_the_description_does_not_tell(schema: OpenApiSchema) -> None:
    """All checks, valid and invalid data, undeclared methods, undocumented statuses: each is as documented."""
    find_nothing(schema)


async def test_it_tells_both_dialects_routes_and_no_other(client: httpx.AsyncClient) -> None:
    paths = (await client.get(DOCUMENT)).json()["paths"]
    methods = {path: set(item) - {"parameters"} for path, item in paths.items()}
    assert methods == {
        "/deployments": {"get"},
        "/deployments/{name}/replicas": {"get", "post"},
        "/health": {"get"},
        "/api/v1/deployments": {"get"},
        "/api/v1/deployments/{name}/replicas": {"get", "put"},
        "/api/v1/health": {"get"},
    }


@pytest.mark.parametrize("path", ["/schema", "/schema/swagger", "/docs", "/api/v1/schema", "/redoc"])
async def test_there_is_no_web_page(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


def test_the_largest_count_is_the_service_s() -> None:
    asked = describe(ROUTES, 7)["components"]["schemas"]["ReplicaCountRequest"]["properties"]["replicaCount"]
    assert (asked["minimum"], asked["maximum"]) == (0, 7)


def test_every_answer_has_an_example() -> None:
    document = describe(ROUTES, 1000)
    shared = document["components"]["responses"]
    for path, item in document["paths"].items():
        for method in item.keys() - {"parameters"}:
            for status, answer in item[method]["responses"].items():
                told = shared[answer["$ref"].rpartition("/")[2]] if "$ref" in answer else answer
                if status == "304":
                    assert "content" not in told
                    continue
                assert "example" in told["content"]["application/json"], (path, method, status)
