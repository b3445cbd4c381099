"""Where the server listens."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest

from kdm_http.server.listener import BindError, bind
from unit.http.client import Client
from unit.http.credentials import Credentials


def loopbacks() -> list[str]:
    """Return the loopback addresses that this machine has."""
    found = []
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family) as sock:
                sock.bind((host, 0))
            found.append(host)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("host", ["::", "", "0:0:0:0:0:0:0:0"])
async def test_every_interface_is_ipv4_s_too(host: str, start: Any, credentials: Credentials) -> None:
    """Whoever comes over IPv4 is known by an IPv4 address, on a socket for both as well."""
    server = await start(host=host)
    port = server.api[1]
    for address in loopbacks():
        client = await Client.open((address, port), credentials.client_context(identity=credentials.alice))
        shown = (await client.request()).json["address"]
        assert shown.startswith("127.0.0.1:" if address == "127.0.0.1" else "[::1]:")
        await client.close()


async def test_the_unspecified_address_of_ipv4_is_ipv4_s_alone(start: Any) -> None:
    server = await start(host="0.0.0.0")  # noqa: S104 - what is tested
    assert [host for host, _ in server.addresses.api] == ["0.0.0.0"]  # noqa: S104


async def test_a_port_that_is_taken_on_ipv4_is_taken_for_every_interface() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match=rf"cannot listen on \[::\]:{port}: .*in use"):
            await bind("::", port)


async def test_an_ipv6_address_on_a_kernel_without_ipv6_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    made = socket.socket

    def without_ipv6(family: int = -1, *rest: Any, **more: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return made(family, *rest, **more)

    loop = asyncio.get_running_loop()
    resolved = await loop.getaddrinfo("::", 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    assert resolved
    monkeypatch.setattr(socket, "socket", without_ipv6)
    with pytest.raises(BindError, match=r"^cannot listen on \[::\]:0: Address family not supported by protocol$"):
        await bind("::", 0)
    for sock in await bind("", 0):  # "every interface" is what there is
        assert sock.family == socket.AF_INET
        sock.close()


async def test_a_probe_over_ipv4_reaches_the_plain_listener_on_every_interface(start: Any) -> None:
    server = await start(ops_host="::")
    for address in loopbacks():
        reader, writer = await asyncio.open_connection(address, server.ops[1])
        writer.write(b"GET /readyz HTTP/1.1\r\nhost: kdm\r\nconnection: close\r\n\r\n")
        async with asyncio.timeout(10):
            assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()
