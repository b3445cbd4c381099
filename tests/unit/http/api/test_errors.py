"""Every way a request can fail, in both dialects: the status, and a message that says what was wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx
import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import DeploymentService, KdmError, WriteInvalid
from kdm_core.errors import ERRORS
from kdm_http.api import route as api
from kdm_http.api.app import create_app
from kdm_http.api.errors import status_of
from kdm_http.api.routes import ROUTES
from unit.http.conftest import Admitted


class Dialect(NamedTuple):
    base: str
    write: str

    def replicas(self, name: str = "nginx-deployment") -> str:
        return f"{self.base}/deployments/{name}/replicas"


DIALECTS = [Dialect("", "POST"), Dialect("/api/v1", "PUT")]
JSON = {"content-type": "application/json"}


@pytest.fixture(params=DIALECTS, ids=["rfd001", "rfd156"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    chosen: Dialect = request.param
    return chosen


def error(answer: httpx.Response, status: int) -> str:
    """Check the shape of an error and return its message."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error"}
    message = answer.json()["error"]
    assert isinstance(message, str)
    assert message
    assert "Traceback" not in message
    assert "/src/" not in message
    return message


BAD_BODIES = {
    "nothing": (b"", "malformed JSON"),
    "cut off": (b'{"replicaCount":', "malformed JSON"),
    "text after it": (b'{"replicaCount": 1} x', "malformed JSON"),
    "not UTF-8": (b'{"replicaCount": "\xff"}', "not UTF-8"),
    "an array": (b"[5]", "not an object"),
    "a bare number": (b"5", "not an object"),
    "no field": (b"{}", "'replicaCount' is missing"),
    "another field": (b'{"replicas": 5}', "'replicaCount' is missing"),
    "an unknown field": (b'{"replicaCount": 5, "force": true}', "unknown field 'force'"),
    "the field twice": (b'{"replicaCount": 5, "replicaCount": 6}', "more than once"),
    "true": (b'{"replicaCount": true}', "an integer, not a boolean"),
    "a string": (b'{"replicaCount": "3"}', "an integer, not a string"),
    "null": (b'{"replicaCount": null}', "an integer, not null"),
    "an object": (b'{"replicaCount": {}}', "an integer, not an object"),
    "a decimal": (b'{"replicaCount": 1.0}', "an integer, not 1.0"),
    "an exponent": (b'{"replicaCount": 1e2}', "an integer, not 1e2"),
    "infinity": (b'{"replicaCount": 1e400}', "an integer, not 1e400"),
    "NaN": (b'{"replicaCount": NaN}', "an integer, not NaN"),
    "negative": (b'{"replicaCount": -1}', "from 0 to 1000"),
    "above the bound": (b'{"replicaCount": 1001}', "from 0 to 1000"),
    "above int64": (b'{"replicaCount": 9223372036854775808}', "from 0 to 1000"),
    "six thousand digits": (b'{"replicaCount": ' + b"9" * 6000 + b"}", "out of all bounds"),
    "nested without end": (b"[" * 50_000, "nested too deeply"),
}


@pytest.mark.parametrize("what", BAD_BODIES)
async def test_a_bad_body_is_400_and_changes_nothing(
    client: httpx.AsyncClient, repository: MemoryDeploymentRepository, dialect: Dialect, what: str
) -> None:
    content, expected = BAD_BODIES[what]
    before = dict(repository.cluster.deployments)
    answer = await client.request(dialect.write, dialect.replicas(), content=content, headers=JSON)
    assert expected in error(answer, 400)
    assert repository.cluster.deployments == before


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "application/json5", ""])
async def test_another_media_type_is_415(client: httpx.AsyncClient, dialect: Dialect, media_type: str) -> None:
    answer = await client.request(
        dialect.write, dialect.replicas(), content=b'{"replicaCount": 5}', headers={"content-type": media_type}
    )
    assert "application/json" in error(answer, 415)


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON"])
async def test_json_is_recognised_however_it_is_written(
    client: httpx.AsyncClient, dialect: Dialect, media_type: str
) -> None:
    answer = await client.request(
        dialect.write, dialect.replicas(), content=b'{"replicaCount": 5}', headers={"content-type": media_type}
    )
    assert answer.status_code == 200


async def test_a_body_past_64_kib_is_413(client: httpx.AsyncClient, dialect: Dialect) -> None:
    content = b'{"replicaCount": 5}' + b" " * 65536
    answer = await client.request(dialect.write, dialect.replicas(), content=content, headers=JSON)
    assert "65536" in error(answer, 413)


async def test_a_chunked_body_past_64_kib_is_413_without_reading_it_all(
    client: httpx.AsyncClient, dialect: Dialect
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10_000_000:
            sent += 16_384
            yield b" " * 16_384

    answer = await client.request(dialect.write, dialect.replicas(), content=endless(), headers=JSON)
    error(answer, 413)
    assert sent < 1_000_000


async def test_a_body_of_64_kib_is_read(client: httpx.AsyncClient, dialect: Dialect) -> None:
    content = b'{"replicaCount": 5}'.ljust(65536)
    assert (await client.request(dialect.write, dialect.replicas(), content=content, headers=JSON)).status_code == 200


@pytest.mark.parametrize("name", ["Nginx", "-a", "a_b", "a..b", "a" * 254, "a%20b", "%00", "%ff", "%E2%80%8B"])
async def test_a_name_that_is_none_is_400(client: httpx.AsyncClient, dialect: Dialect, name: str) -> None:
    assert "DNS-1123" in error(await client.get(dialect.replicas(name)), 400)
    assert "DNS-1123" in error(
        await client.request(dialect.write, dialect.replicas(name), json={"replicaCount": 1}), 400
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("namespace=UPPER", "DNS-1123"),
        ("namespace=", "DNS-1123"),
        ("namespace=a.b", "DNS-1123"),
        ("namespace=a&namespace=b", "more than once"),
        ("Namespace=a", "unknown query parameter 'Namespace'"),
        ("limit=5", "unknown query parameter 'limit'"),
        ("namespace=%ff", "percent-encoded UTF-8"),
    ],
)
async def test_a_bad_query_is_400_on_every_route(
    client: httpx.AsyncClient, dialect: Dialect, query: str, expected: str
) -> None:
    for path in (f"{dialect.base}/deployments", dialect.replicas()):
        assert expected in error(await client.get(f"{path}?{query}"), 400)
    answer = await client.request(dialect.write, f"{dialect.replicas()}?{query}", json={"replicaCount": 1})
    assert expected in error(answer, 400)


async def test_an_unknown_deployment_is_404(client: httpx.AsyncClient, dialect: Dialect) -> None:
    for query in ("", "?namespace=default"):
        path = dialect.replicas("absent") + query
        assert "'" in error(await client.get(path), 404)
        assert "absent" in error(await client.request(dialect.write, path, json={"replicaCount": 1}), 404)


async def test_an_unknown_route_is_404(client: httpx.AsyncClient, dialect: Dialect) -> None:
    for path in ("/nowhere", "/deployments/a", "/deployments/a/b/replicas", "/deployments/a/replicas/b", "/schema"):
        error(await client.get(dialect.base + path), 404)


async def test_a_wrong_method_is_405_with_what_is_allowed(client: httpx.AsyncClient, dialect: Dialect) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        if method != dialect.write:
            answer = await client.request(method, dialect.replicas(), json={"replicaCount": 1})
            error(answer, 405)
            assert answer.headers["allow"] == f"GET, HEAD, OPTIONS, {dialect.write}"
        for path in ("/deployments", "/health"):
            answer = await client.request(method, dialect.base + path)
            error(answer, 405)
            assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_options_and_head_answer_what_allow_says(client: httpx.AsyncClient, dialect: Dialect) -> None:
    for path, allowed in (
        (dialect.replicas(), f"GET, HEAD, OPTIONS, {dialect.write}"),
        ("/health", "GET, HEAD, OPTIONS"),
    ):
        answer = await client.options(path)
        assert (answer.status_code, answer.headers["allow"], answer.content) == (204, allowed, b"")
        answer = await client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-length"] == str(len((await client.get(path)).content))
    assert (await client.head(dialect.replicas("absent"))).status_code == 404


@pytest.mark.parametrize("spelling", ["/deployments/", "//deployments", "/%64eployments"])
async def test_other_spellings_of_a_path_mean_the_same(
    client: httpx.AsyncClient, dialect: Dialect, spelling: str
) -> None:
    answer = await client.get(f"https://kdm.test{dialect.base}{spelling}")
    assert answer.json() == (await client.get(f"{dialect.base}/deployments")).json()


async def test_a_wrong_query_is_400_on_the_description_too(client: httpx.AsyncClient) -> None:
    path = "/api/v1/openapi.json"
    assert "unknown query parameter 'verbose'" in error(await client.get(f"{path}?verbose=1"), 400)
    assert "DNS-1123" in error(await client.get(f"{path}?namespace=UPPER"), 400)


async def test_every_error_of_health_has_its_status_as_rfd_156_says(
    client: httpx.AsyncClient, service: DeploymentService, dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("secret")

    path = f"{dialect.base}/health"
    wrong = await client.get(f"{path}?verbose=1")
    unnamed = await client.get(f"{path}?namespace=UPPER")
    monkeypatch.setattr(service, "health", broken)
    defect = await client.get(path)
    for answer, status, expected in (
        (wrong, 400, "unknown query parameter 'verbose'"),
        (unnamed, 400, "DNS-1123"),
        (defect, 500, "internal error"),
    ):
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
        assert answer.json().keys() == {"status", "error"}
        assert answer.json()["status"] == "unhealthy"
        assert expected in answer.json()["error"]


async def test_a_compressed_body_is_415(client: httpx.AsyncClient, dialect: Dialect) -> None:
    answer = await client.request(
        dialect.write, dialect.replicas(), content=b"\x1f\x8b", headers={**JSON, "content-encoding": "gzip"}
    )
    assert "Content-Encoding" in error(answer, 415)


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_defect_of_kdm(
    service: DeploymentService, dialect: Dialect, caplog: pytest.LogCaptureFixture
) -> None:
    """The edge gets an answer it will not deliver, and nothing is logged as an internal error."""
    messages: list[Any] = [
        {"type": "http.request", "body": b'{"replica', "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": dialect.write,
        "path": dialect.replicas(),
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    await Admitted(create_app(service))(scope, receive, send)
    assert sent[0]["status"] == 400
    assert "internal error" not in caplog.text


def test_an_unknown_subclass_has_the_status_of_its_class() -> None:
    """Adapters refine the core's errors, and the table need not know."""

    class Refined(WriteInvalid):
        pass

    assert status_of(Refined("no")) == 422
    assert status_of(KdmError("never mapped")) == 500


async def test_each_answer_is_observed_with_its_route(service: DeploymentService) -> None:
    observed: list[tuple[str, str, int, str]] = []
    app = create_app(service, observers=[lambda answered: observed.append((*answered[:3], answered.user))])
    transport = httpx.ASGITransport(Admitted(app))
    async with httpx.AsyncClient(transport=transport, base_url="https://kdm.test") as client:
        await client.get("/deployments/nginx-deployment/replicas")
        await client.head("/api/v1/deployments")
        await client.get("/nowhere")
    assert observed == [
        ("GET", "/deployments/{name}/replicas", 200, "local"),
        ("HEAD", "/api/v1/deployments", 200, "local"),
        ("GET", "", 404, "local"),
    ]


async def test_an_ambiguous_name_is_409_and_names_the_candidates(client: httpx.AsyncClient, dialect: Dialect) -> None:
    for answer in (
        await client.get(dialect.replicas("api")),
        await client.request(dialect.write, dialect.replicas("api"), json={"replicaCount": 1}),
    ):
        message = error(answer, 409)
        assert "payments, shop" in message
        assert "?namespace=" in message


@pytest.mark.parametrize(
    ("fault", "status", "expected"),
    [
        ("conflict", 409, "changed by somebody else"),
        ("forbidden", 502, "'patch' on 'deployments/scale' in namespace 'default'"),
        ("unreachable", 503, "cannot be reached"),
        ("timeout", 504, "in time"),
        ("not_synced", 503, "not been read yet"),
    ],
)
async def test_a_write_that_the_cluster_cannot_take(
    client: httpx.AsyncClient,
    repository: MemoryDeploymentRepository,
    dialect: Dialect,
    fault: str,
    status: int,
    expected: str,
) -> None:
    before = dict(repository.cluster.deployments)
    setattr(repository.faults, fault, True)
    answer = await client.request(dialect.write, dialect.replicas(), json={"replicaCount": 1})
    assert expected in error(answer, status)
    assert ("retry-after" in answer.headers) == (status in {503, 504})
    assert repository.cluster.deployments == before


async def test_reads_before_the_first_sync_are_503(
    client: httpx.AsyncClient, repository: MemoryDeploymentRepository, dialect: Dialect
) -> None:
    repository.faults.not_synced = True
    for path in (f"{dialect.base}/deployments", dialect.replicas()):
        answer = await client.get(path)
        assert "not been read yet" in error(answer, 503)
        assert int(answer.headers["retry-after"]) >= 1


async def test_reads_go_on_while_the_cluster_is_away(
    client: httpx.AsyncClient, repository: MemoryDeploymentRepository, dialect: Dialect
) -> None:
    repository.faults.unreachable = True
    assert (await client.get(dialect.replicas())).json()["replicaCount"] == 3


async def test_an_unforeseen_error_is_500_and_tells_nothing_of_the_inside(
    client: httpx.AsyncClient,
    repository: MemoryDeploymentRepository,
    dialect: Dialect,
    caplog: pytest.LogCaptureFixture,
) -> None:
    repository.cluster.deployments.clear()  # behind the snapshot's back, so that scaling meets something impossible
    repository.cluster.deployments = None  # type: ignore[assignment] # on purpose
    answer = await client.request(dialect.write, dialect.replicas(), json={"replicaCount": 1})
    message = error(answer, 500)
    assert "NoneType" not in message
    assert answer.headers["x-request-id"] in message
    assert "NoneType" in caplog.text


async def test_without_a_client_certificate_nothing_is_served(service: DeploymentService) -> None:
    stranger: Any = create_app(service)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(stranger), base_url="https://kdm.test") as client:
        for path in ("/deployments", "/api/v1/deployments", "/health", "/nowhere", "/api/v1/openapi.json"):
            assert "client certificate" in error(await client.get(path), 401)


async def test_what_the_cluster_holds_invalid_is_422(repository: MemoryDeploymentRepository, dialect: Dialect) -> None:
    class Strict(MemoryDeploymentRepository):
        async def set_replicas(self, *_: object, **__: object):  # type: ignore[no-untyped-def] # always raises
            raise WriteInvalid("the cluster refused it: at most 20")

    async with Strict(repository.cluster.deployments.values()) as strict:
        app = Admitted(create_app(DeploymentService(strict)))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://kdm.test") as client:
            answer = await client.request(dialect.write, dialect.replicas(), json={"replicaCount": 21})
            assert "at most 20" in error(answer, 422)


@pytest.mark.parametrize("spoken", list(dict.fromkeys(each.dialect for each in ROUTES)), ids=lambda spoken: spoken.name)
def test_every_error_of_the_core_has_a_status_in_every_dialect(spoken: api.Dialect) -> None:
    """And no code is in a table that no error has."""
    assert spoken.statuses.keys() == ERRORS.keys()
