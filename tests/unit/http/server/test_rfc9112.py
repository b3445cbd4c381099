"""HTTP's corners, as RFC 9112 and RFC 9110 have them, over mutual TLS: what is served, what is refused, and how."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import DeploymentRef, DeploymentService
from kdm_http.api.app import create_app
from unit.http.client import Client, Response

READ = b"GET /deployments/web/replicas HTTP/1.1"
WRITE = b"POST /deployments/web/replicas HTTP/1.1"
HOST = b"Host: kdm"
JSON = b"Content-Type: application/json"
BODY = b'{"replicaCount": 5}'
LENGTH = b"Content-Length: 19"
CHUNKED = b"13\r\n" + BODY + b"\r\n0\r\n\r\n"


def request(*lines: bytes, body: bytes = b"") -> bytes:
    """Write a request: its first line, its fields, its body."""
    return b"\r\n".join([*lines, b"", b""]) + body


def read(target: bytes = b"/deployments/web/replicas", version: bytes = b"1.1", method: bytes = b"GET") -> bytes:
    return request(method + b" " + target + b" HTTP/" + version, HOST)


def write(*fields: bytes, body: bytes = BODY) -> bytes:
    return request(WRITE, HOST, JSON, *fields, body=body)


class Kdm:
    """A served API, and the count that nothing refused may change."""

    def __init__(self, server: Any, repository: MemoryDeploymentRepository, connect: Any) -> None:
        self.server = server
        self._repository = repository
        self._connect = connect

    @property
    def count(self) -> int:
        return self._repository.cluster.deployments[DeploymentRef("default", "web")].replicas.desired

    async def client(self) -> Client:
        client: Client = await self._connect(self.server)
        await client.handshake()
        return client

    async def ask(self, data: bytes) -> tuple[Client, Response]:
        """Send bytes on a connection of their own, and read one response."""
        client = await self.client()
        await client.send(data)
        return client, await client.response()


@pytest.fixture
async def kdm(start: Any, connect: Any) -> AsyncIterator[Kdm]:
    async with MemoryDeploymentRepository() as repository:
        repository.cluster.create(DeploymentRef("default", "web"), 3)
        api = create_app(DeploymentService(repository))
        yield Kdm(await start(app=api), repository, connect)


REFUSED = {
    "HTTP/1.1 without Host": request(READ),
    "two Hosts": request(READ, HOST, b"Host: other"),
    "two Hosts that say the same": request(READ, HOST, HOST),
    "two Hosts in HTTP/1.0": request(b"GET /deployments/web/replicas HTTP/1.0", HOST, b"Host: other"),
    "a Host with a blank": request(READ, b"Host: k dm"),
    "a Host with a path": request(READ, b"Host: kdm/x"),
    "a Host with a user": request(READ, b"Host: me@kdm"),
    "a Host with port 99999": request(READ, b"Host: kdm:99999"),
    "a Host with port x": request(READ, b"Host: kdm:x"),
    "a Host with two ports": request(READ, b"Host: kdm:1:2"),
    "a Host with half an IPv6 address": request(READ, b"Host: [::1"),
    "a Host with no IPv6 address in brackets": request(READ, b"Host: [1.2.3.4]"),
    "a Host that is not ASCII": request(READ, b"Host: k\xe4m"),
    "a Host with a broken escape": request(READ, b"Host: k%4"),
    "Host before its colon a blank": request(READ, b"Host : kdm"),
    "Transfer-Encoding: gzip, chunked": write(b"Transfer-Encoding: gzip, chunked", body=CHUNKED),
    "Transfer-Encoding: gzip and chunked in two fields": write(
        b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked", body=CHUNKED
    ),
    "Transfer-Encoding: chunked, chunked": write(b"Transfer-Encoding: chunked, chunked", body=CHUNKED),
    "Transfer-Encoding: chunked twice": write(
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=CHUNKED
    ),
    "Transfer-Encoding: gzip": write(b"Transfer-Encoding: gzip"),
    "Transfer-Encoding: identity": write(b"Transfer-Encoding: identity", LENGTH),
    "Transfer-Encoding: xchunked": write(b"Transfer-Encoding: xchunked", body=CHUNKED),
    "Transfer-Encoding: nothing": write(b"Transfer-Encoding:", LENGTH),
    "Transfer-Encoding in HTTP/1.0": request(
        b"POST /deployments/web/replicas HTTP/1.0", HOST, JSON, b"Transfer-Encoding: chunked", body=CHUNKED
    ),
    "Transfer-Encoding and Content-Length": write(LENGTH, b"Transfer-Encoding: chunked", body=CHUNKED),
    "Content-Length and Transfer-Encoding": write(b"Transfer-Encoding: chunked", LENGTH, body=CHUNKED),
    "a chunk size that is none": write(b"Transfer-Encoding: chunked", body=b"xx\r\n" + BODY),
    "a chunk size with 0x": write(b"Transfer-Encoding: chunked", body=b"0x13\r\n" + BODY),
    "a chunk size beyond 64 bits": write(b"Transfer-Encoding: chunked", body=b"f" * 17 + b"\r\n"),
    "chunks with bare line feeds": write(b"Transfer-Encoding: chunked", body=b"13\n" + BODY + b"\n0\n\n"),
    "Content-Length: +19": write(b"Content-Length: +19"),
    "Content-Length: 1 9": write(b"Content-Length: 1 9"),
    "Content-Length: 19, 19": write(b"Content-Length: 19, 19"),
    "Content-Length: 0x13": write(b"Content-Length: 0x13"),
    "Content-Length: -1": write(b"Content-Length: -1"),
    "Content-Length: nothing": write(b"Content-Length:"),
    "Content-Length beyond 64 bits": write(b"Content-Length: 99999999999999999999999"),
    "two Content-Lengths": write(LENGTH, b"Content-Length: 18"),
    "two Content-Lengths that say the same": write(LENGTH, LENGTH),
    "port 99999 in an absolute target": read(b"https://kdm:99999/deployments"),
    "port x in an absolute target": read(b"https://kdm:x/deployments"),
    "a user in an absolute target": read(b"https://me:secret@kdm/deployments"),
    "no IPv6 address in an absolute target": read(b"https://[::g]/deployments"),
    "half an IPv6 address in an absolute target": read(b"https://[::1/deployments"),
    "no host in an absolute target": read(b"https:///deployments"),
    "a port alone in an absolute target": read(b"https://:8443/deployments"),
    "another scheme": read(b"ftp://kdm/deployments"),
    "an authority as the target": read(b"kdm:8443"),
    "a target without a slash": read(b"deployments"),
    "an asterisk for GET": read(b"*"),
    "no target": request(b"GET  HTTP/1.1", HOST),
    "a fragment": read(b"/deployments/web/replicas#x"),
    "a broken escape": read(b"/deployments/w%zzb/replicas"),
    "half an escape": read(b"/deployments/web/replicas%2"),
    "a percent sign alone": read(b"/deployments/web/replicas%"),
    "a broken escape in the query": read(b"/deployments?namespace=%g1"),
    "a quote in the target": read(b'/deployments/w"b/replicas'),
    "a backslash in the target": read(b"/deployments\\web\\replicas"),
    "a target that is not ASCII": read(b"/deployments/w\xe4b/replicas"),
    "a tab in the target": read(b"/deployments/\tweb/replicas"),
    "a NUL in the target": read(b"/deployments/\0web/replicas"),
    "a blank in the target": read(b"/deployments/web /replicas"),
    "two blanks after the method": request(b"GET  /deployments/web/replicas HTTP/1.1", HOST),
    "two blanks after the target": request(b"GET /deployments/web/replicas  HTTP/1.1", HOST),
    "a blank after the version": request(READ + b" ", HOST),
    "a tab after the method": request(b"GET\t/deployments/web/replicas HTTP/1.1", HOST),
    "a method in lower case": read(method=b"get"),
    "a method that nobody defined": read(method=b"FETCH"),
    "a method of ICE": request(b"SOURCE /deployments/web/replicas ICE/1.0", HOST),
    "RTSP": request(b"GET /deployments/web/replicas RTSP/1.0", HOST),
    "HTTP/0.9": b"GET /deployments/web/replicas\r\n\r\n",
    "HTTP/0.9 by name": read(version=b"0.9"),
    "HTTP/1.2": read(version=b"1.2"),
    "HTTP/1.10": read(version=b"1.10"),
    "HTTP/2.0": read(version=b"2.0"),
    "HTTP/3": read(version=b"3"),
    "http in lower case": request(b"GET /deployments/web/replicas http/1.1", HOST),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    "a folded field": request(READ, HOST, b"X-A: b", b" c"),
    "a blank before the first field": request(READ, b" " + HOST),
    "bare line feeds": b"GET /deployments/web/replicas HTTP/1.1\nHost: kdm\n\n",
    "a bare line feed between fields": READ + b"\r\nHost: kdm\nX: y\r\n\r\n",
    "a bare carriage return in a value": request(READ, HOST, b"X: a\rb"),
    "a bare carriage return after the request line": READ + b"\rHost: kdm\r\n\r\n",
    "a NUL in a value": request(READ, HOST, b"X: a\0b"),
    "a control character in a value": request(READ, HOST, b"X: a\x01b"),
    "DEL in a value": request(READ, HOST, b"X: a\x7fb"),
    "a blank before a colon": request(READ, HOST, b"X : a"),
    "a field without a name": request(READ, HOST, b": a"),
    "a field without a colon": request(READ, HOST, b"X"),
    "a field name with a bracket": request(READ, HOST, b"X(: a"),
    "a field name that is not ASCII": request(READ, HOST, b"X\xe4: a"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_is_not_http_is_400_in_the_form_of_every_error_and_closed(what: str, kdm: Kdm) -> None:
    """Where what follows is in doubt it is not read: another request behind it gets no answer, and nothing is done."""
    client, answer = await kdm.ask(REFUSED[what] + write(LENGTH))
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert list(answer.json) == ["error"]
    assert answer.headers["x-request-id"]
    assert await client.closed()
    assert kdm.count == 3
    assert kdm.server.events.refusals == [400]


SERVED = {
    "HTTP/1.0 without Host": request(b"GET /deployments/web/replicas HTTP/1.0"),
    "empty lines before the request": b"\r\n\r\n" + read(),
    "an empty Host": request(READ, b"Host:"),
    "a Host with blanks around it": request(READ, b"Host: \t kdm \t "),
    "a Host with a port": request(READ, b"Host: kdm:8443"),
    "a Host with an empty port": request(READ, b"Host: kdm:"),
    "a Host that is an IPv6 address": request(READ, b"Host: [::1]:8443"),
    "a field without a value before Host": request(READ, b"X-Empty:", HOST),
    "a value of obs-text": request(READ, HOST, b"X: \xff\xe4"),
    "an absolute target": read(b"https://kdm/deployments/web/replicas"),
    "an absolute target with a port": read(b"https://kdm:8443/deployments/web/replicas"),
    "an absolute target with an IPv6 address": read(b"HTTPS://[::1]:8443/deployments/web/replicas"),
    "an absolute target of another host, which Host does not change": read(b"https://other/deployments/web/replicas"),
    "an escape that need not be": read(b"/deployments/w%65b/replicas"),
    "an empty path segment": read(b"//deployments/web/replicas"),
    "a TE field, which is about the response": request(READ, HOST, b"TE: gzip, chunked"),
    "an upgrade to HTTP/2": request(READ, HOST, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"),
    "an expectation without a body": request(READ, HOST, b"Expect: 100-continue"),
}


@pytest.mark.parametrize("what", SERVED)
async def test_what_http_allows_is_served(what: str, kdm: Kdm) -> None:
    _, answer = await kdm.ask(SERVED[what])
    assert (answer.status, answer.json) == (200, {"deploymentName": "web", "replicaCount": 3})


WRITTEN = {
    "a length": write(LENGTH),
    "a length with blanks around it": write(b"Content-Length: \t19 \t"),
    "a length with a zero before it": write(b"Content-Length: 019"),
    "chunks": write(b"Transfer-Encoding: chunked", body=CHUNKED),
    "chunks in capitals": write(b"transfer-encoding: CHUNKED", body=CHUNKED),
    "a chunk extension": write(b"Transfer-Encoding: chunked", body=CHUNKED.replace(b"13", b'13;a="b"')),
    "a length in HTTP/1.0": request(b"POST /deployments/web/replicas HTTP/1.0", JSON, LENGTH, body=BODY),
    "an expectation in HTTP/1.0, which does not know it": request(
        b"POST /deployments/web/replicas HTTP/1.0", JSON, LENGTH, b"Expect: 100-continue", body=BODY
    ),
}


@pytest.mark.parametrize("what", WRITTEN)
async def test_a_body_is_read_however_http_lets_it_be_sent(what: str, kdm: Kdm) -> None:
    _, answer = await kdm.ask(WRITTEN[what])
    assert (answer.status, kdm.count) == (200, 5)


@pytest.mark.parametrize("fields", [b"", b"Connection: keep-alive"], ids=["plain", "keep-alive"])
@pytest.mark.parametrize("target", [b"/deployments/web/replicas", b"/health", b"/nowhere"])
async def test_http_1_0_is_told_that_its_connection_is_closed(fields: bytes, target: bytes, kdm: Kdm) -> None:
    """Kept without being told so, such a client waits for the end of the connection: `ab -k` hung."""
    client, answer = await kdm.ask(request(b"GET " + target + b" HTTP/1.0", *filter(None, [fields])))
    assert answer.headers["connection"] == "close"
    assert await client.closed()


@pytest.mark.parametrize("field", [b"Content-Type", b"Content-Encoding"])
@pytest.mark.parametrize("values", [(b"application/json", b"text/plain"), (b"text/plain", b"application/json")])
async def test_a_second_content_type_or_encoding_is_400(field: bytes, values: tuple[bytes, bytes], kdm: Kdm) -> None:
    for first, second in (values, values[:1] * 2):
        fields = [field + b": " + first, field + b": " + second]
        given = [HOST, LENGTH, *fields] + ([JSON] if field != b"Content-Type" else [])
        _, answer = await kdm.ask(request(WRITE, *given, body=BODY))
        assert (answer.status, kdm.count) == (400, 3)
        assert field.decode() in answer.json["error"]


async def test_a_list_of_content_encodings_is_415(kdm: Kdm) -> None:
    _, answer = await kdm.ask(write(LENGTH, b"Content-Encoding: identity, gzip"))
    assert (answer.status, kdm.count) == (415, 3)


@pytest.mark.parametrize("target", [b"kdm:8443", b"kdm", b"/deployments", b"kdm:99999"])
async def test_connect_is_405_and_allows_nothing(target: bytes, kdm: Kdm) -> None:
    client, answer = await kdm.ask(read(target, method=b"CONNECT"))
    assert (answer.status, answer.headers["allow"]) == (405, "")
    assert list(answer.json) == ["error"]
    assert await client.closed()


@pytest.mark.parametrize("target", [b"*", b"https://kdm"], ids=["asterisk", "absolute"])
async def test_options_of_the_server_itself_is_answered(target: bytes, kdm: Kdm) -> None:
    client, answer = await kdm.ask(read(target, method=b"OPTIONS"))
    assert (answer.status, "x-request-id" in answer.headers) == (204, True)
    assert (await client.request("/health")).status == 200


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/./deployments", 404),
        (b"/x/../deployments", 404),
        (b"/deployments/../replicas", 400),
        (b"/deployments/%2e%2e/replicas", 400),
        (b"/deployments/%00/replicas", 400),
        (b"/deployments/%ff/replicas", 400),
        (b"/deployments%3Fnamespace=default", 404),
        (b"//other/deployments", 404),
        (b"https://kdm", 404),
        (b"/deployments?namespace=%ff", 400),
        (b"/deployments?x=/?:@", 400),
    ],
)
async def test_a_valid_target_that_means_nothing_here_is_an_error_on_a_connection_that_stays(
    target: bytes, status: int, kdm: Kdm
) -> None:
    """Dot segments are the client's to resolve; here they are names like others, and no Deployment has such a name."""
    client, answer = await kdm.ask(read(target))
    assert (answer.status, list(answer.json)) == (status, ["error"])
    assert (await client.request("/health")).status == 200


HEADS = ["/deployments", "/api/v1/deployments", "/deployments/web/replicas", "/health", "/api/v1/openapi.json"]


@pytest.mark.parametrize("target", [*HEADS, "/nowhere", "/deployments/none/replicas"])
async def test_head_is_get_without_a_body_on_every_route(target: str, kdm: Kdm) -> None:
    """The same status and the same fields; and the next request on the connection is answered as itself."""
    client, get = await kdm.ask(read(target.encode()))
    await client.send(read(target.encode(), method=b"HEAD") + read(b"/health"))
    status, *lines = (await client._until(b"\r\n\r\n")).decode().split("\r\n")[:-2]
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    for varying in ("date", "x-request-id"):
        del fields[varying], get.headers[varying]
    assert (int(status.split()[1]), fields) == (get.status, get.headers)
    assert (await client.response()).json == {"status": "healthy", "kubernetes": "connected"}


EARLY = {
    "404": (b"POST /nowhere HTTP/1.1", b"application/json", 404),
    "405": (b"DELETE /deployments/web/replicas HTTP/1.1", b"application/json", 405),
    "415": (WRITE, b"text/plain", 415),
    "200": (READ, b"application/json", 200),
}


@pytest.mark.parametrize("what", EARLY)
async def test_an_answer_before_the_body_was_asked_for_closes_the_connection(what: str, kdm: Kdm) -> None:
    """Else the next request would be taken for the body, or the body for the next request."""
    line, media_type, status = EARLY[what]
    head = request(line, HOST, b"Content-Type: " + media_type, LENGTH, b"Expect: 100-continue")
    client, answer = await kdm.ask(head)
    assert (answer.status, answer.headers["connection"]) == (status, "close")
    assert await client.closed()
    client, answer = await kdm.ask(head + write(LENGTH))
    assert answer.status == status
    assert await client.closed()
    assert kdm.count == 3


async def test_without_an_expectation_the_unread_body_is_skipped_and_the_connection_stays(kdm: Kdm) -> None:
    client, answer = await kdm.ask(request(b"POST /nowhere HTTP/1.1", HOST, LENGTH, body=BODY))
    assert (answer.status, "connection" in answer.headers) == (404, False)
    assert (await client.request("/health")).status == 200


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue "])
async def test_who_expects_100_continue_gets_it_and_the_connection_stays(value: bytes, kdm: Kdm) -> None:
    client, told = await kdm.ask(write(LENGTH, b"Expect: " + value, body=b""))
    assert told.status == 100
    await client.send(BODY)
    assert ((await client.response()).status, kdm.count) == (200, 5)
    assert (await client.request("/health")).status == 200


@pytest.mark.parametrize("value", [b"200-ok", b"100-continue, 200-ok", b""])
async def test_an_expectation_that_nobody_can_meet_is_417(value: bytes, kdm: Kdm) -> None:
    client, answer = await kdm.ask(write(LENGTH, b"Expect: " + value))
    assert (answer.status, list(answer.json), kdm.count) == (417, ["error"], 3)
    assert await client.closed()


async def test_a_request_line_is_read_whole_however_it_arrives(kdm: Kdm) -> None:
    """Byte by byte, and behind another request's body."""
    client = await kdm.client()
    wire = write(LENGTH) + read() + read(b"/health")
    for index in range(len(wire)):
        await client.send(wire[index : index + 1])
    assert [(await client.response()).status for _ in range(3)] == [200] * 3
    bad = write(LENGTH) + request(b"GET  /deployments HTTP/1.1", HOST)
    for index in range(len(bad)):
        await client.send(bad[index : index + 1])
    assert [(await client.response()).status for _ in range(2)] == [200, 400]


async def test_what_came_before_a_bad_request_is_answered_first(kdm: Kdm) -> None:
    """Pipelined: the good one is done and answered, then the bad one refused, then all is over."""
    bad_body = write(b"Transfer-Encoding: chunked", body=b"zz\r\n")
    for bad in (b"\0\r\n\r\n", request(READ), write(LENGTH, b"Transfer-Encoding: chunked"), bad_body):
        client, answer = await kdm.ask(write(LENGTH) + bad + write(LENGTH))
        assert (answer.status, kdm.count) == (200, 5)
        refused = await client.response()
        assert (refused.status, refused.headers["connection"]) == (400, "close")
        assert await client.closed()
