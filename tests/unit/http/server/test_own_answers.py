"""What the server answers by itself has what every other answer has: an id, its fields, one form, and a count."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import DeploymentService
from kdm_http.api.app import create_app
from kdm_http.server.limits import Limits
from unit.http.client import Response

ID = "x-request-id: mine-1\r\n"
LIMITS = Limits(
    header_bytes=4096,
    header_s=0.2,
    body_s=0.05,
    request_s=0.5,
    requests_burst=2,
    requests_per_s=0.001,
    connections_per_identity=1,
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer never, with an error, or with a body that is read first."""
    if scope["type"] != "http":
        raise RuntimeError
    if scope["path"] == "/never":
        await asyncio.Event().wait()
    if scope["path"] == "/broken":
        raise LookupError("the secret of it")
    if scope["path"] == "/late":
        raise TimeoutError("not the server's")
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})


@pytest.fixture
async def server(start: Any) -> Any:
    return await start(app=app, limits=LIMITS)


async def every(server: Any, connect: Any, status: int) -> Response:
    """Have the server answer with a status of its own, to a request that has an id."""
    client = await connect(server)
    await client.handshake()
    head = f"host: kdm\r\n{ID}"
    match status:
        case 400:
            await client.send(f"GET / HTTP/1.1\r\n{head}x: y\r\nbad field\r\n\r\n".encode())
        case 405:
            await client.send(f"CONNECT kdm:1 HTTP/1.1\r\n{head}\r\n".encode())
        case 408:
            await client.send(f"POST / HTTP/1.1\r\n{head}content-length: 9\r\n\r\n1".encode())
        case 417:
            await client.send(f"POST / HTTP/1.1\r\n{head}expect: more\r\n\r\n".encode())
        case 429:
            for _ in range(2):
                assert (await client.request()).status == 200
            await client.send(f"GET / HTTP/1.1\r\n{head}\r\n".encode())
        case 431:
            await client.send(f"GET / HTTP/1.1\r\n{head}x: {'y' * 5000}\r\n\r\n".encode())
        case 500:
            await client.send(f"GET /broken HTTP/1.1\r\n{head}\r\n".encode())
        case 504:
            await client.send(f"GET /never HTTP/1.1\r\n{head}\r\n".encode())
    answer: Response = await client.response()
    assert (await client.closed()) is True if status != 429 else True
    return answer


STATUSES = [400, 405, 408, 417, 429, 431, 500, 504]


@pytest.mark.parametrize("status", STATUSES)
async def test_each_has_an_id_the_usual_fields_one_form_and_a_count(status: int, server: Any, connect: Any) -> None:
    answer = await every(server, connect, status)
    assert answer.status == status
    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == "application/json"
    assert re.fullmatch(rb'\{"error":"[^{}]+"\}', answer.body)
    assert ("connection" in answer.headers) == (status != 429)
    assert server.events.refusals == [status]


@pytest.mark.parametrize("status", STATUSES)
async def test_each_has_exactly_the_fields_that_the_api_s_own_errors_have(
    status: int, server: Any, start: Any, connect: Any
) -> None:
    own = {"connection", "retry-after", "allow"}
    answer = await every(server, connect, status)
    async with MemoryDeploymentRepository() as repository:
        api = await start(app=create_app(DeploymentService(repository)))
        other = await (await connect(api)).request("/nowhere")
    assert answer.headers.keys() - own == other.headers.keys()


async def test_a_connection_too_many_is_told_so_in_the_same_form(server: Any, connect: Any) -> None:
    first = await connect(server)
    assert (await first.request()).status == 200
    answer = await (await connect(server)).request(headers=ID)
    assert (answer.status, answer.headers["x-request-id"], answer.headers["connection"]) == (429, "mine-1", "close")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert server.events.refusals == [429]


async def test_a_slow_header_has_a_new_id(server: Any, connect: Any) -> None:
    """It is not known yet, or it may be half of one; and it is not the one of the request before."""
    client = await connect(server)
    assert (await client.request(headers=ID)).status == 200
    await client.send(b"GET / HTTP/1.1\r\nx-request-id: min")
    answer = await client.response()
    assert (answer.status, len(answer.headers["x-request-id"])) == (408, 16)


async def test_garbage_after_a_request_does_not_get_its_id(server: Any, connect: Any) -> None:
    client = await connect(server)
    assert (await client.request(headers=ID)).status == 200
    await client.send(b"\0\0\0\0\r\n\r\n")
    answer = await client.response()
    assert (answer.status, len(answer.headers["x-request-id"])) == (400, 16)


@pytest.mark.parametrize("path", ["/broken", "/late"])
async def test_an_application_that_fails_is_answered_for_and_its_error_stays_in_the_log(
    path: str, server: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A timeout inside it is no deadline of the server's."""
    answer = await (await connect(server)).request(path, headers=ID)
    assert answer.status == 500
    assert answer.json == {"error": "internal error; the log has more under request id mine-1"}
    assert "Error: " in caplog.text


async def test_the_plain_listener_s_refusals_have_the_form_too(start: Any) -> None:
    server = await start()
    reader, writer = await asyncio.open_connection(*server.ops)
    writer.write(b"GET /livez HTTP/1.1\r\n\r\n")
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nx-request-id: " in answer
    assert answer.endswith(b'\r\n\r\n{"error":"a request has exactly one Host field"}')
    assert server.events.refusals == [400]
