"""Through proxies of every kind, and with the headers of the user, on both event loops."""

from __future__ import annotations

import asyncio
import base64
import gc
import socket
import ssl
import threading
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from kdm_adapters.kubernetes import ClusterConfig
from kdm_adapters.kubernetes.api.client import ApiError, Client
from kdm_adapters.kubernetes.api.connections import Connections
from kdm_adapters.kubernetes.api.sockets import KEEPALIVE, adopt_socket
from kdm_adapters.kubernetes.config.credentials import Credentials
from kdm_adapters.kubernetes.wire.messages import UNREACHABLE
from unit.adapters.kubernetes.api_server import DEADLINE_S, ApiServer
from unit.adapters.kubernetes.kubeconfig import write_kubeconfig
from unit.forward_proxy import Proxy

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
Loop = Callable[[], asyncio.AbstractEventLoop]
CA = trustme.CA()


def run(loop: Loop, work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(work, 2 * DEADLINE_S))


def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert("127.0.0.1", "cluster.test").configure_cert(context)
    return context


async def ask(client: Client) -> bytes:
    return await client.request("get", "GET", "/readyz", timeout_s=DEADLINE_S)


def client(
    path: Path, server: str, user: object = None, environ: dict[str, str] | None = None, **cluster: Any
) -> Client:
    (path / "ca.crt").write_bytes(CA.cert_pem.bytes())
    cluster = {"certificate-authority": "ca.crt", **cluster}
    config = write_kubeconfig(path / "config", server, user=user, cluster=cluster)
    return Client(Credentials(ClusterConfig(kubeconfig=config), environ=environ or {}))


@LOOPS
@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
@pytest.mark.parametrize("userinfo", ["", "me:p%40ss@"], ids=["anonymous", "user"])
def test_a_server_is_reached_through_a_proxy(loop: Loop, tmp_path: Path, scheme: str, userinfo: str) -> None:
    """The proxy is asked for the server by name, and the server's own certificate is what counts."""

    async def work() -> None:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(ApiServer(tls=server_tls()).running())
            proxy = Proxy(scheme, server_tls())
            await proxy.start(stack)
            cluster: dict[str, Any] = {"proxy-url": f"{scheme}://{userinfo}127.0.0.1:{proxy.port}"}
            asking = client(tmp_path, f"https://cluster.test:{server.port}", **cluster)
            stack.push_async_callback(asking.close)
            await ask(asking)
            assert server.requests[-1].headers["authorization"] == "Bearer let-me-in"
            assert proxy.asked[0 if scheme != "socks5" else -1].endswith(f"cluster.test:{server.port}")
            if userinfo:
                basic = f"basic {base64.b64encode(b'me:p@ss').decode()}".lower()
                assert ("me:p@ss" if scheme == "socks5" else basic) in proxy.asked

    run(loop, work())


@LOOPS
@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.parametrize(
    ("host", "name"),
    [("other.test", "cluster.test"), ("other.test", "cluster.test."), ("cluster.test.", "")],
    ids=["named", "named with a dot", "host with a dot"],
)
def test_a_server_name_of_its_own_counts_through_a_proxy_too(
    loop: Loop, tmp_path: Path, scheme: str, host: str, name: str
) -> None:
    async def work() -> None:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(ApiServer(tls=server_tls()).running())
            proxy = Proxy(scheme, server_tls())
            await proxy.start(stack)
            options: dict[str, Any] = {
                "proxy-url": f"{scheme}://127.0.0.1:{proxy.port}",
                "tls-server-name": name,
            }
            asking = client(tmp_path, f"https://{host}:{server.port}", **options)
            stack.push_async_callback(asking.close)
            await ask(asking)
            wrong = client(tmp_path, f"https://cluster.test:{server.port}", **options | {"tls-server-name": "no.test"})
            stack.push_async_callback(wrong.close)
            with pytest.raises(ApiError, match="its certificate is for another name"):
                await ask(wrong)

    run(loop, work())


async def test_a_server_over_http_is_asked_for_at_the_proxy_with_the_proxys_password(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        proxy = Proxy("http")
        await proxy.start(stack)
        asking = client(
            tmp_path, "http://cluster.test:8080", {}, {"HTTP_PROXY": f"http://me:pw@127.0.0.1:{proxy.port}"}
        )
        stack.push_async_callback(asking.close)
        await ask(asking)
        secret = base64.b64encode(b"me:pw").decode().lower()
        assert proxy.asked == ["GET http://cluster.test:8080/readyz", f"basic {secret}"]


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
async def test_a_proxy_that_refuses_is_told_without_its_address_and_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, scheme: str
) -> None:
    async with AsyncExitStack() as stack:
        proxy = Proxy(scheme, server_tls(), refuses=True)
        await proxy.start(stack)
        cluster: dict[str, Any] = {"proxy-url": f"{scheme}://me:proxy-pw@127.0.0.1:{proxy.port}"}
        asking = client(tmp_path, "https://cluster.test:6443", **cluster)
        stack.push_async_callback(asking.close)
        with pytest.raises(ApiError, match="cannot be reached: the proxy") as caught:
            await ask(asking)
        assert caught.value.failure.reason == "Unreachable"
        assert str(proxy.port) not in str(caught.value)
        assert "proxy-pw" not in str(caught.value) + caplog.text


async def test_the_socket_to_a_socks_proxy_notices_that_its_peer_is_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as made:
        adopted = adopt_socket(made)
        for name, value in KEEPALIVE:
            assert adopted.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value
        adopted.close()


async def test_a_netrc_file_is_never_read(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password s3cret")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # of the process: not what was passed
    asking = Client(Credentials(ClusterConfig(kubeconfig=server.kubeconfig(tmp_path, user={"as": "bob"})), environ={}))
    await ask(asking)
    assert "authorization" not in server.requests[-1].headers
    await asking.close()


async def test_compression_is_not_asked_for_where_it_is_disabled(server: ApiServer, tmp_path: Path) -> None:
    for cluster, wanted in (({}, True), ({"disable-compression": True}, False)):
        asking = Client(Credentials(ClusterConfig(kubeconfig=server.kubeconfig(tmp_path, **cluster)), environ={}))
        await ask(asking)
        assert ("accept-encoding" in server.requests[-1].headers) is wanted
        await asking.close()


async def test_a_redirection_is_not_followed(server: ApiServer, tmp_path: Path) -> None:
    async def redirecting(reply: Any) -> None:
        await reply.whole(302, b"", {"Location": f"http://127.0.0.1:{server.port}/elsewhere"})

    server.faults["get"].append(redirecting)
    asking = Client(Credentials(ClusterConfig(kubeconfig=server.kubeconfig(tmp_path)), environ={}))
    with pytest.raises(ApiError) as caught:
        await ask(asking)
    assert caught.value.failure.code == 302
    assert len(server.requests) == 1
    await asking.close()


@pytest.mark.parametrize(
    "kind", [ValueError, UnicodeError, ssl.SSLError, OSError, RuntimeError], ids=lambda kind: str(kind.__name__)
)
async def test_whatever_the_transport_raises_is_a_failure_of_the_port(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    async def fail(*_: object) -> Awaitable[Any]:
        raise kind("s3cret")

    monkeypatch.setattr(Connections, "request", fail)
    asking = Client(Credentials(ClusterConfig(kubeconfig=server.kubeconfig(tmp_path)), environ={}))
    with pytest.raises(ApiError, match="the cluster cannot be reached") as caught:
        await ask(asking)
    assert caught.value.failure.reason == UNREACHABLE
    assert "s3cret" not in str(caught.value)
    await asking.close()


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ("https://no-such-host.invalid", "its name cannot be resolved"),
        ("https://127.0.0.1:1", "the connection was refused"),
        (f"https://{'x' * 64}.test", "cannot be reached"),
        ("https://a..test", "cannot be reached"),
    ],
)
async def test_a_cluster_that_cannot_be_reached_is_told_by_kind(tmp_path: Path, server: str, message: str) -> None:
    asking = client(tmp_path, server)
    with pytest.raises(ApiError, match=message) as caught:
        await ask(asking)
    assert caught.value.failure.reason == UNREACHABLE
    assert server.removeprefix("https://").partition(":")[0] not in str(caught.value)
    await asking.close()


@LOOPS
@pytest.mark.parametrize(
    "sends",
    [None, b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"],
    ids=["no handshake", "nothing", "a part"],
)
def test_a_connection_without_a_whole_answer_does_not_outlive_the_loop(
    loop: Loop, tmp_path: Path, sends: bytes | None
) -> None:
    """A close in good order would wait half a minute for a server that is gone, and be left to the collector."""
    asked, over = threading.Event(), threading.Event()

    def serve(listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        with accepted:
            if sends is not None:
                accepted = server_tls().wrap_socket(accepted, server_side=True)
            with accepted:
                accepted.recv(65536)
                accepted.sendall(sends or b"")
                asked.set()
                over.wait(DEADLINE_S)  # reads no more: no close_notify is ever answered

    async def work(port: int) -> None:
        cluster = client(tmp_path, f"https://127.0.0.1:{port}")
        asking = asyncio.create_task(ask(cluster))
        await asyncio.to_thread(asked.wait, DEADLINE_S)
        asking.cancel()
        await asyncio.wait([asking])
        await cluster.close()

    with socket.create_server(("127.0.0.1", 0)) as listener, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        try:
            run(loop, work(listener.getsockname()[1]))
            gc.collect()
        finally:
            over.set()
            server.join()
    assert [str(each.message) for each in caught] == []
