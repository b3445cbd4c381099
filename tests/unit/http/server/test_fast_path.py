"""A read that is answered at once, and the same read on its long way through the application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import DeploymentRef, DeploymentService, Outcome
from kdm_core.policy import ALLOW_ALL, Policy, parse_policy
from kdm_http.api.answered import Answered
from kdm_http.api.app import Api, create_app
from kdm_http.server.limits import Limits
from unit.core.fixtures import ListedAudit
from unit.http.client import DEADLINE_S, Client, Response

POLICY = """
version = 1
[[grant]]
anyone = true
verbs = ["read"]
namespaces = ["default", "payments", "shop", "many"]
"""

TARGETS = [
    "/deployments",
    "/api/v1/deployments",
    "/deployments?namespace=shop",
    "/api/v1/deployments?namespace=*",
    "/deployments?namespace=nowhere",
    "/deployments?namespace=secret",
    "/deployments?namespace=",
    "/deployments?namespace=Shop",
    "/deployments?namespace=shop&namespace=shop",
    "/deployments?namespace=sh%6Fp",
    "/deployments?nonsense=1",
    "/deployments?",
    "/deployments/",
    "//deployments",
    "/deployments#part",
    "/api/v1/deployments/web/replicas",
    "/deployments/web/replicas",
    "/deployments/web/replicas/",
    "/deployments/web",
    "/deployments/replicas",
    "/deployments//replicas",
    "/deployments/w%65b/replicas",
    "/deployments/a/b/replicas",
    "/deployments/WEB/replicas",
    "/deployments/none/replicas",
    "/deployments/api/replicas",
    "/deployments/api/replicas?namespace=shop",
    "/deployments/web/replicas?namespace=default",
    "/deployments/web/replicas?namespace=shop",
    "/deployments/hidden/replicas",
    "/deployments/hidden/replicas?namespace=secret",
    "/api/v1/deployments/" + "x" * 254 + "/replicas",
    "https://kdm/deployments/web/replicas",
    "/health",
    "/nowhere",
]

FIELDS = [
    "",
    "connection: keep-alive\r\n",
    "connection: close\r\n",
    "content-length: 0\r\n",
    "content-length: 2\r\n",
    "expect: 100-continue\r\ncontent-length: 2\r\n",
    "connection: upgrade\r\nupgrade: websocket\r\n",
    "x-request-id: again\r\n",
    "if-none-match: *\r\n",
    'if-none-match: "other"\r\n',
    'if-none-match: "other"\r\nif-none-match: *\r\n',
    "host: kdm\r\n",
]


class Side:
    """One of two servers of the same Deployments, and all it let others know."""

    def __init__(self, repository: MemoryDeploymentRepository, policy: Policy | None = None) -> None:
        self.audit = ListedAudit()
        self.observed: list[tuple[str, str, int, str]] = []
        self.answered: list[Answered] = []
        service = DeploymentService(repository, policy=policy or parse_policy(POLICY), audit=self.audit)
        self.service = service
        self.api = create_app(service, observers=[self._observe])
        self.server: Any = None

    def _observe(self, answered: Answered) -> None:
        assert answered.seconds >= 0
        self.answered.append(answered)
        self.observed.append((answered.method, answered.route, answered.status, answered.user))

    @property
    def told(self) -> Any:
        audited = [(each.verb, each.namespace, each.name, each.reason) for each in self.audit.events]
        return self.observed, audited


def long_way(api: Api) -> Any:
    """Return the same application without its fast path."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await api(scope, receive, send)

    return app


@pytest.fixture
async def sides(start: Any) -> AsyncIterator[tuple[Side, Side]]:
    async with MemoryDeploymentRepository() as repository:
        for namespace, name in (("default", "web"), ("payments", "api"), ("shop", "api"), ("secret", "hidden")):
            repository.cluster.create(DeploymentRef(namespace, name), 3)
        for number in range(3000):
            repository.cluster.create(DeploymentRef("many", f"deployment-{number:05}"), number)
        short, long = Side(repository), Side(repository)
        short.server = await start(app=short.api)
        long.server = await start(app=long_way(long.api))
        yield short, long


async def ask(client: Client, method: str, target: str, version: str, fields: str) -> Response:
    await client.send(
        f"{method} {target} HTTP/{version}\r\nhost: kdm\r\nx-request-id: mine\r\n{fields}\r\n".encode()
        + (b"{}" if "length: 2" in fields else b"")
    )
    if "100-continue" in fields:
        await asyncio.wait_for(client._until(b"\r\n\r\n"), DEADLINE_S) if method == "POST" else None
    if method == "HEAD":
        head = await client._until(b"\r\n\r\n")
        return Response(int(head.split()[1]), {"head": head.decode().partition("content-type")[2]}, b"")
    answer = await client.response()
    answer.headers.pop("date", None)
    return answer


async def test_both_ways_give_the_same(sides: tuple[Side, Side], connect: Any) -> None:
    """Status, header fields, body, what is counted and what is audited: nobody can tell which way a read took."""
    short, long = sides
    cases = [("GET", target, "1.1", "") for target in TARGETS]
    cases += [("HEAD", target, "1.1", "") for target in TARGETS]
    cases += [("GET", "/deployments/web/replicas", "1.1", fields) for fields in FIELDS]
    cases += [("GET", "/deployments?namespace=shop", "1.1", fields) for fields in FIELDS]
    cases += [("GET", "/deployments/web/replicas", "1.0", ""), ("OPTIONS", "/deployments", "1.1", "")]
    for case in cases:
        answers = []
        for side in sides:
            client = await connect(side.server)
            await client.handshake()
            answers.append(await ask(client, *case))
            await client.close()
        assert answers[0] == answers[1], case
    assert short.told == long.told


@pytest.mark.parametrize("base", ["", "/api/v1"])
@pytest.mark.parametrize("way", [0, 1], ids=["fast path", "long way"])
async def test_who_has_the_newest_list_is_told_so(sides: tuple[Side, Side], connect: Any, base: str, way: int) -> None:
    """With a 304 and no body, until the list is another one. Nothing else has a tag."""
    side, read = sides[way], "/deployments?namespace=shop"
    client = await connect(side.server)
    first = await client.request(base + read)
    tag = first.headers["etag"]
    for method in ("GET", "HEAD"):
        for names in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = await client.request(base + read, method=method, headers=f"If-None-Match: {names}\r\n")
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
            assert "content-type" not in again.headers
    for names in ('"other"', tag.strip('"'), tag.replace('"', "'"), '""'):
        assert (await client.request(base + read, headers=f"If-None-Match: {names}\r\n")).body == first.body
    assert {status for _, _, status, _ in side.observed} == {200, 304}

    repository: Any = side.service._repository
    await repository.set_replicas(DeploymentRef("shop", "api"), 4)
    changed = await client.request(base + read, headers=f"If-None-Match: {tag}\r\n")
    assert (changed.status, changed.headers["etag"] == tag) == (200, False)
    await repository.set_replicas(DeploymentRef("shop", "api"), 3)
    assert (await client.request(base + read, headers=f"If-None-Match: {tag}\r\n")).status == 304
    for target in ("/deployments/none/replicas", "/deployments/web/replicas", "/health"):
        other = await client.request(base + target, headers="If-None-Match: *\r\n")
        assert (other.status in {200, 404}, "etag" in other.headers) == (True, False)


async def test_the_usual_reads_take_it(sides: tuple[Side, Side], connect: Any, monkeypatch: Any) -> None:
    """Both dialects' reads, as curl, Go, Python's clients and browsers spell them, never reach the application."""
    short, _ = sides
    reached = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del receive, send
        reached.append(scope["path"])

    monkeypatch.setattr(short.api, "_litestar", app)
    client = await connect(short.server)
    await client.handshake()
    for target in TARGETS[:4] + TARGETS[15:17]:
        for fields in ("", "connection: keep-alive\r\naccept-encoding: gzip\r\nuser-agent: x\r\n"):
            assert (await ask(client, "GET", target, "1.1", fields)).status == 200
    assert reached == []


@pytest.mark.parametrize(
    ("target", "status", "audited"),
    [
        ("/deployments/hidden/replicas?namespace=secret", 403, 1),
        ("/api/v1/deployments?namespace=secret", 403, 1),
        ("/deployments/none/replicas", 404, 0),
        ("/api/v1/deployments/api/replicas", 409, 0),
        ("/deployments?namespace=-a", 400, 0),
    ],
)
async def test_an_error_is_answered_at_once_and_recorded_once(
    sides: tuple[Side, Side], connect: Any, monkeypatch: Any, target: str, status: int, audited: int
) -> None:
    """Without the application, which could only record it a second time."""
    short, _ = sides
    monkeypatch.setattr(short.api, "_litestar", None)
    client = await connect(short.server)
    await client.handshake()
    assert (await ask(client, "GET", target, "1.1", "")).status == status
    assert [each.status for each in short.answered] == [status]
    assert [(each.outcome, each.request_id) for each in short.audit.events] == [(Outcome.DENIED, "mine")] * audited


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_pipelined_requests_are_answered_in_order(
    sides: tuple[Side, Side], connect: Any, data: st.DataObject
) -> None:
    """However they are cut into pieces, and whichever way each one takes."""
    short, _ = sides
    targets = data.draw(
        st.lists(st.sampled_from(["/deployments/web/replicas", "/health", "/nowhere"]), min_size=1, max_size=6)
    )
    wire = b"".join(
        f"GET {target} HTTP/1.1\r\nhost: kdm\r\nx-request-id: {number}\r\n\r\n".encode()
        for number, target in enumerate(targets)
    )
    cuts = sorted(data.draw(st.sets(st.integers(1, len(wire) - 1), max_size=4)))
    client = await connect(short.server)
    await client.handshake()
    for begin, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        await client.send(wire[begin:end])
    for number, target in enumerate(targets):
        answer = await client.response()
        assert answer.headers["x-request-id"] == str(number)
        assert answer.status == (404 if target == "/nowhere" else 200)
    await client.close()


async def test_a_client_that_asks_and_does_not_read_is_not_answered_on_and_on(
    sides: tuple[Side, Side], connect: Any
) -> None:
    """What waits for it stays bounded, however many lists it asks for at once; when it reads, it gets them all."""
    short, _ = sides
    client = await connect(short.server)
    await client.handshake()
    wanted = 200
    for _ in range(wanted // 20):
        await client.send(b"GET /deployments?namespace=many HTTP/1.1\r\nhost: kdm\r\n\r\n" * 20)
    await client.send(b"")
    other = await connect(short.server)
    await other.handshake()
    for _ in range(5):  # the server went on to others meanwhile
        assert (await ask(other, "GET", "/health", "1.1", "")).status == 200
    answered = [each for each in short.observed if each[1] == "/deployments"]
    assert len(answered) < wanted
    for _ in range(wanted):
        answer = await client.response()
        assert answer.status == 200
        assert len(answer.body) > 100_000


async def test_a_list_is_as_new_as_the_cache(sides: tuple[Side, Side], connect: Any) -> None:
    """The bytes of a list are kept, but never past the change that makes them wrong."""
    short, _ = sides
    client = await connect(short.server)
    await client.handshake()
    repository: Any = short.service._repository
    for replicas in (4, 5, 6):
        await repository.set_replicas(DeploymentRef("shop", "api"), replicas)
        for target in ("/deployments?namespace=shop", "/api/v1/deployments?namespace=shop"):
            assert (await ask(client, "GET", target, "1.1", "")).json[0]["replicaCount"] == replicas


async def test_a_defect_is_answered_and_logged_the_same_on_both_ways(sides: tuple[Side, Side], connect: Any) -> None:
    """It is a 500 that names the request, and one line in the log."""
    short, long = sides
    for side in sides:
        service: Any = side.service
        service._repository = service._permission = None
    answers = []
    for side in (short, long):
        client = await connect(side.server)
        await client.handshake()
        answers.append(await ask(client, "GET", "/deployments/web/replicas", "1.1", ""))
    assert answers[0] == answers[1]
    assert answers[0].status == 500


async def test_an_answer_that_the_server_gives_up_on_is_counted_as_what_the_client_got(
    start: Any, connect: Any
) -> None:
    """Else the calls that hang, of all things, would be missing from the error rate."""
    async with MemoryDeploymentRepository() as repository:
        repository.cluster.create(DeploymentRef("default", "web"), 3)
        side = Side(repository, policy=ALLOW_ALL)

        async def hang(*_: Any, **__: Any) -> None:
            await asyncio.Event().wait()

        repository.set_replicas = hang  # type: ignore[method-assign, assignment]
        side.server = await start(app=side.api, limits=Limits(request_s=0.05))
        client = await connect(side.server)
        await client.handshake()
        answer = await client.request(
            "/deployments/web/replicas",
            method="POST",
            body=b'{"replicaCount": 5}',
            headers="content-type: application/json\r\n",
        )
        assert answer.status == 504
        assert [(route, status) for _, route, status, _ in side.observed] == [("/deployments/{name}/replicas", 504)]
