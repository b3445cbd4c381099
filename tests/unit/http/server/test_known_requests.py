"""What is remembered of requests: when a request is known, what bounds that, and what known requests are answered."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import DeploymentRef, Identity, Query
from kdm_core.policy import ALLOW_ALL, Policy
from kdm_http.api.answered import Answered
from kdm_http.api.app import create_app
from kdm_http.api.dispatch import Dispatcher
from kdm_http.api.fast_path import FastPath
from kdm_http.api.rfd156 import RFD156, ReplicaCount
from kdm_http.api.route import Found, Route
from kdm_http.server.known_lines import KnownLines, Lines
from kdm_http.server.known_requests import KNOWN_HEADERS, LONGEST
from kdm_http.server.limits import Limits
from unit.http.credentials import Credentials
from unit.http.server.wired import DATE, Wired, World, certificates_end, files_in

LINE: Final = b"GET /api/v1/deployments/web/replicas?namespace=shop HTTP/1.1\r\n"
OTHER_LINE: Final = b"GET /deployments/api/replicas HTTP/1.1\r\n"
HEADER: Final = b"Host: kdm\r\nAccept: */*\r\n\r\n"
OTHER_HEADER: Final = b"Host: kdm\r\nUser-Agent: x\r\n\r\n"
WEB, API = DeploymentRef("shop", "web"), DeploymentRef("default", "api")

MakeWorld = Callable[..., World]


@pytest.fixture
async def repository() -> AsyncIterator[MemoryDeploymentRepository]:
    async with MemoryDeploymentRepository() as repository:
        repository.cluster.create(WEB, 3)
        repository.cluster.create(API, 4)
        yield repository


@pytest.fixture
def world(repository: MemoryDeploymentRepository, tmp_path: Path, credentials: Credentials) -> MakeWorld:
    files = files_in(tmp_path, credentials)
    return lambda limits=None, **how: World(repository, files, ALLOW_ALL, limits, **how)


class Parsed:
    """Counts what a connection's parser is given."""

    def __init__(self, wired: Wired) -> None:
        self.pieces = 0
        connection: Any = wired.connection
        parser = connection.parser

        class Counting:
            def feed_data(_, data: bytes) -> None:  # noqa: N805 - the parser's self is not of interest
                self.pieces += 1
                parser.feed_data(data)

            def __getattr__(_, name: str) -> Any:  # noqa: N805
                return getattr(parser, name)

        connection.parser = Counting()


@pytest.fixture
async def alice(world: MakeWorld, credentials: Credentials) -> Wired:
    return world().connect(credentials.alice)


async def test_the_second_time_a_request_is_answered_without_the_parser(alice: Wired) -> None:
    """With the same bytes, but for the request's id."""
    parsed = Parsed(alice)
    first, second = alice.send(LINE + HEADER), alice.send(LINE + HEADER)
    assert parsed.pieces == 1
    assert second.startswith(b"HTTP/1.1 200 OK\r\n" + DATE)
    assert first.partition(b"x-request-id: ")[0] == second.partition(b"x-request-id: ")[0]
    assert first.partition(b"\r\n\r\n")[2] == second.partition(b"\r\n\r\n")[2] == b'{"name":"web","replicaCount":3}'
    assert first != second


async def test_any_known_line_is_known_with_any_known_header(alice: Wired) -> None:
    parsed = Parsed(alice)
    alice.send(LINE + HEADER)
    alice.send(OTHER_LINE + OTHER_HEADER)
    assert alice.send(LINE + OTHER_HEADER).endswith(b'{"name":"web","replicaCount":3}')
    assert alice.send(OTHER_LINE + HEADER).endswith(b'{"deploymentName":"api","replicaCount":4}')
    assert parsed.pieces == 2


async def test_what_one_connection_of_a_client_asked_is_known_of_its_others(
    world: MakeWorld, credentials: Credentials
) -> None:
    """The line is; the header each connection brings itself. Another identity's lines are its own."""
    here = world()
    first, second, bob = (here.connect(leaf) for leaf in (credentials.alice, credentials.alice, credentials.bob))
    first.send(LINE + HEADER)
    second.send(OTHER_LINE + HEADER)
    bob.send(OTHER_LINE + HEADER)
    for client, pieces in ((second, 0), (bob, 1)):
        parsed = Parsed(client)
        assert b"200 OK" in client.send(LINE + HEADER)
        assert parsed.pieces == pieces


@pytest.mark.parametrize(
    "pieces",
    [
        (LINE + HEADER[:9], HEADER[9:]),
        (LINE, HEADER),
        (LINE + HEADER + LINE + HEADER,),
        (b"\r\n" + LINE + HEADER,),
        (LINE + b"X-Request-ID: mine\r\n" + HEADER,),
        (LINE + b"traceparent: 00-11111111111111111111111111111111-2222222222222222-01\r\n" + HEADER,),
        (LINE + b"X: " + b"x" * LONGEST + b"\r\n" + HEADER,),
    ],
    ids=["cut", "cut after the line", "two at once", "empty line", "id", "trace", "long"],
)
async def test_a_request_is_not_known_unless_it_came_alone_in_one_piece_and_may_come_again(
    alice: Wired, pieces: tuple[bytes, ...]
) -> None:
    for piece in pieces:
        alice.send(piece)
    lines = alice.connection._known._lines
    assert lines is not None
    assert len(lines) == len(alice.connection._known._headers) == 0


async def test_a_line_that_begins_a_request_is_not_a_header_that_was_accepted(alice: Wired) -> None:
    """After an empty line, what follows the first line end is a whole request: it must not pass as a header."""
    alice.send(b"\r\n" + LINE + HEADER)
    alice.send(LINE + HEADER)
    assert alice.send(OTHER_LINE + LINE + HEADER).startswith(b"HTTP/1.1 400 ")


async def test_a_known_request_in_the_middle_of_another_one_is_not_taken_for_one(alice: Wired) -> None:
    alice.send(LINE + HEADER)
    assert alice.send(OTHER_LINE + b"X: y\r\n") == b""
    assert alice.send(LINE + HEADER).startswith(b"HTTP/1.1 400 ")


async def test_headers_without_number_cost_a_bounded_amount_and_the_usual_one_comes_back(alice: Wired) -> None:
    for number in range(50):
        assert b"200 OK" in alice.send(LINE + b"Date: %d\r\n" % number + HEADER)
    assert len(alice.connection._known._headers) == KNOWN_HEADERS
    alice.send(LINE + HEADER)
    parsed = Parsed(alice)
    alice.send(LINE + HEADER)
    assert parsed.pieces == 0


async def test_names_that_do_not_exist_are_not_remembered(alice: Wired) -> None:
    for number in range(50):
        assert b" 404 " in alice.send(b"GET /deployments/none-%d/replicas HTTP/1.1\r\n" % number + HEADER)
    assert alice.connection._known._lines == {}


def test_who_has_no_more_than_a_fair_share_of_the_lines_loses_none_to_others() -> None:
    again: Any = object()
    known = KnownLines(most=100)
    modest, greedy = known.join(Identity("modest")), known.join(Identity("greedy"))
    for number in range(40):
        known.add(modest, b"%d" % number, again)
    for number in range(1000):
        known.add(greedy, b"%d" % number, again)
        assert len(known) <= 100
    assert len(modest) == 40


def test_lines_are_counted_right_whatever_comes_and_goes() -> None:
    again: Any = object()
    known, chance = KnownLines(most=20), random.Random(1)  # noqa: S311 - any steps will do
    held: list[Lines] = []
    for _ in range(2000):
        match chance.choice(["join", "leave", "add", "add", "add", "forget"]), held:
            case ("join", _) | (_, []):
                held.append(known.join(Identity(chance.choice("abc"))))
            case "leave", _:
                known.leave(held.pop(chance.randrange(len(held))))
            case "add", _:
                known.add(chance.choice(held), b"%d" % chance.randrange(30), again)
            case _, _:
                lines = chance.choice(held)
                if lines:
                    known.forget(lines, chance.choice(list(lines)))
        assert len(known) == sum({each.key: len(each) for each in held}.values()) <= 20


def test_lines_go_with_the_last_connection_of_their_identity() -> None:
    again: Any = object()
    known = KnownLines()
    first, second = (known.join(Identity("alice", frozenset({"devs"}), address=each)) for each in ("a", "b"))
    other = known.join(Identity("alice", frozenset({"ops"})))
    known.add(first, b"line", again)
    assert (first is second, first is other) == (True, False)
    known.leave(first)
    assert len(known) == 1
    known.leave(second)
    assert len(known) == 0


async def test_a_change_a_deletion_and_a_policy_are_seen_by_the_next_request(
    world: MakeWorld, repository: MemoryDeploymentRepository, credentials: Credentials
) -> None:
    here = world()
    alice = here.connect(credentials.alice)
    for _ in range(2):
        alice.send(LINE + HEADER)
    repository.cluster.scale(WEB, 7)
    assert alice.send(LINE + HEADER).endswith(b'"replicaCount":7}')
    here.service.policy = Policy()
    assert alice.send(LINE + HEADER).startswith(b"HTTP/1.1 403 ")
    assert [each.name for each in here.audit.events] == ["web"]
    here.service.policy = ALLOW_ALL
    repository.cluster.delete(WEB)
    assert alice.send(LINE + HEADER).startswith(b"HTTP/1.1 404 ")


async def test_a_second_deployment_of_a_name_makes_it_ambiguous_at_once(
    repository: MemoryDeploymentRepository, alice: Wired
) -> None:
    for _ in range(2):
        assert b"200 OK" in alice.send(OTHER_LINE + HEADER)
    second = DeploymentRef("shop", "api")
    repository.cluster.create(second, 1)
    assert alice.send(OTHER_LINE + HEADER).startswith(b"HTTP/1.1 409 ")
    repository.cluster.delete(second)
    assert b"200 OK" in alice.send(OTHER_LINE + HEADER)


async def test_a_certificate_that_ends_and_one_that_is_revoked_end_what_is_known(
    world: MakeWorld, credentials: Credentials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates_end(monkeypatch)
    here = world()
    alice, bob = here.connect(credentials.alice), here.connect(credentials.bob)
    for client in (alice, bob):
        for _ in range(2):
            assert b"200 OK" in client.send(LINE + HEADER)
    (tmp_path / "crl.pem").write_bytes(credentials.crl(credentials.alice))
    assert await here.tls._take(here.files.read())
    assert (alice.send(LINE + HEADER), alice.transport.closed) == (b"", True)
    assert b"200 OK" in bob.send(LINE + HEADER)
    here.clock.ahead = timedelta(days=366)
    assert (bob.send(LINE + HEADER), bob.transport.closed) == (b"", True)


async def test_known_requests_count_against_the_client_s_share(world: MakeWorld, credentials: Credentials) -> None:
    """As others do, to the last token; and what is earned with time is there again."""
    here = world(Limits(requests_burst=5, requests_per_s=2.0))
    alice = here.connect(credentials.alice)
    statuses = [alice.send(LINE + HEADER)[9:12] for _ in range(6)]
    assert statuses == [b"200"] * 5 + [b""]
    await here.settle()
    assert alice.transport.written.count(b"HTTP/1.1 429 ") == 1
    here.monotonic.at_s += 1.0
    assert [alice.send(LINE + HEADER)[9:12] for _ in range(3)] == [b"200", b"200", b""]


async def test_a_client_that_does_not_read_is_not_answered_on_and_on(
    world: MakeWorld, credentials: Credentials
) -> None:
    """It is, when it reads again."""
    here = world()
    alice = here.connect(credentials.alice)
    alice.send(LINE + HEADER)
    alice.connection.pause_writing()
    assert alice.send(LINE + HEADER) == b""
    alice.connection.resume_writing()
    await here.settle()
    assert alice.transport.written.count(b"HTTP/1.1 200 OK") == 2


async def test_a_server_that_is_leaving_says_so(world: MakeWorld, credentials: Credentials) -> None:
    here = world()
    alice = here.connect(credentials.alice)
    alice.send(LINE + HEADER)
    alice.connection.shutdown()
    alice.send(LINE + HEADER)
    await here.settle()
    assert alice.transport.written.endswith(b'{"name":"web","replicaCount":3}')
    assert b"connection: close" in alice.transport.written


async def test_a_listener_that_allows_less_of_a_header_knows_none(world: MakeWorld, credentials: Credentials) -> None:
    here = world(Limits(header_bytes=2 * LONGEST - 1))
    alice = here.connect(credentials.alice)
    alice.send(LINE + HEADER)
    assert alice.connection._known._lines is None


async def test_a_known_line_with_a_known_header_is_no_longer_than_the_listener_allows(
    world: MakeWorld, repository: MemoryDeploymentRepository, credentials: Credentials
) -> None:
    """Each may be as long as a known request, and both together longer than a header that is allowed."""
    name = "w" * 200
    repository.cluster.create(DeploymentRef("shop", name), 1)
    line = LINE.replace(b"/web/", b"/%b/" % name.encode())
    header = b"Host: kdm\r\nX: %b\r\n\r\n" % (b"x" * (LONGEST - len(OTHER_LINE) - 20))
    for allowed, status in ((LONGEST, b"431"), (2 * LONGEST, b"200")):
        alice = world(Limits(header_bytes=allowed)).connect(credentials.alice)
        assert [alice.send(each)[9:12] for each in (line + HEADER, OTHER_LINE + header)] == [b"200", b"200"]
        assert alice.send(line + header)[9:12] == status


async def test_an_error_that_nobody_foresaw_is_a_500_as_it_is_without_memory(
    world: MakeWorld,
    repository: MemoryDeploymentRepository,
    credentials: Credentials,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the connection goes on."""
    alice = world().connect(credentials.alice)
    alice.send(LINE + HEADER)

    def fail(_: DeploymentRef) -> None:
        raise RuntimeError("broken")

    with monkeypatch.context() as broken:
        broken.setattr(repository, "get", fail)
        assert alice.send(LINE + HEADER).startswith(b"HTTP/1.1 500 ")
    assert alice.send(LINE + HEADER).startswith(b"HTTP/1.1 200 ")


async def test_long_answers_are_given_but_not_kept(
    world: MakeWorld, repository: MemoryDeploymentRepository, credentials: Credentials
) -> None:
    """A Deployment may have labels without number, and each identity has its own lines."""
    ref = DeploymentRef("shop", "labelled")
    repository.cluster.create(ref, 1, labels={f"label-{number}": "x" * 60 for number in range(40)})
    alice = world().connect(credentials.alice)
    line = b"GET /api/v2/namespaces/shop/deployments/labelled HTTP/1.1\r\n"
    for each in (line, line.replace(b"/labelled", b"/labelled/replicas")):
        assert b"200 OK" in alice.send(each + HEADER)
    lines = alice.connection._known._lines
    assert lines is not None
    assert [line.split()[1].rpartition(b"/")[2] for line in lines] == [b"replicas"]


async def test_a_connection_whose_last_response_is_written_serves_nothing_more(
    world: MakeWorld, repository: MemoryDeploymentRepository, credentials: Credentials
) -> None:
    """RFC 9112, section 9.6. With TLS, data may come while the rest is on its way to a client that reads slowly."""
    here = world()
    alice = here.connect(credentials.alice)
    alice.send(LINE + HEADER)
    alice.transport.close()
    body = b'{"replicas":9}'
    wire = b"PUT /api/v1/deployments/web/replicas?namespace=shop HTTP/1.1\r\nHost: kdm\r\nContent-Length: %d\r\n\r\n%b"
    alice.connection.data_received(wire % (len(body), body))
    await here.settle()
    assert repository.get(WEB).replicas.desired == 3
    assert (here.audit.events, alice.connection.finished) == ([], True)


async def test_a_connection_is_idle_again_once_a_slow_client_has_read_its_response(
    world: MakeWorld, credentials: Credentials
) -> None:
    """Also where all of it was written before it was read: else the connection would never be closed as idle."""
    here = world()
    alice = here.connect(credentials.alice)
    connection, write = alice.connection, alice.transport.write

    def write_to_full_buffers(data: bytes) -> None:
        write(data)
        if data.endswith(b"}"):
            connection.pause_writing()

    alice.transport.write = write_to_full_buffers  # type: ignore[method-assign]
    alice.send(b"POST /nowhere HTTP/1.1\r\nHost: kdm\r\nContent-Length: 0\r\n\r\n")
    await here.settle()
    assert (connection.busy, connection.idle) == (True, False)
    connection.resume_writing()
    assert (connection.busy, connection.idle) == (False, True)


async def test_observers_that_want_every_answer_get_every_answer(world: MakeWorld, credentials: Credentials) -> None:
    """The access log and traces: with one of them each request is parsed, and nothing is remembered."""
    here = world(remembers=False)
    seen: list[Answered] = []
    here.context.answer_at_once = create_app(here.service, counter=here.metrics, observers=[seen.append]).answer_at_once
    alice = here.connect(credentials.alice)
    for _ in range(3):
        alice.send(LINE + HEADER)
    assert [each.status for each in seen] == [200] * 3
    assert len({each.request_id for each in seen}) == 3


@pytest.mark.parametrize("matters", [b"", b'If-None-Match: "x"\r\n'], ids=["plain", "conditional"])
async def test_metrics_say_the_same_whether_requests_are_known_or_not(
    world: MakeWorld, credentials: Credentials, matters: bytes
) -> None:
    """Requests, durations, users and features, scrape after scrape; every duration is in one bucket."""
    worlds = world(), world(remembers=False)
    for here in worlds:
        alice, bob = here.connect(credentials.alice), here.connect(credentials.bob)
        for _ in range(3):
            for line in (LINE, OTHER_LINE, LINE.replace(b"GET", b"HEAD"), LINE.replace(b"=shop", b"=*")):
                alice.send(line + matters + HEADER)
            bob.send(LINE + matters + HEADER)
            here.counted()
    assert worlds[0].counted() == worlds[1].counted()
    assert sum(worlds[0].counted().values()) > 0


AGES: Final = itertools.count()
COUNT: Final = Route(
    "GET",
    "/count/{namespace}/{name}",
    RFD156,
    "Count",
    lambda service, caller, request: Found(
        service.get(DeploymentRef(request.path["namespace"], request.path["name"]), caller),
        ReplicaCount.of,
        request.path["namespace"],
        b'"%d"' % service.list(Query("shop"), caller).deployments[0].replicas.desired,
        lambda: b"age: %d\r\n" % next(AGES),
    ),
    query=(),
)


async def test_an_answer_may_have_an_entity_tag_and_fields_that_vary(
    world: MakeWorld, credentials: Credentials, repository: MemoryDeploymentRepository
) -> None:
    """A poll with the newest tag is known, too; the age of each answer is its own."""
    here = world()
    here.context.answer_at_once = FastPath([COUNT], Dispatcher(here.service), [], [], here.metrics)
    alice, poll = here.connect(credentials.alice), b'If-None-Match: "3"\r\n'
    parsed = Parsed(alice)
    line = b"GET /count/shop/web HTTP/1.1\r\n"
    wires = [alice.send(line + condition + HEADER) for condition in (b"", b"", poll, poll, poll)]
    assert parsed.pieces == 2
    assert [wire[9:12] for wire in wires] == [b"200", b"200", b"304", b"304", b"304"]
    ages = [int(wire.partition(b"age: ")[2].partition(b"\r\n")[0]) for wire in wires]
    assert ages == sorted(set(ages))
    for wire in wires:
        assert b'etag: "3"\r\nage: ' in wire
    repository.cluster.scale(WEB, 5)
    assert alice.send(line + poll + HEADER)[9:12] == b"200"
    assert alice.send(line + poll + HEADER).endswith(b'"replicaCount":5}')
