"""What a client may not do to the server: be slow, be large, be many."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any

import pytest

from kdm_http.server.limits import ClientQuota, Limits
from kdm_http.tls.rejection import Reason
from unit.http.client import Client
from unit.http.credentials import Credentials

SOON = 0.05  # seconds: the bound under test


async def ends_within(client: Client, seconds: float) -> bool:
    """Return whether the server ends a connection within some seconds."""
    try:
        async with asyncio.timeout(seconds):
            await client.closed()
    except TimeoutError:
        return False
    return True


async def test_a_silent_client_has_no_time_for_its_handshake(start: Any) -> None:
    server = await start(limits=Limits(handshake_s=SOON))
    reader, writer = await asyncio.open_connection(*server.api)
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()

    assert (await server.rejection()).reason is Reason.TIMEOUT


async def test_a_half_sent_header_is_answered_and_closed(start: Any, connect: Any) -> None:
    server = await start(limits=Limits(header_s=SOON))
    client = await connect(server)
    await client.handshake()
    await client.send(b"GET / HTTP/1.1\r\nhost: k")

    response = await client.response()
    assert (response.status, response.headers["connection"]) == (408, "close")
    assert "error" in response.json
    assert await client.closed()


async def test_a_trickled_header_does_not_prolong_its_deadline(start: Any, connect: Any) -> None:
    """Slowloris: the deadline is the header's, not that of each byte."""
    server = await start(limits=Limits(header_s=SOON))
    client = await connect(server)
    await client.handshake()

    async def trickle() -> None:
        await client.send(b"GET / HTTP/1.1\r\n")
        while True:
            await client.send(b"x: y\r\n")
            await asyncio.sleep(SOON / 10)

    trickling = asyncio.create_task(trickle())
    assert (await client.response()).status == 408
    trickling.cancel()
    with contextlib.suppress(asyncio.CancelledError, ConnectionError):
        await trickling


@pytest.mark.parametrize("filler", [b"", b"\r\n"], ids=["silent", "empty lines"])
async def test_an_idle_connection_is_closed(filler: bytes, start: Any, connect: Any) -> None:
    """Before the first request as well as after one; empty lines are no request."""
    server = await start(limits=Limits(idle_s=SOON))
    fresh, used = await connect(server), await connect(server)
    await fresh.handshake()
    assert (await used.request()).status == 200
    if filler:
        await fresh.send(filler)

    assert await fresh.closed()
    assert await used.closed()


async def test_a_slow_body_is_answered_and_closed(start: Any, connect: Any) -> None:
    server = await start(limits=Limits(body_s=SOON))
    client = await connect(server)
    await client.handshake()
    await client.send(b"POST / HTTP/1.1\r\nhost: kdm\r\ncontent-length: 10\r\n\r\n12345")

    assert (await client.response()).status == 408
    assert await client.closed()


async def test_a_stuck_application_is_cancelled(start: Any, connect: Any) -> None:
    server = await start(limits=Limits(request_s=SOON))
    response = await (await connect(server)).request("/hold")

    assert response.status == 504
    assert "may have happened" in response.json["error"]


async def test_a_stream_may_take_longer_than_a_request(start: Any, connect: Any) -> None:
    """The bound of a request ends with the beginning of its response."""
    server = await start(limits=Limits(request_s=SOON, idle_s=SOON))
    client = await connect(server)
    await client.handshake()
    await client.send(b"GET /stream HTTP/1.1\r\nhost: kdm\r\n\r\n")
    await server.entered.wait()
    await client._until(b"\r\n\r\n")
    assert not await ends_within(client, 4 * SOON)


async def test_a_connection_does_not_grow_old(start: Any, connect: Any) -> None:
    """Past its age an idle connection is closed; a busy one finishes its request first."""
    server = await start(limits=Limits(connection_age_s=SOON))
    busy, idle = await connect(server), await connect(server)
    await busy.handshake()
    await busy.send(b"GET /hold HTTP/1.1\r\nhost: kdm\r\n\r\n")
    await server.entered.wait()
    await idle.handshake()
    assert await idle.closed()  # the younger one
    server.release.set()

    response = await busy.response()
    assert (response.status, response.headers["connection"]) == (200, "close")
    assert await busy.closed()


async def test_an_endless_stream_does_not_outlive_the_age_for_long(start: Any, connect: Any) -> None:
    server = await start(limits=Limits(connection_age_s=SOON, request_s=SOON))
    client = await connect(server)
    await client.handshake()
    await client.send(b"GET /stream HTTP/1.1\r\nhost: kdm\r\n\r\n")
    await client._until(b"\r\n\r\n")

    await client.closed()


async def test_a_client_that_reads_nothing_is_cut(start: Any, connect: Any) -> None:
    """Large answers that pile up unread cost the server memory for a bounded time only."""
    server = await start(limits=Limits(write_s=SOON))
    client = await connect(server)
    await client.handshake()
    client.writer.transport.pause_reading()
    await client.send(b"GET /large HTTP/1.1\r\nhost: kdm\r\n\r\n")
    await server.events.until_open(0)


@pytest.mark.parametrize(
    "header",
    [b"x: " + b"y" * 5000, b"\r\n".join(b"x: " + b"y" * 90 for _ in range(50))],
    ids=["one large field", "many fields"],
)
async def test_an_oversized_header_is_refused(header: bytes, start: Any, connect: Any) -> None:
    server = await start(limits=Limits(header_bytes=4096))
    client = await connect(server)
    await client.handshake()
    await client.send(b"GET / HTTP/1.1\r\nhost: kdm\r\n" + header + b"\r\n\r\n")

    response = await client.response()
    assert response.status == 431
    assert "4096 bytes" in response.json["error"]
    assert server.served == []


async def test_too_many_header_fields_are_refused(start: Any, connect: Any) -> None:
    server = await start(limits=Limits(header_fields=10))
    client = await connect(server)

    assert (await client.request(headers="x: y\r\n" * 9)).status == 200
    assert (await client.request(headers="x: y\r\n" * 10)).status == 431


async def test_an_oversized_target_is_refused(start: Any, connect: Any) -> None:
    server = await start(limits=Limits(header_bytes=4096))
    assert (await (await connect(server)).request("/" + "x" * 5000)).status == 431


async def test_an_endless_header_is_not_read_to_its_end(start: Any, connect: Any) -> None:
    """The server answers after the first bytes beyond the bound, while the client is still sending 20 MB."""
    server = await start()
    client = await connect(server)
    await client.handshake()

    async def pour() -> None:
        await client.send(b"GET / HTTP/1.1\r\nhost: kdm\r\nx: ")
        for _ in range(320):
            await client.send(b"y" * 65536)

    pouring = asyncio.create_task(pour())
    assert (await client.response()).status == 431
    pouring.cancel()
    with contextlib.suppress(asyncio.CancelledError, ConnectionError):
        await pouring


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: kdm\r\nbad header\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: kdm\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: kdm\r\ncontent-length: -1\r\n\r\n",
        b"\x00\x01\x02\x03\r\n\r\n",
    ],
    ids=["no host", "two hosts", "no colon", "smuggling", "negative length", "binary"],
)
async def test_what_is_no_http_is_a_400_in_the_form_of_every_error(
    request_bytes: bytes, start: Any, connect: Any
) -> None:
    server = await start()
    client = await connect(server)
    await client.handshake()
    await client.send(request_bytes)
    response = await client.response()

    assert response.status == 400
    assert list(response.json) == ["error"]
    assert server.served == []
    assert await client.closed()


async def test_trailer_fields_do_not_join_the_header(start: Any, connect: Any) -> None:
    client = await connect(await start())
    await client.handshake()
    await client.send(
        b"POST / HTTP/1.1\r\nhost: kdm\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-evil: 1\r\n\r\n"
    )
    told = (await client.response()).json
    assert told["bytes"] == 2
    assert "x-evil" not in told["headers"]


async def test_an_upgrade_is_ignored(start: Any, connect: Any) -> None:
    client = await connect(await start())
    response = await client.request(headers="connection: upgrade\r\nupgrade: websocket\r\n")
    assert (response.status, response.headers["connection"]) == (200, "close")


async def test_pipelined_requests_are_answered_in_order(start: Any, connect: Any) -> None:
    client = await connect(await start())
    await client.handshake()
    one = b"POST / HTTP/1.1\r\nhost: kdm\r\ncontent-length: %d\r\n\r\n%s"
    await client.send(b"".join(one % (n, b"x" * n) for n in range(1, 4)))

    assert [(await client.response()).json["bytes"] for _ in range(3)] == [1, 2, 3]


async def test_many_requests_at_once_are_no_large_header(start: Any, connect: Any) -> None:
    """What was read at once may end within a header: the requests before it do not count as a part of it."""
    client = await connect(await start(limits=Limits(header_bytes=200)))
    await client.handshake()
    one = b"GET /%s HTTP/1.1\r\nhost: kdm\r\n\r\n" % (b"x" * 100)
    wire = one * 10
    await client.send(wire[:-10])
    first = await client.response()
    await client.send(wire[-10:])
    assert [first.status, *[(await client.response()).status for _ in range(9)]] == [200] * 10


async def test_connections_beyond_the_bound_are_dropped(start: Any, connect: Any) -> None:
    """The bound on all connections; when one ends, the next is let in."""
    server = await start(limits=Limits(connections=2))
    first, second = await connect(server), await connect(server)
    await first.handshake()
    await second.handshake()
    third = await connect(server)
    with pytest.raises((ConnectionError, ssl.SSLError)):
        await third.handshake()
    assert server.events.dropped.is_set()
    assert (await first.request()).status == 200

    await first.close()
    await server.events.until_open(1)
    assert (await (await connect(server)).request()).status == 200


async def test_one_identity_cannot_take_all_connections(start: Any, connect: Any, credentials: Credentials) -> None:
    server = await start(limits=Limits(connections_per_identity=1))
    first = await connect(server)
    assert (await first.request()).status == 200

    refused = await (await connect(server)).request()
    assert (refused.status, refused.headers["retry-after"], refused.headers["connection"]) == (429, "1", "close")
    assert (await (await connect(server, identity=credentials.bob)).request()).status == 200
    assert (await first.request()).status == 200


async def test_silent_connections_that_get_nothing_but_an_error_are_closed_early(
    start: Any, connect: Any, credentials: Credentials
) -> None:
    """Beyond the bound of an identity, and with a certificate that kdm refuses: else they could take all there are."""
    server = await start(limits=Limits(connections_per_identity=1, header_s=SOON, idle_s=60.0))
    first = await connect(server)
    assert (await first.request()).status == 200
    silent = await connect(server), await connect(server, identity=credentials.server_only)
    for client in silent:
        await client.handshake()
        assert await client.closed()
    assert (await first.request()).status == 200


async def test_one_identity_cannot_ask_too_often(start: Any, connect: Any, credentials: Credentials) -> None:
    """The bound is the user's, over all its connections; the connection stays, and others are not concerned."""
    server = await start(limits=Limits(requests_burst=3, requests_per_s=0.01))
    one, two = await connect(server), await connect(server)
    assert [(await client.request()).status for client in (one, two, one)] == [200, 200, 200]

    refused = await two.request()
    assert refused.status == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 100
    assert "error" in refused.json
    assert (await two.request()).status == 429
    assert (await (await connect(server, identity=credentials.bob)).request()).status == 200


def test_a_share_refills_and_is_forgotten() -> None:
    """Tokens come back with time, up to the burst; a user who left costs nothing."""
    clock = [0.0]
    quota = ClientQuota(Limits(requests_burst=2, requests_per_s=2.0, connections_per_identity=1), lambda: clock[0])
    share = quota.join("alice")
    assert share is not None
    assert quota.join("alice") is None
    assert [quota.acquire(share) for _ in range(3)] == [0, 0, 1]
    clock[0] += 0.5
    assert [quota.acquire(share) for _ in range(2)] == [0, 1]
    quota.leave(share)
    quota.forget_quiet()
    assert quota.join("alice") is share
    assert quota.acquire(share) != 0
    quota.leave(share)
    clock[0] += 10
    quota.forget_quiet()
    assert quota.join("alice") is not share


@pytest.mark.parametrize("name", ["handshake_s", "header_bytes", "connections", "requests_per_s"])
def test_a_bound_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Limits(**{name: 0})


async def test_the_client_helper_sees_the_end(start: Any, connect: Any) -> None:
    """The tests above rest on it: a healthy connection does not look closed."""
    client: Client = await connect(await start())
    await client.request()
    assert not await ends_within(client, SOON)
