"""API v2's description of all versions: every route and code is in it, and schemathesis finds nothing wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.schemas import OpenApiSchema

from kdm_core import DeploymentRef
from kdm_http.api.openapi import describe
from kdm_http.api.routes import ROUTES
from kdm_http.api.v2 import durations
from kdm_http.api.v2.openapi import describe_all
from kdm_http.api.v2.problems import KINDS
from unit.http.api.schemathesis_run import find_nothing, served

DOCUMENT = "/api/v2/openapi.json"
NOT_IN_A_SCHEMA = ["2xx", "304", "400", "403", "404", "409", "410", "412", "422", "504"]
"""What a request that fits the schema can be answered with: no schema says which tokens, tags and counts fit."""


@pytest.fixture(scope="module")
def schema() -> Iterator[OpenApiSchema]:
    """Load the description. For the module, since schemathesis keeps its event loop's threads until Python ends."""
    config = SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "generation": {"max-examples": 8},
            "phases": {"stateful": {"enabled": False}},
            "checks": {
                "positive_data_acceptance": {"expected-statuses": NOT_IN_A_SCHEMA},
                "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "504"]},
            },
        }
    )
    refs = DeploymentRef("default", "nginx-deployment"), DeploymentRef("shop", "api")
    with pytest.MonkeyPatch.context() as patch, served(*refs) as app:
        patch.setattr(durations, "MAX_WAIT_S", 0.05)  # nothing happens while a longer wait goes on
        yield schemathesis.openapi.from_asgi(DOCUMENT, app, config=config)


def test_schemathesis_finds_no_answer_that_the_description_does_not_have(schema: OpenApiSchema) -> None:
    """All checks, valid and invalid data, undeclared methods, undocumented statuses: each is as documented."""
    find_nothing(schema)


def test_it_has_the_routes_of_every_version() -> None:
    paths = describe_all(ROUTES, 10)["paths"]
    described = {(path, method.upper()) for path, item in paths.items() for method in item if method != "parameters"}
    rows = {(row.template, row.method) for row in ROUTES if row.dialect.name != "page"}
    for_machines_and_people = {"/api/v1/openapi.json", DOCUMENT, "/problems", "/problems/{code}"}
    assert described == {(template, method) for template, method in rows if template not in for_machines_and_people}
    rfds = describe(ROUTES, 10)["paths"]
    assert {path: paths[path] for path in rfds} == rfds


def test_it_needs_a_client_certificate_and_says_where_it_is_served() -> None:
    document = describe_all(ROUTES, 10)
    assert document["openapi"] == "3.1.0"
    assert document["components"]["securitySchemes"]["mutualTLS"]["type"] == "mutualTLS"
    assert document["security"] == [{"mutualTLS": []}]
    assert [each["url"] for each in document["servers"]] == ["/"]


def test_it_has_every_code() -> None:
    assert describe_all(ROUTES, 10)["components"]["schemas"]["ProblemCode"]["enum"] == list(KINDS)


def test_the_largest_count_is_the_services() -> None:
    asked = describe_all(ROUTES, 7)["components"]["schemas"]["SetReplicas"]["properties"]["replicas"]
    assert (asked["minimum"], asked["maximum"]) == (0, 7)
