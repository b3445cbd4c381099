"""A second opinion on what is HTTP: whatever h11, a strict parser, refuses as a request is not served here either.

Requests are made of parts that are right, wrong in a known way, or changed at random. Where the two may differ is said
by name in ``LENIENT``: it is what RFC 9112 lets a recipient do, or what h11 says more about than the RFC.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import h11
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import DeploymentRef, DeploymentService
from kdm_http.api.app import create_app
from kdm_http.server.limits import Limits
from unit.http.client import Client

EXAMPLES: Final = int(os.environ.get("KDM_TEST_H11_EXAMPLES", "300"))
BODY: Final = b'{"replicaCount": 3}'

METHODS = [b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS", b"CONNECT", b"TRACE", b"get", b"G@T", b"", b"FETCH"]
TARGETS = [
    b"/deployments/web/replicas",
    b"/api/v1/deployments/web/replicas",
    b"/deployments?namespace=default",
    b"https://kdm/deployments",
    b"https://kdm:99999/deployments",
    b"*",
    b"kdm:8443",
    b"",
    b"//deployments",
    b"/%zz",
    b"/deployments#x",
    b"/deployments \t",
]
VERSIONS = [b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"RTSP/1.0", b"http/1.1", b"HTTP/1", b""]
FIELDS = [
    b"Host: kdm",
    b"Host: other",
    b"Host:",
    b"Host : kdm",
    b"Content-Type: application/json",
    b"Content-Length: 19",
    b"Content-Length: 19, 19",
    b"Content-Length: +19",
    b"Content-Length: 0",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: identity",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Expect: 100-continue",
    b"Upgrade: h2c",
    b"If-Match: *",
    b"X: a\0b",
    b"X: \x01",
    b"X: \xff",
    b"X(: y",
    b"X",
    b" folded",
    b"\tfolded",
    b": y",
    b"",
]
ENDS = [b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0\r\n"]
BODIES = [b"", BODY, b"13\r\n" + BODY + b"\r\n0\r\n\r\n", b"zz\r\n", b"0\r\n\r\n"]


def usually(right: list[bytes], all_of_them: list[bytes]) -> st.SearchStrategy[bytes]:
    """Mostly something right, else the error of one part would hide those of the others."""
    return st.integers(0, 9).flatmap(lambda die: st.sampled_from(right if die else all_of_them))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Make a request, more or less."""
    line = b" ".join(
        (
            draw(usually(METHODS[:5], METHODS)),
            draw(usually(TARGETS[:4], TARGETS)),
            draw(usually(VERSIONS[:2], VERSIONS)),
        )
    )
    fields = draw(st.lists(usually(FIELDS[4:8], FIELDS), max_size=4))
    fields.insert(draw(st.integers(0, len(fields))), draw(usually(FIELDS[:1], FIELDS)))
    ends = usually(ENDS[:1], ENDS)
    data = b"".join(part + draw(ends) for part in (line, *fields)) + b"\r\n" + draw(st.sampled_from(BODIES))
    if draw(st.booleans()) and draw(st.booleans()):
        where = draw(st.integers(0, len(data) - 1))
        data = data[:where] + draw(st.binary(max_size=3)) + data[where + draw(st.integers(0, 2)) :]
    return data


def refused_by_h11(data: bytes) -> bool | None:
    """Return whether h11 refuses the first request in these bytes; None where it waits for more of it."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    try:
        while True:
            told = connection.next_event()
            if told is h11.NEED_DATA:
                return None
            if told is h11.PAUSED or isinstance(told, h11.EndOfMessage):
                return False
    except h11.RemoteProtocolError:
        return True


LENIENT: Final[dict[str, Callable[[bytes], bool]]] = {
    "a bare line feed is skipped before a request, as RFC 9112 (section 2.2) has a CRLF skipped": lambda data: (
        data[:1] in {b"\n", b"\r"}
    ),
}
"""Why a request that h11 refuses may be served, and which one that is."""


async def answer_to(client: Client, data: bytes) -> list[int]:
    """Send bytes and close_notify, and return the statuses of what comes until the server has closed."""
    client.tls.write(data)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.tls.unwrap()
    client.writer.write(client.outgoing.read())
    got = b""
    with contextlib.suppress(ConnectionError):
        while more := await client.read():
            got += more
    return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", got)]


@pytest.fixture
async def server(start: Any) -> AsyncIterator[Any]:
    async with MemoryDeploymentRepository() as repository:
        repository.cluster.create(DeploymentRef("default", "web"), 3)
        yield await start(app=create_app(DeploymentService(repository)), limits=Limits(requests_burst=10**6))


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(data=requests())
async def test_what_h11_refuses_is_not_served(server: Any, connect: Any, data: bytes) -> None:
    """It is answered with 4xx where the client is still there to read it; never with anything else."""
    client = await connect(server)
    await client.handshake()
    async with asyncio.timeout(20):
        statuses = await answer_to(client, data)
    await client.close()
    refused = refused_by_h11(data)
    seen = Counter("refused" if 400 <= status < 500 else "served" for status in statuses)
    event(f"h11: {({True: 'refused', False: 'good', None: 'unfinished'})[refused]}, kdm: {dict(seen) or 'closed'}")
    assert all(status in {100, 200, 204} or 400 <= status < 500 for status in statuses), (statuses, data)
    if refused and not any(allowed(data) for allowed in LENIENT.values()):
        assert statuses, data
        assert 400 <= statuses[-1] < 500, (statuses, data)
        assert 400 <= next(status for status in statuses if status != 100) < 500, (statuses, data)
