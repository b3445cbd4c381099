"""A client that says it will send no more, and still reads: what it asked for is answered."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any

import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import DeploymentRef, DeploymentService
from kdm_http.api.app import create_app
from kdm_http.server.limits import Limits
from unit.http.client import Client

WRITE = (
    b"POST /deployments/web/replicas HTTP/1.1\r\nhost: kdm\r\ncontent-type: application/json\r\n"
    b'content-length: 19\r\n\r\n{"replicaCount": 5}'
)
READ = b"GET /deployments/web/replicas HTTP/1.1\r\nhost: kdm\r\n\r\n"


async def send_and_hang_up(client: Client, data: bytes) -> None:
    """Send bytes and close_notify in one flight."""
    client.tls.write(data)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.tls.unwrap()
    client.writer.write(client.outgoing.read())
    await client.writer.drain()


async def rest(client: Client) -> bytes:
    """Read until the server has closed too, with close_notify."""
    got = client.buffered
    while data := await client.read():
        got += data
    return got


@pytest.mark.parametrize("what", ["write", "read", "two writes", "error"])
async def test_what_came_with_close_notify_is_done_and_answered(what: str, start: Any, connect: Any) -> None:
    """Both ways, the one through the application too; then the server closes as well."""
    data = {"write": WRITE, "read": READ, "two writes": WRITE * 2, "error": READ.replace(b"web", b"none")}[what]
    async with MemoryDeploymentRepository() as repository:
        repository.cluster.create(DeploymentRef("default", "web"), 3)
        server = await start(app=create_app(DeploymentService(repository)))
        client = await connect(server)
        await client.handshake()
        await send_and_hang_up(client, data)
        got = await rest(client)
        assert got.count(b"HTTP/1.1 ") == got.count(b"HTTP/1.1 404" if what == "error" else b"HTTP/1.1 200")
        assert got.count(b"HTTP/1.1 ") == (2 if what == "two writes" else 1)
        written = repository.cluster.deployments[DeploymentRef("default", "web")].replicas.desired
        assert written == (5 if "write" in what else 3)
        await server.events.until_open(0)


async def test_an_answer_that_takes_a_while_still_comes(start: Any, connect: Any) -> None:
    server = await start()
    client = await connect(server)
    await client.handshake()
    await send_and_hang_up(client, b"GET /hold HTTP/1.1\r\nhost: kdm\r\n\r\n")
    await server.entered.wait()
    server.release.set()
    assert (await rest(client)).startswith(b"HTTP/1.1 200 OK\r\n")
    await server.events.until_open(0)


@pytest.mark.parametrize(
    "data",
    [b"", b"GET / HTTP/1.1\r\nho", b"POST / HTTP/1.1\r\nhost: kdm\r\ncontent-length: 10\r\n\r\n12345"],
    ids=["nothing", "half a header", "half a body"],
)
async def test_what_will_never_be_whole_is_closed_at_once(data: bytes, start: Any, connect: Any) -> None:
    server = await start(limits=Limits(header_s=600, body_s=600, idle_s=600))
    client = await connect(server)
    await client.handshake()
    await send_and_hang_up(client, data)
    assert await rest(client) == b""
    await server.events.until_open(0)


async def test_a_client_that_is_gone_keeps_nothing_open(start: Any, connect: Any) -> None:
    """It closed the whole connection behind close_notify: its answer has nowhere to go."""
    server = await start(limits=Limits(idle_s=600))
    client = await connect(server)
    await client.handshake()
    await send_and_hang_up(client, b"GET /hold HTTP/1.1\r\nhost: kdm\r\n\r\n")
    client.writer.close()
    await server.events.until_open(0)
    server.release.set()


async def test_a_stop_does_not_wait_for_a_client_that_hung_up(start: Any, connect: Any) -> None:
    server = await start()
    client = await connect(server)
    await client.handshake()
    await send_and_hang_up(client, b"GET /hold HTTP/1.1\r\nhost: kdm\r\n\r\n")
    await server.entered.wait()
    server.stopping.set()
    server.release.set()
    assert (await rest(client)).startswith(b"HTTP/1.1 200 OK\r\n")
    await server.stop()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_the_plain_listener_answers_a_half_closed_connection(version: str, start: Any) -> None:
    """As of `printf ... | nc`."""
    server = await start()
    reader, writer = await asyncio.open_connection(*server.ops)
    writer.write(f"GET /readyz HTTP/{version}\r\nhost: kdm\r\n\r\n".encode())
    writer.write_eof()
    async with asyncio.timeout(10):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()
