"""Problems: each code has a status and a page, and each error has API v2's form wherever it comes from."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kdm_core import KdmError, Unavailable
from kdm_core.errors import ERRORS
from kdm_http.api.errors import problem_of
from kdm_http.api.v2.dialect import V2
from kdm_http.api.v2.problems import EDGE, KINDS
from unit.core.error_examples import EXAMPLES
from unit.http.api.v2.staging import ADJUST, REPLICAS, URL, Stage, problem


def test_no_code_is_without_a_status_a_title_and_a_meaning() -> None:
    assert set(KINDS) == {*ERRORS, *(each.code for each in EDGE)}
    for kind in KINDS.values():
        assert 400 <= kind.status <= 599
        assert kind.title
        assert kind.meaning.endswith(".")
        assert "`" not in kind.meaning


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda each: each.code)
@pytest.mark.parametrize("write", [True, False])
def test_each_error_of_the_core_has_the_form(error: KdmError, write: bool) -> None:
    code = error.code
    found = problem_of(error, V2.statuses, "r1", write=write)
    body = msgspec.json.decode(msgspec.json.encode(V2.error_body(found)))
    internal = KINDS[code].status == 500
    assert body["code"] == code
    assert body["type"] == f"/problems/{code}"
    assert body["status"] == found.status == KINDS[code].status
    assert body["detail"].startswith("internal error") if internal else body["detail"] == str(error)
    assert ("written" in body) == write
    assert body["retryable"] == isinstance(error, Unavailable)


@pytest.mark.parametrize("code", sorted(KINDS))
async def test_each_type_leads_to_a_page(stage: Stage, code: str) -> None:
    answer = await stage.ask("GET", f"/problems/{code}")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = answer.body.decode()
    assert f"<code>{code}</code>" in page
    assert KINDS[code].title in page


async def test_the_index_lists_every_problem(stage: Stage) -> None:
    for target in ("/problems", "/problems/"):
        page = (await stage.ask("GET", target)).body.decode()
        assert all(f'href="/problems/{code}"' in page for code in KINDS)
    problem(await stage.ask("GET", "/problems/nothing"), 404, "no-such-problem")


async def test_what_no_route_matches_has_the_form_too(stage: Stage) -> None:
    for target in ("/api/v2/nothing", "/api/v2/namespaces/shop/deployments/web/x", "/api/v2/deployments/web"):
        assert "/api/v2/openapi.json" in problem(await stage.ask("GET", target), 404, "no-such-route")["detail"]
    answer = await stage.ask("DELETE", URL)
    assert problem(answer, 405, "method-not-allowed")["written"] is False
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert (await stage.ask("PATCH", REPLICAS, {})).headers["allow"] == "GET, HEAD, OPTIONS, PUT"


async def test_outside_of_v2_it_stays_as_it_was(stage: Stage) -> None:
    for target in ("/api/v20", "/nothing", "/api"):
        answer = await stage.ask("GET", target)
        assert answer.status == 404
        assert answer.json == {"error": "no such route; the API is described at /api/v1/openapi.json"}


async def test_a_body_that_is_no_json_or_too_large_has_the_form(stage: Stage) -> None:
    client = await stage.client()
    answer = await client.request(REPLICAS, method="PUT", body=b"replicas=5", headers="content-type: text/plain\r\n")
    assert problem(answer, 415, "unsupported-media-type")["written"] is False
    client = await stage.client()
    large = b'{"replicas": 5}' + b" " * 65536
    answer = await client.request(ADJUST, method="POST", body=large, headers="content-type: application/json\r\n")
    assert problem(answer, 413, "body-too-large")["written"] is False


async def test_a_defect_says_nothing_of_itself(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(stage.service, "set_replicas", broken)
    body = problem(await stage.ask("PUT", REPLICAS, {"replicas": 4}), 500, "error")
    assert body["written"] is None
    assert "secret" not in body["detail"]


async def test_metrics_name_the_template_and_not_the_path(stage: Stage) -> None:
    await stage.ask("GET", URL)
    await stage.ask("GET", "/api/v2/deployments?limit=1")
    await stage.ask("PUT", REPLICAS, {"replicas": 4})
    assert [each.route for each in stage.answered] == [
        "/api/v2/namespaces/{namespace}/deployments/{name}",
        "/api/v2/deployments",
        "/api/v2/namespaces/{namespace}/deployments/{name}/replicas",
    ]
