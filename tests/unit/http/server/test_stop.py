"""How the server begins and ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import socket
import ssl
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kdm_http.server import leaving
from kdm_http.server.limits import Limits
from kdm_http.server.serve import BindError, ServerConfig, ServerError, TlsFiles, serve
from unit.http.client import Client
from unit.http.credentials import Credentials


async def hold(server: Any, connect: Any) -> Any:
    """Bring a request to where the application holds it."""
    client = await connect(server)
    await client.handshake()
    await client.send(b"GET /hold HTTP/1.1\r\nhost: kdm\r\n\r\n")
    async with asyncio.timeout(10):
        await server.entered.wait()
    return client


async def test_a_stop_finishes_what_is_under_way(start: Any, connect: Any) -> None:
    """Idle connections end, new ones are refused, the request under way is answered, then all is over."""
    server = await start()
    idle = await connect(server)
    assert (await idle.request()).status == 200
    busy = await hold(server, connect)
    server.stopping.set()
    assert await idle.closed()
    with pytest.raises(OSError, match=r"refused|reset|failed"):
        await asyncio.open_connection(*server.api)
    server.release.set()

    response = await busy.response()
    assert (response.status, response.headers["connection"]) == (200, "close")
    await server.stop()


async def test_a_client_that_asks_as_the_stop_begins_is_answered_and_told_to_leave(
    start: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kept connection is not closed under a request that is on its way, whether whole or in part."""
    monkeypatch.setattr(leaving, "LINGER_S", 60.0)  # a busy machine holds up the loop of both
    server = await start(limits=Limits(grace_s=60))
    asking, begun = await connect(server), await connect(server)
    assert (await begun.request()).status == 200
    await begun.send(b"GET / HTTP/1.1\r\nhost: ")
    busy = await hold(server, connect)
    server.stopping.set()

    async with asyncio.timeout(10):
        while (await asking.request()).headers.get("connection") != "close":
            pass
    assert await asking.closed()
    await begun.send(b"kdm\r\n\r\n")
    response = await begun.response()
    assert (response.status, response.headers["connection"]) == (200, "close")
    assert await begun.closed()
    server.release.set()
    assert (await busy.response()).status == 200
    await server.stop()


async def test_a_client_that_shakes_hands_as_the_stop_begins_is_answered_and_told_to_leave(
    start: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its request may come with the last message of its handshake."""
    monkeypatch.setattr(leaving, "LINGER_S", 60.0)
    server = await start(limits=Limits(grace_s=60))
    client, waiting = await connect(server), await connect(server)  # the one is accepted, the other may be waiting
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    client.writer.write(client.outgoing.read())
    client.incoming.write(await client.reader.read(65536))
    server.stopping.set()
    await unreachable(server)

    for late in client, waiting:
        response = await late.request()
        assert (response.status, response.headers["connection"]) == (200, "close")
        assert await late.closed()
    await server.stop()


async def unreachable(server: Any) -> None:
    """Wait until the API's listener is gone."""
    with contextlib.suppress(OSError):
        while True:
            _, writer = await asyncio.open_connection(*server.api)
            writer.close()
            await asyncio.sleep(0)


async def test_probes_are_answered_while_requests_finish(start: Any, connect: Any) -> None:
    """The ops listener ends last, and its application can say that the server is stopping."""
    server = await start()
    busy = await hold(server, connect)
    server.stopping.set()
    await unreachable(server)
    reader, writer = await asyncio.open_connection(*server.ops)
    writer.write(b"GET /readyz HTTP/1.1\r\nhost: kdm\r\nconnection: close\r\n\r\n")
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()

    assert json.loads(answer.partition(b"\r\n\r\n")[2])["stopping"] is True
    server.release.set()
    assert (await busy.response()).status == 200


async def test_the_grace_is_bounded(start: Any, connect: Any) -> None:
    """A request that never ends is cut, and its task with it."""
    server = await start(limits=Limits(grace_s=0.05))
    busy = await hold(server, connect)
    await server.stop()

    assert await busy.closed()


async def test_an_idle_client_that_does_not_answer_cannot_delay_the_stop(start: Any, connect: Any) -> None:
    """A pooled client does not read its idle connections: close_notify stays unanswered."""
    server = await start()
    client = await connect(server)
    assert (await client.request()).status == 200
    client.writer.transport.pause_reading()
    async with asyncio.timeout(5):
        await server.stop()


async def test_a_handshake_under_way_cannot_delay_the_stop(start: Any) -> None:
    server = await start()
    _, writer = await asyncio.open_connection(*server.api)
    await server.stop()
    writer.transport.abort()


async def test_the_lifespan_spans_every_request(start: Any, connect: Any) -> None:
    """It is entered before the server accepts, and left when the last answer is written."""
    told: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        told.append("entered")
        yield
        told.append("left")

    server = await start(lifespan=lifespan())
    assert told == ["entered"]
    busy = await hold(server, connect)
    server.stopping.set()
    server.release.set()
    assert (await busy.response()).status == 200
    await server.stop()
    assert told == ["entered", "left"]


async def test_a_lifespan_that_fails_ends_the_server(start: Any) -> None:
    class Lifespan(contextlib.AbstractAsyncContextManager[None]):
        async def __aenter__(self) -> None:
            raise LookupError("no cluster")

        async def __aexit__(self, *_: object) -> None:
            """Never entered."""

    with pytest.raises(LookupError, match="no cluster"):
        await start(lifespan=Lifespan())


async def test_an_application_that_refuses_to_start_ends_the_server(start: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    with pytest.raises(ServerError, match="the api application failed to start"):
        await start(app=app)


@pytest.mark.parametrize("which", ["port", "ops_port"])
async def test_a_port_that_is_taken_is_a_clean_error(which: str, credentials: Credentials, tmp_path: Path) -> None:
    files = TlsFiles(tmp_path / "server.pem", tmp_path / "key.pem", tmp_path / "ca.pem")
    credentials.write(files)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        """Never asked."""

    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = {"port": 0, "ops_port": 0, which: taken.getsockname()[1]}
        config = ServerConfig(files, host="127.0.0.1", ops_host="127.0.0.1", **ports)
        with pytest.raises(BindError, match=rf"cannot listen on 127.0.0.1:{ports[which]}: .*in use"):
            await serve(app, app, config=config)


@pytest.mark.parametrize(
    ("host", "shown"),
    [("192.0.2.1", "192.0.2.1"), ("a..b", "a..b"), ("::g", "[::g]")],
    ids=["elsewhere", "no name", "no address"],
)
async def test_an_address_that_is_not_ours_is_a_clean_error(host: str, shown: str, start: Any) -> None:
    with pytest.raises(BindError, match=f"cannot listen on {re.escape(shown)}:0: .+"):
        await start(host=host)


async def test_a_name_is_listened_on_at_each_of_its_addresses(start: Any, credentials: Credentials) -> None:
    """All of localhost's addresses get the same port, also when the system chose it."""
    server = await start(host="localhost")
    assert len({port for _, port in server.addresses.api}) == 1
    for address in server.addresses.api:
        client = await Client.open(address, credentials.client_context(identity=credentials.alice))
        assert (await client.request()).status == 200
        await client.close()


PROGRAM = """
    import sys
    from pathlib import Path
    from kdm_http.server.serve import ServerConfig, TlsFiles, run

    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError

    directory = Path(sys.argv[1])
    files = TlsFiles(directory / "server.pem", directory / "key.pem", directory / "ca.pem")
    run(
        app,
        app,
        config=ServerConfig(files, host="127.0.0.1", port=0, ops_host="127.0.0.1", ops_port=0, loop=sys.argv[2]),
        started=lambda addresses: print("listening", addresses.api[0][1], flush=True),
    )
    print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_a_signal_stops_the_process_cleanly(
    number: signal.Signals, credentials: Credentials, tmp_path: Path
) -> None:
    credentials.write(TlsFiles(tmp_path / "server.pem", tmp_path / "key.pem", tmp_path / "ca.pem"))
    loop = "uvloop" if "uvloop" in type(asyncio.get_running_loop()).__module__ else "asyncio"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-Werror",
        "-c",
        textwrap.dedent(PROGRAM),
        tmp_path,
        loop,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            while b"listening" not in (line := await process.stdout.readline()):
                assert line, "it ended instead of listening"
            process.send_signal(number)
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()

    assert errors == b""
    assert out.rstrip().endswith(b"ended")
    assert process.returncode == 0
