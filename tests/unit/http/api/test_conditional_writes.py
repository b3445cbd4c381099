"""A write with a condition: judged as RFC 9110, section 13, has it for something without a tag or a date."""

from __future__ import annotations

from collections.abc import Iterable

import httpx
import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import DeploymentRef, DeploymentService, Identity, Outcome
from kdm_core.policy import parse_policy
from kdm_http.api.app import create_app
from unit.core.fixtures import ListedAudit
from unit.http.conftest import Admitted

WRITES = [("POST", "/deployments/{}/replicas"), ("PUT", "/api/v1/deployments/{}/replicas")]
WEB = DeploymentRef("default", "nginx-deployment")

Fields = list[tuple[str, str]]

UNMET: list[Fields] = [
    [("If-Match", '"3621fef5e746bd28"')],
    [("If-Match", 'W/"weak"')],
    [("If-Match", '"a", "b"')],
    [("If-Match", "")],
    [("If-Match", "no tag at all")],
    [("If-Match", '*, "a"')],
    [("If-Match", "*"), ("If-Match", '"a"')],
    [("If-None-Match", "*")],
    [("If-Match", "*"), ("If-None-Match", "*")],
    [("If-Match", '"a"'), ("If-Unmodified-Since", "Fri, 31 Dec 9999 23:59:59 GMT")],
]
MET: list[Fields] = [
    [],
    [("If-Match", "*")],
    [("If-Match", " * ")],
    [("If-None-Match", '"3621fef5e746bd28"')],
    [("If-None-Match", 'W/"a", "b"')],
    [("If-Match", "*"), ("If-None-Match", '"a"')],
    [("If-Unmodified-Since", "Sat, 01 Jan 2000 00:00:00 GMT")],
    [("If-Modified-Since", "Fri, 31 Dec 9999 23:59:59 GMT")],
    [("If-Range", '"a"')],
]


def name(fields: object) -> str:
    return "; ".join(map(": ".join, fields)) or "none" if isinstance(fields, list) else str(fields)


class Api:
    """The API, what it wrote, and what is in the trail."""

    def __init__(self, repository: MemoryDeploymentRepository, grants: str = 'verbs = ["read", "scale"]') -> None:
        self._repository = repository
        self.audit = ListedAudit()
        policy = parse_policy(f'version = 1\n[[grant]]\nanyone = true\nnamespaces = ["*"]\n{grants}\n')
        self._app = create_app(DeploymentService(repository, policy=policy, audit=self.audit))

    @property
    def count(self) -> int:
        return self._repository.cluster.deployments[WEB].replicas.desired

    async def write(self, method: str, path: str, fields: Iterable[tuple[str, str]], body: object) -> httpx.Response:
        transport = httpx.ASGITransport(Admitted(self._app, Identity("alice")))
        async with httpx.AsyncClient(transport=transport, base_url="https://kdm.test") as client:
            return await client.request(method, path, headers=list(fields), json=body)


@pytest.mark.parametrize("fields", UNMET, ids=name)
@pytest.mark.parametrize(("method", "path"), WRITES, ids=["rfd001", "rfd156"])
async def test_a_condition_that_is_not_met_is_412_and_nothing_is_written(
    method: str, path: str, fields: Fields, repository: MemoryDeploymentRepository
) -> None:
    """The trail has the attempt, as rejected, with what was asked for and what there was."""
    api = Api(repository)
    answer = await api.write(method, path.format(WEB.name), fields, {"replicaCount": 5})
    assert (answer.status_code, api.count) == (412, 3)
    assert list(answer.json()) == ["error"]
    (event,) = api.audit.events
    assert (event.outcome, event.reason) == (Outcome.REJECTED, answer.json()["error"])
    assert (event.namespace, event.name, event.old_replicas, event.new_replicas) == (WEB.namespace, WEB.name, 3, 5)


@pytest.mark.parametrize("fields", MET, ids=name)
@pytest.mark.parametrize(("method", "path"), WRITES, ids=["rfd001", "rfd156"])
async def test_a_condition_that_is_met_or_means_nothing_here_lets_the_write_be_done(
    method: str, path: str, fields: Fields, repository: MemoryDeploymentRepository
) -> None:
    api = Api(repository)
    answer = await api.write(method, path.format(WEB.name), fields, {"replicaCount": 5})
    assert (answer.status_code, api.count) == (200, 5)
    assert [event.outcome for event in api.audit.events] == [Outcome.SUCCESS]


@pytest.mark.parametrize("fields", [[("If-Match", '"a"')], [("If-None-Match", "*")], [("If-Match", "*")]], ids=name)
@pytest.mark.parametrize(
    ("target", "query", "body", "grants", "status"),
    [
        ("none", "", 5, 'verbs = ["read", "scale"]', 404),
        ("none", "?namespace=default", 5, 'verbs = ["read", "scale"]', 404),
        ("api", "", 5, 'verbs = ["read", "scale"]', 409),
        (WEB.name, "", 5, 'verbs = ["read"]', 403),
        (WEB.name, "", 5, 'verbs = ["scale"]\nreplicas = { max = 4 }', 403),
        (WEB.name, "", -1, 'verbs = ["read", "scale"]', 400),
        (WEB.name, "", "5", 'verbs = ["read", "scale"]', 400),
    ],
)
async def test_any_other_error_comes_before_the_condition(
    target: str,
    query: str,
    body: object,
    grants: str,
    status: int,
    fields: Fields,
    repository: MemoryDeploymentRepository,
) -> None:
    """RFC 9110, section 13.2.1. So nobody learns from a 412 what he may not know."""
    api = Api(repository, grants)
    for method, path in WRITES:
        answer = await api.write(method, path.format(target) + query, fields, {"replicaCount": body})
        assert (answer.status_code, api.count) == (status, 3), answer.text


async def test_reads_are_not_concerned(client: httpx.AsyncClient) -> None:
    """A condition on a read protects nothing: what is asked for is told."""
    for path in ("/deployments", "/deployments/nginx-deployment/replicas", "/health"):
        assert (await client.get(path, headers={"If-Match": '"a"'})).status_code == 200


async def test_the_description_has_412_for_writes_alone(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/api/v1/openapi.json")).json()["paths"]
    with_412 = {
        (path, method)
        for path, operations in paths.items()
        for method, operation in operations.items()
        if method != "parameters" and "412" in operation["responses"]
    }
    assert with_412 == {("/deployments/{name}/replicas", "post"), ("/api/v1/deployments/{name}/replicas", "put")}
